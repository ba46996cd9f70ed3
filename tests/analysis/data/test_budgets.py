"""Budgets are told apart by gaps: rounding is none, a planned factor is, and a spread without gaps is cut."""

import numpy as np
import pytest

from analysis.data.budgets import APART, grouped_budgets


def scattered(
    factor: float, jitter: float, runs: int, seed: int = 0, budgets: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled FLOPs of `runs` runs a budget and the position of each one's true budget."""
    generator = np.random.default_rng(seed)
    true = generator.permutation(np.repeat(np.arange(budgets), runs))
    return 1e18 * factor**true * np.exp(generator.uniform(-jitter, jitter, len(true))), true


@pytest.mark.parametrize("runs", [1, 2, 3, 6, 20])
@pytest.mark.parametrize(
    ("factor", "jitter"), [(2, 1e-3), (1.5, 1e-3), (2, 0.03), (1.5, 0.03), (1.25, 1e-3), (1.1, 1e-3)]
)
def test_jitter_makes_no_budgets_and_a_planned_factor_does(factor: float, jitter: float, runs: int) -> None:
    for seed in range(20):
        flops, true = scattered(factor, jitter, runs, seed)
        found = grouped_budgets(flops)
        for budget in range(5):
            assert len(np.unique(found[true == budget])) == 1
            assert found[true == budget][0] == pytest.approx(1e18 * factor**budget, rel=jitter)
        assert len(np.unique(found)) == 5


@pytest.mark.parametrize(
    ("factor", "scatter", "runs"), [(2, 0.05, 3), (2, 0.08, 4), (1.4, 0.05, 4), (1.4, 0.08, 9)]
)
def test_a_gap_within_a_budget_parts_it_only_where_those_between_budgets_are_no_wider(
    factor: float, scatter: float, runs: int
) -> None:
    for seed in range(40):
        flops, true = scattered(factor, scatter, runs, seed)
        found = np.unique(grouped_budgets(flops), return_inverse=True)[1]
        np.testing.assert_array_equal(found, true)


@pytest.mark.parametrize("ladder", [(1, 1.1, 100, 110), (1, 1.1, 2, 4), (1, 1.25, 100, 125)])
@pytest.mark.parametrize("jitter", [0.0, 1e-3])
def test_close_budgets_stay_apart_beside_wide_gaps(ladder: tuple[float, ...], jitter: float) -> None:
    true = np.repeat(np.arange(4), 6)
    noise = np.random.default_rng(0).uniform(-jitter, jitter, len(true))
    found = grouped_budgets(1e18 * np.array(ladder)[true] * np.exp(noise))
    np.testing.assert_array_equal(np.unique(found, return_inverse=True)[1], true)


def test_equal_budgets_stay_as_they_are() -> None:
    flops = np.array([3e18, 1e18, 3e18, np.nan, 1e18])
    np.testing.assert_array_equal(grouped_budgets(flops), flops)
    assert grouped_budgets([]).shape == (0,)


def test_a_spread_without_gaps_makes_no_wide_budget() -> None:
    flops = np.exp(np.random.default_rng(1).uniform(np.log(1e18), np.log(1e20), 400))
    found = grouped_budgets(flops)
    for budget in np.unique(found):
        assert np.ptp(np.log(flops[found == budget])) <= APART
    assert 20 < len(np.unique(found)) < 80
    np.testing.assert_array_equal(np.argsort(flops), np.lexsort((flops, found)))
