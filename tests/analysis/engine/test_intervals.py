"""Intervals: percentiles with weights, and draws that say nothing."""

import numpy as np
import pytest

from analysis.engine.intervals import holding, interval


def test_draws_that_say_nothing_give_no_interval() -> None:
    assert np.isnan(interval(np.nan, np.arange(3.0)).low)
    assert np.isnan(interval(1.0, np.full(3, np.nan)).low)
    assert np.isnan(interval(1.0, np.full(100, 1.0)).low)
    assert np.isnan(interval(1.0, np.array([1.0, 1.0, 1.0, 1.0] * 50 + [2.0])).low)


def test_an_estimate_off_the_draws_is_inside_its_interval() -> None:
    draws = np.random.default_rng(0).normal(10.0, 1.0, 5000)
    inside = holding(10.5, draws)
    assert (inside.low, inside.high) == pytest.approx((8.04, 11.96), abs=0.1)
    off = holding(14.0, draws)
    assert off.low == inside.low
    assert off.high == pytest.approx(14 * 1.196, rel=0.01)
    below = holding(-3.0, draws - 10)
    assert below.low == pytest.approx(-4.96, abs=0.1)
    assert holding(0.0, np.abs(draws)).low == 0.0


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
