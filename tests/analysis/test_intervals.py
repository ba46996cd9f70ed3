"""The bootstrap: what is resampled, that warm starts lose nothing, and percentiles with weights."""

import numpy as np
import pytest

from analysis import fit_training_law
from analysis.intervals import bootstrap, interval, resampled_counts

from .points import grid


def test_each_budget_keeps_its_number_of_runs() -> None:
    strata = np.repeat([1e18, 2e18, 4e18], [6, 4, 7])
    counts = resampled_counts(strata, 200, np.random.default_rng(0))
    assert counts.shape == (200, 17)
    for stratum, runs in ((1e18, 6), (2e18, 4), (4e18, 7)):
        assert (counts[:, strata == stratum].sum(1) == runs).all()
    assert counts.std() > 0.5


def test_a_warm_refit_is_the_fit_of_the_resampled_runs() -> None:
    study = grid()
    loss = study.noisy(0.002, seed=3)
    fit = fit_training_law(study.parameters, study.tokens, loss).fit
    draws = bootstrap(fit, study.flops, resamples=5, seed=1)
    counts = resampled_counts(study.flops[fit.points.order], 5, np.random.default_rng(1)).astype(int)
    for row, times in zip(draws, counts, strict=True):
        rows = np.repeat(fit.points.order, times)
        cold = fit_training_law(study.parameters[rows], study.tokens[rows], loss[rows])
        predicted = fit.law.predict(row[None, :], {"N": study.parameters, "D": study.tokens})[0]
        np.testing.assert_allclose(predicted, cold.predict(study.parameters, study.tokens), rtol=2e-4)


def test_the_same_seed_gives_the_same_interval() -> None:
    study = grid()
    fit = fit_training_law(study.parameters, study.tokens, study.noisy(0.002, seed=3)).fit
    once, twice = (bootstrap(fit, study.flops, resamples=20, seed=7) for _ in range(2))
    np.testing.assert_array_equal(once, twice)


def test_an_undecided_fit_has_no_interval() -> None:
    study = grid()
    fit = fit_training_law(study.parameters, study.tokens, np.full(36, 3.0)).fit
    assert np.isnan(bootstrap(fit, study.flops, resamples=3)).all()
    assert np.isnan(interval(np.nan, np.full(3, np.nan)).low)


def test_weighted_percentiles_are_those_of_repeated_draws() -> None:
    generator = np.random.default_rng(0)
    draws = generator.standard_normal(2000)
    weights = np.where(np.arange(2000) < 1000, 1.0, 3.0)
    repeated = np.concatenate([draws[:1000], *[draws[1000:]] * 3])
    weighted, plain = interval(0.0, draws, weights), interval(0.0, repeated)
    assert weighted.low == pytest.approx(plain.low, abs=0.01)
    assert weighted.high == pytest.approx(plain.high, abs=0.01)
    kept = np.where(np.arange(2000) < 1000, draws, np.nan)  # three quarters of the weight is gone
    assert np.isnan(interval(0.0, kept, weights).low)
