"""The training law's own optimum against a brute-force search, and the two routes side by side."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from analysis.findings import isoflop_of, model_findings
from analysis.frontier import best_recurrence, frontier, shape_of
from analysis.intervals import Interval
from analysis.routes import Route, two_routes
from analysis.training import study_training_law
from parcae.config import default_backward_depth
from parcae.flops import flops_per_token
from parcae.presets import preset

from .points import published_study


@pytest.mark.parametrize("model", ["small-140m", "medium-370m"])
def test_optimum_is_the_minimum_along_the_budget(model: str) -> None:
    points = published_study().models[model]
    study, shape = study_training_law(points, resamples=50), shape_of(points)
    assert shape is not None
    found = frontier(study, shape, points.budgets)
    assert found is not None
    for point in found.points:

        def loss(log_mu: float, flops: float = point.flops) -> float:
            mu = np.exp(log_mu)
            return float(study.law.predict(shape.parameters(mu), flops / shape.flops_per_token(mu))[0])

        best = minimize_scalar(loss, bounds=(0, 6), method="bounded", options={"xatol": 1e-10})
        assert point.loss.value == pytest.approx(best.fun, rel=1e-9)
        if point.interior:
            assert point.mean_recurrence.value == pytest.approx(np.exp(best.x), rel=1e-4)
            assert point.loss.value < point.loss_without_loop
        cost = point.flops / point.tokens.value
        assert cost == pytest.approx(float(shape.flops_per_token(point.mean_recurrence.value)))


def test_shape_of_a_preset_is_the_flop_counters() -> None:
    shape = shape_of(published_study().models["small-140m"])
    assert shape is not None
    for recurrence in (2, 4, 12):
        exact = flops_per_token(
            preset("small-140m").model,
            mean_recurrence=recurrence,
            backward_depth=default_backward_depth(recurrence),
        )
        assert float(shape.flops_per_token(recurrence)) == pytest.approx(exact, rel=1e-12)


def test_shape_of_another_model_is_the_line_through_its_runs() -> None:
    known = published_study().models["small-140m"]
    shape, same = shape_of(known), shape_of(known.select(np.ones(len(known), dtype=bool)))
    renamed = type(known)(**{**vars(known), "model": "somebody's"})
    found = shape_of(renamed)
    assert shape is not None
    assert found is not None
    assert same == shape
    assert found.once_flops == pytest.approx(shape.once_flops, rel=1e-9)
    assert found.recurrent_flops == pytest.approx(shape.recurrent_flops, rel=1e-9)


def test_exponent_of_a_pure_power_law() -> None:
    """Without parameters or cost outside the loop, mu_rec* = k C^(y / (x + y)) exactly (Hoffmann et al.)."""
    from analysis.frontier import Shape

    shape = Shape(once_parameters=0.0, recurrent_parameters=1e7, once_flops=0.0, recurrent_flops=6e7)
    law = np.array([[2.0, 1e4, 1e4, 0.5, 0.4]])
    flops = np.geomspace(1e18, 1e20, 5)
    best = best_recurrence(law, shape, flops)[0]
    slope = np.polyfit(np.log(flops), np.log(best), 1)[0]
    assert slope == pytest.approx(0.4 / 0.9, rel=1e-9)


def test_routes_warn_where_they_disagree() -> None:
    near = Interval(value=0.4, low=0.35, high=0.45)
    far = Interval(value=0.6, low=0.5, high=0.7)
    assert Route(quantity="q", parabolas=near, law=far, parabolas_of_law=0.6).disagree
    assert not Route(quantity="q", parabolas=near, law=near, parabolas_of_law=0.4).disagree
    assert Route(quantity="q", parabolas=near, law=far, parabolas_of_law=0.4).grid_bias


@pytest.mark.parametrize(
    ("recurrences", "sentence"),
    [((2, 4, 6, 8, 10, 12), "too wide"), ((4, 6, 8, 10), "narrow")],
)
def test_routes_warn_of_the_grid(recurrences: tuple[int, ...], sentence: str) -> None:
    points = published_study().models["small-140m"]
    points = points.select(np.isin(points.mean_recurrence, recurrences))
    warnings = two_routes(
        points, isoflop_of(points), study_training_law(points, resamples=50).law, None
    ).warnings
    assert any(sentence in warning for warning in warnings)


def test_published_routes_agree_within_their_intervals() -> None:
    for points in published_study().models.values():
        routes = model_findings(points).routes
        assert not routes.mean_recurrence.disagree
        assert not any("disagree" in warning for warning in routes.warnings)


def test_an_optimum_far_beyond_the_runs_is_none() -> None:
    """Losses that only fall with the loop: the law's minimum is an extrapolation, and gives no exponent."""
    points = published_study().models["small-140m"]
    falling = 3 - 0.05 * np.log(points.mean_recurrence) - 0.02 * np.log(points.flops / 1e18)
    found = model_findings(dataclasses.replace(points, loss=falling))
    assert found.frontier is not None
    assert len(found.frontier.warnings) == len(found.frontier.points) == 6
    assert "the runs support up to 24, so no optimum" in found.routes.warnings[-1]
    for optimum in found.frontier.points:
        assert not optimum.interior
        assert np.isnan([optimum.mean_recurrence.value, optimum.tokens.value, optimum.loss.value]).all()
    assert np.isnan([found.routes.mean_recurrence.law.value, found.routes.tokens.law.value]).all()
    assert np.isnan([v.gamma_mean_recurrence for v in found.robustness.variants]).all()
