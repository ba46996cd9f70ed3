"""Intervals: percentiles with weights, and draws that say nothing."""

import numpy as np
import pytest

from analysis.engine.intervals import holding, interval


def test_draws_that_say_nothing_give_no_interval() -> None:
    assert np.isnan(interval(np.nan, np.arange(3.0)).low)
    assert np.isnan(interval(1.0, np.full(3, np.nan)).low)
    assert np.isnan(interval(1.0, np.full(100, 1.0)).low)
    assert holding(interval(9.0, np.arange(3.0))).high == 9.0


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
