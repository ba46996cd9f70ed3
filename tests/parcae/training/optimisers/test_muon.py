"""Orthogonalisation against the singular value decomposition, the update against a plain second one."""

import math
from itertools import accumulate

import pytest
import torch
from torch import Tensor

from parcae.training.optimisers.muon import POLAR_EXPRESS, Muon, orthogonalise
from parcae.training.optimisers.schedule import MOMENTUM, decay_scale


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def polar_factor(matrix: Tensor) -> Tensor:
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    return u @ v


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16), (1, 7), (7, 1)])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5])
def test_a_batch_is_orthogonalised_matrix_by_matrix(shape: tuple[int, int], scale: float) -> None:
    matrices = scale * random(2, 3, *shape)
    nearest = orthogonalise(matrices)
    values = torch.linalg.svdvals(nearest)
    assert values.min() > 0.7
    assert values.max() < 1.2
    for index in ((0, 0), (1, 2)):
        torch.testing.assert_close(orthogonalise(matrices[index]), nearest[index])
        # Singular vectors stay: U^T X V is diagonal.
        u, _, v = torch.linalg.svd(matrices[index], full_matrices=False)
        core = u.T @ nearest[index] @ v.T
        torch.testing.assert_close(core, torch.diag(core.diagonal()), rtol=0, atol=1e-9)
        error = torch.linalg.matrix_norm(nearest[index] - polar_factor(matrices[index]))
        assert error < 0.15 * math.sqrt(min(shape))


def test_the_quintics_bring_every_singular_value_of_the_interval_near_one() -> None:
    values = torch.logspace(-3, 0, 10_000, dtype=torch.float64)
    for a, b, c in POLAR_EXPRESS:
        values = a * values + b * values**3 + c * values**5
    assert 0.8 < values.min() < values.max() < 1.2


def test_zero_stays_zero_and_half_precision_is_near() -> None:
    assert not orthogonalise(torch.zeros(3, 4)).any()
    matrices = random(2, 32, 48).float()
    halves = orthogonalise(matrices, torch.bfloat16)
    assert halves.dtype == torch.float32
    torch.testing.assert_close(halves, orthogonalise(matrices), rtol=0, atol=0.03)


def test_steps_equal_a_plain_implementation() -> None:
    """Entry by entry, from the equations; the polar factor by the same polynomial of the singular values."""
    rate, decay, steps = 0.1, 0.3, 4
    parts = {(12, 4): (4, 4, 4), (8, 6): (8,), (6, 8): (6,), (10, 3): (5, 5), (14, 5): (10, 2, 2)}
    weights = {shape: torch.nn.Parameter(random(*shape, seed=i)) for i, shape in enumerate(parts)}
    plain = {shape: weight.detach().clone() for shape, weight in weights.items()}
    momenta = {shape: torch.zeros(shape, dtype=torch.float64) for shape in parts}
    muon = Muon([{"params": [weights[shape]], "rows": rows} for shape, rows in parts.items()])
    for step in range(steps):
        for group in muon.param_groups:
            group["lr"], group["weight_decay"] = rate, decay * decay_scale(step, steps)
        for index, (shape, weight) in enumerate(weights.items()):
            gradient = random(*shape, seed=100 * step + index)
            weight.grad = gradient.clone()
            momenta[shape] = MOMENTUM * momenta[shape] + (1 - MOMENTUM) * gradient
            nesterov = MOMENTUM * momenta[shape] + (1 - MOMENTUM) * gradient
            for first, rows in zip((0, *accumulate(parts[shape])), parts[shape], strict=False):
                u, values, v = torch.linalg.svd(nesterov[first : first + rows], full_matrices=False)
                values = values / (1.02 * values.square().sum().sqrt() + 1e-6)
                for a, b, c in POLAR_EXPRESS:
                    values = a * values + b * values**3 + c * values**5
                update = u @ torch.diag(values) @ v
                scaled = rate * max(1.0, rows / shape[1]) ** 0.5
                old = plain[shape][first : first + rows]
                fading = decay * (1 - step / steps) * torch.where(update * old > 0, old, 0.0)
                plain[shape][first : first + rows] = old - scaled * update - scaled * fading
        muon.step()
        assert all(weight.grad is not None for weight in weights.values())
    for shape, weight in weights.items():
        torch.testing.assert_close(weight.detach(), plain[shape], rtol=1e-9, atol=1e-9)
