"""What a recurrence is worth: phi recovered across shapes, and refused where one shape hides it."""

import math

import numpy as np
import pytest

from analysis import fit_equivalence
from analysis.equivalence import study_equivalence
from analysis.frontier import shape_of
from analysis.robustness import robustness
from analysis.verdict import Status

from .points import published_study


def shapes() -> tuple[np.ndarray, ...]:
    """48 runs of four shapes of loop."""
    once, recurrent, r, tokens = (
        a.ravel() for a in np.meshgrid([2e7, 8e7], [1e7, 6e7], [1, 2, 4, 8], [1e9, 4e9, 2e10], indexing="ij")
    )
    return once, recurrent, r, tokens


@pytest.mark.parametrize("phi", [0.0, 0.46, 1.0])
def test_phi_comes_back(phi: float) -> None:
    once, recurrent, r, tokens = shapes()
    loss = 1.8 + 2e3 * (once + r**phi * recurrent) ** -0.4 + 2e3 * tokens**-0.35
    fit = fit_equivalence(once, recurrent, r, tokens, loss, resamples=20)
    assert fit.status is Status.CONVERGED
    assert fit.phi.value == pytest.approx(phi, abs=1e-6)
    assert fit.intervals["alpha"].value == pytest.approx(0.4, rel=1e-6)
    assert fit.phi.low == pytest.approx(phi, abs=1e-4)


def test_an_interval_holds_the_truth_in_noise() -> None:
    once, recurrent, r, tokens = shapes()
    loss = 1.8 + 2e3 * (once + r**0.46 * recurrent) ** -0.4 + 2e3 * tokens**-0.35
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(len(loss)))
    fit = fit_equivalence(once, recurrent, r, tokens, loss * noise, resamples=300)
    assert fit.phi.low < 0.46 < fit.phi.high
    assert fit.phi.high - fit.phi.low < 0.3


def test_one_recurrence_decides_nothing() -> None:
    once, recurrent, r, tokens = shapes()
    loss = 1.8 + 2e3 * (once + recurrent) ** -0.4 + 2e3 * tokens**-0.35
    fit = fit_equivalence(once, recurrent, np.ones_like(r), tokens, loss, resamples=5)
    assert fit.status is Status.NOT_IDENTIFIED
    assert math.isnan(fit.phi.value)


def test_the_published_runs_of_both_sizes_decide_phi() -> None:
    fit = study_equivalence(list(published_study().models.values()))
    assert fit.status is Status.CONVERGED
    assert fit.points == 54
    assert 0.4 < fit.phi.low < fit.phi.high < 0.8


def test_no_looped_run_is_too_few() -> None:
    assert study_equivalence([]).status is Status.TOO_FEW_POINTS


def test_robustness_panel_holds_every_choice() -> None:
    points = published_study().models["medium-370m"]
    panel = robustness(points, shape_of(points))
    settings = [variant.setting for variant in panel.variants]
    assert settings == [
        "delta 0.0001",
        "delta 0.0003",
        "delta 0.001",
        "delta 0.003",
        "delta 0.01",
        "squared error",
        "without 3.2e+19 FLOPs",
        "without 6.4e+19 FLOPs",
        "without 1.28e+20 FLOPs",
    ]
    low, high = panel.spread("x")
    assert low == min(v.x for v in panel.variants)
    assert high == max(v.x for v in panel.variants)
    assert 0.6 < low < 0.78 < high < 1.0
