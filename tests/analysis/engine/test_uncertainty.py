"""Draws of a law's uncertainty: shared noise, what cannot vary, and intervals that cover the truth."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from analysis import fit_training_law
from analysis.engine.solver import Shared
from analysis.engine.uncertainty import uncertainty

from ..points import grid


def coverage_bench() -> ModuleType:
    """bench/coverage.py, which finds its neighbours beside it."""
    place = Path(__file__).parents[3] / "bench" / "coverage.py"
    sys.path.append(str(place.parent))
    spec = spec_from_file_location("coverage_bench", place)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_whitening_undoes_the_covariance() -> None:
    """Against the inverse Cholesky factor of the covariance written out: the same generalised squares."""
    groups = np.array([0, 1, 0, 2, 1, 0])
    weights = np.array([1.0, 4.0, 1.0, 0.5, 4.0, 1.0])
    shared = Shared(groups=groups, ratios=np.array([0.0, 0.7, 3.0]), weights=weights)
    values = np.random.default_rng(0).standard_normal((3, 2, 6))
    white = shared.whiten(values)
    for row, ratio in enumerate(shared.ratios):
        covariance = np.eye(6) + ratio**2 * (groups[:, None] == groups)
        covariance = covariance / np.sqrt(weights[:, None] * weights)
        factor = np.linalg.inv(np.linalg.cholesky(covariance))
        np.testing.assert_allclose(
            white[row] @ white[row].T, values[row] @ factor.T @ factor @ values[row].T, rtol=1e-12
        )
        determinant = np.linalg.slogdet(covariance)[1] + np.log(weights).sum()
        assert shared.log_determinant[row] == pytest.approx(determinant)


def test_noise_of_runs_within_budgets_is_whitened_too() -> None:
    """Runs of unequal length within budgets of unequal weight, against the covariance written out."""
    runs, budgets = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3]), np.array([0] * 5 + [1] * 5)
    weights, values = np.where(budgets == 0, 1.0, 4.0), np.random.default_rng(0).standard_normal((2, 3, 10))
    inner = Shared(groups=runs, ratios=np.array([0.5, 3.0]), weights=weights)
    shared = Shared(groups=budgets, ratios=np.array([0.7, 2.0]), weights=weights, inner=inner)
    white = shared.whiten(values)
    for row, (run, budget) in enumerate(zip(inner.ratios, shared.ratios, strict=True)):
        covariance = np.eye(10) + run**2 * (runs[:, None] == runs) + budget**2 * (budgets[:, None] == budgets)
        covariance = covariance / np.sqrt(weights[:, None] * weights)
        factor = np.linalg.inv(np.linalg.cholesky(covariance))
        np.testing.assert_allclose(
            white[row] @ white[row].T, values[row] @ factor.T @ factor @ values[row].T, rtol=1e-12
        )
        determinant = np.linalg.slogdet(covariance)[1] + np.log(weights).sum()
        assert shared.log_determinant[row] == pytest.approx(determinant)
        drawn = shared.at(np.full(20_000, row)).draw(np.random.default_rng(row))
        np.testing.assert_allclose(np.cov(drawn.T), covariance, rtol=0.1, atol=0.5)


def test_draws_scatter_as_theory_says() -> None:
    """Many precise runs: the draws' spread is the least-squares standard error."""
    study = grid()
    loss = study.noisy(0.0003, seed=3)
    fit = fit_training_law(study.parameters, study.tokens, loss).fit
    alone = np.arange(len(loss))  # no run shares a group, so noise is each one's own
    found = uncertainty(fit, alone, draws=2000, seed=1)
    assert found.ratio == 0
    problem = fit.points.problem
    _, slopes, _ = problem.jacobian(fit.best[None], np.zeros((1, len(loss))))
    freedom = len(loss) - 5
    variance = (fit.residuals**2).sum() / freedom
    errors = np.sqrt(np.diag(np.linalg.inv(slopes[0] @ slopes[0].T)) * variance * freedom / (freedom - 2))
    drawn = problem.from_raw(found.draws / np.array([np.exp(fit.points.log_unit)] * 3 + [1.0] * 2))
    np.testing.assert_allclose(drawn.std(0), errors, rtol=0.1)


def test_draws_scatter_as_the_weights_say() -> None:
    """Noise that is ten times larger at the largest budget: the weighted least-squares standard errors."""
    study = grid()
    noisy = study.flops == study.flops.max()
    deviation = np.where(noisy, 0.003, 0.0003)
    loss = study.loss * np.exp(deviation * np.random.default_rng(5).standard_normal(len(deviation)))
    weights = deviation**-2 / np.mean(deviation**-2)
    fit = fit_training_law(study.parameters, study.tokens, loss, weights=weights).fit
    found = uncertainty(fit, np.arange(len(loss)), draws=2000, seed=1)
    problem, order = fit.points.problem, fit.points.order
    _, slopes, _ = problem.jacobian(fit.best[None], np.zeros((1, len(loss))))
    np.testing.assert_array_equal(fit.points.weights, weights[order])
    freedom = len(loss) - 5
    variance = (weights * fit.residuals**2).sum() / (freedom - 2)
    errors = np.sqrt(np.diag(np.linalg.inv((slopes[0] * weights[order]) @ slopes[0].T)) * variance)
    drawn = problem.from_raw(found.draws / np.array([np.exp(fit.points.log_unit)] * 3 + [1.0] * 2))
    np.testing.assert_allclose(drawn.std(0), errors, rtol=0.1)


def test_noise_shared_within_a_budget_is_seen_and_widens() -> None:
    study, generator = grid(), np.random.default_rng(4)
    own = 0.0005 * generator.standard_normal(36)
    budget = np.repeat(0.003 * generator.standard_normal(6), 6)
    wide, narrow = (
        uncertainty(
            fit_training_law(study.parameters, study.tokens, study.loss * np.exp(noise)).fit,
            study.flops,
            draws=300,
        )
        for noise in (own + budget, own)
    )
    assert wide.ratio > 1
    assert narrow.ratio < 0.6
    assert wide.draws[:, 0].std() > 1.5 * narrow.draws[:, 0].std()


def test_one_wild_run_does_not_widen_without_end() -> None:
    study = grid()
    clean = study.noisy(0.001, seed=2)
    wild = clean.copy()
    wild[7] = 30.0
    spreads = [
        uncertainty(fit_training_law(study.parameters, study.tokens, loss).fit, study.flops, draws=200)
        for loss in (clean, wild)
    ]
    assert spreads[1].draws[:, 0].std() < 3 * spreads[0].draws[:, 0].std()


def test_the_same_seed_gives_the_same_draws() -> None:
    study = grid()
    fit = fit_training_law(study.parameters, study.tokens, study.noisy(0.002, seed=3)).fit
    once, twice = (uncertainty(fit, study.flops, draws=20, seed=7) for _ in range(2))
    np.testing.assert_array_equal(once.draws, twice.draws)


@pytest.mark.parametrize(
    ("design", "noise", "truth"),
    [("published, 36 runs", "shared, 0.1 %", "training"), ("5 x 4", "0.3 %", "coupled")],
)
def test_intervals_cover_the_truth(design: str, noise: str, truth: str) -> None:
    """Six studies; fewer than 4 of 6 is what 95 % coverage shows once in four hundred times.

    The full run, 200 studies of every cell, is bench/results/coverage.txt.
    """
    scores = coverage_bench().cell(design, noise, truth, studies=6, resamples=100)
    assert {"gamma, law", "mu*, top", "mu*, 4 x", "loss, top", "loss, 4 x"} <= set(scores)
    for name, score in scores.items():
        assert sum(score.covered) >= min(4, len(score.covered) - 2), (name, score)
