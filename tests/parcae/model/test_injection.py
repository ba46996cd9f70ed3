"""Stability is decided by rho(Abar): below 1 by construction, 1, or whatever W1 says."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from parcae.config import Discretisation, Injection, ModelConfig
from parcae.errors import InputError
from parcae.flops import flops_per_token, parameter_count
from parcae.model.injection import (
    INITIAL_DECAY,
    Add,
    Concat,
    Diagonal,
    build_injection,
    largest_eigenvalue_by_squaring,
)
from tests.parcae.models import TINY, shape


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e38, 1e38), st.floats(-1e38, 1e38))
def test_diagonal_is_stable_whatever_its_parameters(log_A: float, delta_bias: float) -> None:
    update = Diagonal(1, 1)
    with torch.no_grad():
        update.log_A.fill_(log_A)
        update.delta_bias.fill_(delta_bias)
    assert 0 < update.spectral_norm() < 1


def test_diagonal_starts_at_the_papers_decay() -> None:
    update = Diagonal(8, 8)
    update.reset(torch.Generator())
    assert update.spectral_norm() == pytest.approx(math.sqrt(1 / 5), rel=1e-6)
    assert math.sqrt(1 / 5) == INITIAL_DECAY
    e, h = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    transition, injected = update.discretise(e)
    delta = -math.log(math.sqrt(1 / 5))
    torch.testing.assert_close(update.update(transition, h, injected), math.sqrt(1 / 5) * h + delta * e)


def test_diagonal_norms_are_those_of_its_matrices() -> None:
    torch.manual_seed(0)
    update = Diagonal(5, 6)
    for parameter in update.parameters():
        torch.nn.init.normal_(parameter)
    step = torch.log1p(update.delta_bias.exp()).detach()
    decay = torch.diag(torch.exp(-step * update.log_A.detach().exp()))
    assert update.spectral_norm() == pytest.approx(float(torch.linalg.svdvals(decay)[0]), rel=1e-6)
    entry = torch.diag(step) @ update.B.weight.detach()
    assert update.input_norm() == pytest.approx(float(torch.linalg.svdvals(entry)[0]), rel=1e-6)


def zero_order_hold(update: Diagonal) -> tuple[np.ndarray, np.ndarray]:
    """(Abar, Bbar) of x' = A x + B e over one step Delta with e held: a block of a matrix exponential.

    exp([[Delta A, Delta B], [0, 0]]) = [[Abar, Bbar], [0, I]].
    """
    B = update.B.weight.detach().double().numpy()
    rows, columns = B.shape
    step = np.log1p(np.exp(update.delta_bias.detach().double().numpy()))
    a = -np.exp(update.log_A.detach().double().numpy())
    system = np.zeros((rows + columns, rows + columns))
    system[:rows, :rows], system[:rows, rows:] = np.diag(step * a), step[:, None] * B
    whole = scipy.linalg.expm(system)
    return whole[:rows, :rows], whole[:rows, rows:]


def drawn(width: int, state_width: int, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Diagonal:
    update = Diagonal(width, state_width, Discretisation.ZERO_ORDER_HOLD).to(dtype)
    generator = torch.Generator().manual_seed(width)
    for parameter in update.parameters():
        torch.nn.init.normal_(parameter, std=scale, generator=generator)
    return update


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 3.0])
@pytest.mark.parametrize(("width", "state_width"), [(6, 6), (5, 9)])
def test_zero_order_hold_is_the_exponential_of_the_held_system(
    width: int, state_width: int, scale: float
) -> None:
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        update = drawn(width, state_width, scale, dtype)
        abar, bbar = zero_order_hold(update)
        e = torch.randn(2, 3, width, dtype=dtype)
        transition, injected = update.discretise(e)
        np.testing.assert_allclose(transition.detach().numpy(), abar.diagonal(), rtol=0, atol=tolerance)
        expected = e.double().numpy() @ bbar.T
        np.testing.assert_allclose(
            injected.detach().numpy(), expected, rtol=0, atol=tolerance * np.abs(expected).max()
        )
        assert update.input_norm() == pytest.approx(np.linalg.svd(bbar)[1][0], rel=tolerance)


def test_zero_order_hold_has_its_gradients() -> None:
    update = drawn(3, 4)
    with torch.no_grad():  # both sides of where the series takes over, and far out
        update.log_A.copy_(torch.tensor([-30.0, -3.0, 0.0, 3.0]))
    e = torch.randn(2, 3, dtype=torch.float64)
    parameters = (update.log_A, update.delta_bias, update.B.weight)

    def bbar_e(log_A: Tensor, delta_bias: Tensor, B: Tensor) -> Tensor:
        values = {"log_A": log_A, "delta_bias": delta_bias, "B.weight": B}
        return functional_call(Injected(update), {f"update.{name}": v for name, v in values.items()}, (e,))

    assert torch.autograd.gradcheck(bbar_e, parameters)


class Injected(torch.nn.Module):
    """Bbar e as a module's output."""

    def __init__(self, update: Diagonal) -> None:
        super().__init__()
        self.update = update

    def forward(self, e: Tensor) -> Tensor:
        return self.update.discretise(e)[1]


def held_gain(log_A: float, delta_bias: float) -> tuple[Decimal, Decimal]:
    """((1 - exp(-Delta a)) / a, its derivative by log a), to 60 digits."""
    with localcontext(prec=60):
        a = Decimal(log_A).exp()
        step = (1 + Decimal(delta_bias).exp()).ln()
        x = step * a
        if x < Decimal("1e-20"):
            return step, -step * x / 2
        return (1 - (-x).exp()) / a, step * (-x).exp() - (1 - (-x).exp()) / a


@pytest.mark.parametrize("log_A", [-40.0, -20.0, -12.0, -7.0, -2.1, -2.0, 0.0, 2.0, 20.0, 40.0])
@pytest.mark.parametrize("delta_bias", [-40.0, -8.0, -2.0, 0.0, 2.0, 40.0])
def test_float32_keeps_the_digits_of_a_held_gain_and_its_slope(log_A: float, delta_bias: float) -> None:
    update = Diagonal(1, 1, Discretisation.ZERO_ORDER_HOLD)
    with torch.no_grad():
        update.log_A.fill_(log_A)
        update.delta_bias.fill_(delta_bias)
        update.B.weight.fill_(1.0)
    gain = update.input_scale()
    gain.backward()
    expected, slope = held_gain(*(float(p.detach()) for p in (update.log_A, update.delta_bias)))
    assert float(gain.detach()) == pytest.approx(float(expected), rel=1e-6)
    smallest = float(torch.finfo(torch.float32).tiny)
    assert float(update.log_A.grad) == pytest.approx(float(slope), rel=1e-4, abs=smallest)


@settings(max_examples=200, deadline=None)
@given(st.floats(-1e38, 1e38), st.floats(-1e38, 1e38), st.sampled_from(Discretisation))
def test_every_parameter_gives_finite_numbers_and_gradients(
    log_A: float, delta_bias: float, discretisation: Discretisation
) -> None:
    update = Diagonal(1, 1, discretisation)
    with torch.no_grad():
        update.log_A.fill_(log_A)
        update.delta_bias.fill_(delta_bias)
        update.B.weight.fill_(1e-3)
    transition, injected = update.discretise(torch.ones(1, 1, 1))
    (transition.sum() + 1e-3 * injected.sum()).backward()
    values = [transition, injected, *(parameter.grad for parameter in update.parameters())]
    assert all(value.isfinite().all() for value in values), values
    assert math.isfinite(update.input_norm())


def test_bfloat16_autocast_takes_the_held_step_in_float32() -> None:
    update = drawn(8, 8, 0.3, torch.float32)
    e = torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        transition, injected = update.discretise(e)
    assert transition.dtype == injected.dtype == torch.float32
    expected = update.input_scale() * update.B(e).bfloat16().float()
    torch.testing.assert_close(injected, expected, rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(transition, update.decay(), rtol=0, atol=0)


def test_a_held_step_starts_with_a_steady_state_of_its_input() -> None:
    """B = I either way: Bbar is 1 - Abar, so that h stays where it is for h = e; by Euler it is Delta."""
    held, euler = Diagonal(8, 8, Discretisation.ZERO_ORDER_HOLD), Diagonal(8, 8)
    for update in (held, euler):
        update.reset(torch.Generator())
    e = torch.randn(2, 3, 8)
    transition, injected = held.discretise(e)
    torch.testing.assert_close(held.update(transition, e, injected), e)
    assert held.input_norm() == pytest.approx(1 - math.sqrt(1 / 5), rel=1e-6)
    assert euler.input_norm() == pytest.approx(math.log(5) / 2, rel=1e-6)


def test_the_discretisation_is_of_diagonal_injection_and_keeps_old_configurations() -> None:
    held = shape(discretisation="zero-order-hold")
    assert held.discretisation is Discretisation.ZERO_ORDER_HOLD
    assert ModelConfig.from_dict(held.to_dict()) == held
    assert "discretisation" not in TINY.to_dict()
    assert TINY.discretisation is Discretisation.EULER
    built = build_injection(held)
    assert isinstance(built, Diagonal)
    assert built.discretisation is Discretisation.ZERO_ORDER_HOLD
    for kind in (Injection.ADD, Injection.CONCAT, Injection.NONE):
        with pytest.raises(InputError, match=r"zero-order-hold.*diagonal"):
            shape(discretisation="zero-order-hold", injection=kind)
    assert parameter_count(held) == parameter_count(TINY)
    assert flops_per_token(held, mean_recurrence=4, backward_depth=2) == flops_per_token(
        TINY, mean_recurrence=4, backward_depth=2
    )


def test_add_is_marginal() -> None:
    e, h = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    update = Add()
    torch.testing.assert_close(update.update(update.discretise(e)[0], h, update.discretise(e)[1]), h + e)
    assert update.spectral_norm() == 1


def test_concat_is_the_product_with_the_concatenation() -> None:
    torch.manual_seed(0)
    update = Concat(5, 6)
    update.reset(torch.Generator().manual_seed(0))
    e, h = torch.randn(2, 3, 5), torch.randn(2, 3, 6)
    transition, injected = update.discretise(e)
    torch.testing.assert_close(update.update(transition, h, injected), torch.cat([h, e], -1) @ update.W.T)
    assert update.spectral_norm() == pytest.approx(
        float(torch.linalg.svdvals(update.W.detach()[:, :6])[0]), rel=1e-6
    )
    torch.nn.init.constant_(update.W, math.nan)
    assert math.isnan(update.spectral_norm())


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1.0, 1e12])
def test_squaring_finds_the_largest_eigenvalue(scale: float) -> None:
    torch.manual_seed(0)
    for matrix in (torch.randn(24, 24), torch.eye(24), torch.randn(24, 1), torch.eye(24) + 1e-3):
        matrix = scale * matrix.double()
        largest = float(torch.linalg.svdvals(matrix)[0])
        assert largest_eigenvalue_by_squaring(matrix @ matrix.T) == pytest.approx(largest**2, rel=1e-8)


def test_every_kind_is_built() -> None:
    kinds = {kind: type(build_injection(shape(injection=kind))) for kind in Injection}
    assert kinds == {
        Injection.DIAGONAL: Diagonal,
        Injection.ADD: Add,
        Injection.CONCAT: Concat,
        Injection.NONE: type(None),
    }
    assert build_injection(TINY) is not None
