"""Depths are drawn from the stated distributions, from (seed, step) alone."""

import numpy as np
import pytest
from scipy import stats

from parcae.config import DepthSampling
from parcae.depth import sample_depths
from tests.parcae.models import training


def many(**changes: object) -> np.ndarray:
    config = training(mean_recurrence=8, backward_depth=4, batch_sequences=64, **changes)
    return np.stack([sample_depths(config, step) for step in range(400)])


def test_per_sequence_is_poisson_at_least_one() -> None:
    depths = many()
    assert depths.min() >= 1
    observed = np.bincount(np.minimum(depths.ravel(), 16), minlength=17)[1:]
    law = stats.poisson(8)
    expected = np.array([law.cdf(1), *law.pmf(range(2, 16)), law.sf(15)]) * depths.size
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert abs(np.corrcoef(depths[:, 0], depths[:, 1])[0, 1]) < 0.15


def test_per_batch_is_one_poisson_draw_a_step() -> None:
    depths = many(sampling=DepthSampling.PER_BATCH)
    assert (depths == depths[:, :1]).all()
    assert depths[:, 0].mean() == pytest.approx(8, abs=0.6)


def test_fixed_and_mean_one() -> None:
    assert (many(sampling=DepthSampling.FIXED) == 8).all()
    for sampling in DepthSampling:
        assert (sample_depths(training(mean_recurrence=1, backward_depth=1, sampling=sampling), 3) == 1).all()


def test_log_normal_poisson_has_the_mean_and_the_spread_of_its_mixture() -> None:
    depths = many(sampling=DepthSampling.LOG_NORMAL_POISSON)[:, 0]
    free = depths - 4
    assert free.min() >= 0
    assert free.mean() == pytest.approx(4, abs=0.5)
    # Var = mean + mean^2 (exp(sigma^2) - 1), sigma = 1/2.
    assert free.var() == pytest.approx(4 + 16 * (np.exp(0.25) - 1), rel=0.3)


def test_the_same_seed_and_step_give_the_same_depths() -> None:
    config = training(batch_sequences=64)
    assert (sample_depths(config, 5) == sample_depths(config, 5)).all()
    assert (sample_depths(config, 5) != sample_depths(config, 6)).any()
    assert (sample_depths(config, 5) != sample_depths(training(batch_sequences=64, seed=1), 5)).any()
