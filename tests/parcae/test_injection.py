"""Stability is decided by rho(Abar): below 1 by construction, 1, or whatever W1 says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parcae.config import Injection
from parcae.injection import (
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
