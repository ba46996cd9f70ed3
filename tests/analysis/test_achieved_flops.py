"""Achieved FLOPs are off the planned ones by rounding: every interval is as wide as with exact budgets."""

from functools import cache

import numpy as np
import pytest

from analysis import predict
from analysis.data.frames import published_tables
from analysis.data.points import Study
from analysis.data.study import build_study
from analysis.engine.intervals import Interval
from analysis.fits.equivalence import study_equivalence
from analysis.report.fitted_study import fit_model

ROUNDING = 1e-3
FIFTH = 0.2


@cache
def published(seed: int | None) -> Study:
    """The published study; with a `seed` each run's FLOPs and tokens are off by up to 0.1 %."""
    runs, losses = published_tables()
    if seed is not None:
        off = np.exp(np.random.default_rng(seed).uniform(-ROUNDING, ROUNDING, len(runs)))
        runs = runs.assign(flops=runs["flops"] * off, tokens=runs["tokens"] * off)
    return build_study("published", "imported", runs, losses)


def assert_alike(exact: Interval, achieved: Interval, name: str) -> None:
    width = exact.high - exact.low
    assert width > 0, name
    assert achieved.high - achieved.low == pytest.approx(width, rel=FIFTH), name
    for end in ("low", "high", "value"):
        assert getattr(achieved, end) == pytest.approx(getattr(exact, end), abs=FIFTH * width), name


@pytest.mark.parametrize(("model", "times"), [("small-140m", 4), ("medium-370m", 1)])
def test_predictions(model: str, times: float) -> None:
    budget = times * published(None).models[model].flops.max()
    exact, achieved = (predict(published(seed), model, flops=budget, resamples=400) for seed in (None, 1))
    for name in ("continuous_recurrence", "continuous_tokens", "loss"):
        assert_alike(getattr(exact, name), getattr(achieved, name), name)
    assert exact.mean_recurrence.value == achieved.mean_recurrence.value


def test_isoflop_curves_and_the_reports_laws() -> None:
    exact, achieved = (fit_model(published(seed).models["small-140m"]) for seed in (None, 1))
    assert exact.frontier is not None
    assert achieved.frontier is not None
    for name in ("gamma_mean_recurrence", "gamma_tokens", "gamma_tokens_tied"):
        assert_alike(*(getattr(f.isoflop, name).exponent for f in (exact, achieved)), name)
    for name in ("gamma_mean_recurrence", "gamma_tokens"):
        assert_alike(*(getattr(f.frontier, name) for f in (exact, achieved)), f"law's {name}")
    for one, other in zip(exact.frontier.points, achieved.frontier.points, strict=True):
        assert other.flops == pytest.approx(one.flops, rel=ROUNDING)
        for name in ("continuous_recurrence", "loss", "gain_percent"):
            assert_alike(getattr(one, name), getattr(other, name), f"{name} at {one.flops:g}")
    for name, found in exact.training.intervals.items():
        if name in ("E", "x", "y"):
            assert_alike(found, achieved.training.intervals[name], name)


def test_phi() -> None:
    exact, achieved = (study_equivalence(list(published(seed).models.values()))[0] for seed in (None, 1))
    assert_alike(exact.joint.phi, achieved.joint.phi, "phi")
