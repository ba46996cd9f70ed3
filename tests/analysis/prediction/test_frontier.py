"""The training law's own optimum against a brute-force search, and the two routes side by side."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from analysis.checks.two_routes import Route, two_routes
from analysis.engine.intervals import NOTHING, Interval
from analysis.fits.forms import fit_forms
from analysis.prediction.frontier import best_recurrence, frontier
from analysis.prediction.predict import predict
from analysis.prediction.shape import Shape, shape_of
from analysis.report.fitted_study import fit_model, isoflop_of
from analysis.report.headlines import law_headlines
from parcae.config import default_backward_depth
from parcae.errors import InputError
from parcae.flops import Convention, flops_per_token
from parcae.presets import preset

from ..points import published_study


@pytest.mark.parametrize("model", ["small-140m", "medium-370m"])
def test_optimum_is_the_minimum_along_the_budget(model: str) -> None:
    """Continuous under the smooth price, by scipy; whole at the planner's own price, by trying them all."""
    points = published_study().models[model]
    forms, shape = fit_forms(points, resamples=50), shape_of(points)
    assert shape is not None
    assert forms.chosen is not None
    law, vector = forms.chosen.law, forms.chosen.fit.vector
    found = frontier(forms.mixture, points, shape, points.budgets)
    assert found is not None
    assert found.form == "coupled"
    for point in found.points:

        def loss(mu: float, price: float, flops: float = point.flops) -> float:
            at = {"N": np.atleast_1d(shape.parameters(mu)), "D": np.atleast_1d(flops / price)}
            return float(law.predict(vector, at)[0, 0])

        best = minimize_scalar(
            lambda log_mu: loss(np.exp(log_mu), float(shape.flops_per_token(np.exp(log_mu)))),
            bounds=(0, 6),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert point.continuous_recurrence.value == pytest.approx(np.exp(best.x), rel=1e-4)
        whole = {
            m: loss(
                m,
                flops_per_token(
                    preset(model).model, mean_recurrence=m, backward_depth=default_backward_depth(m)
                ),
            )
            for m in range(1, 25)
        }
        advised = min(range(2, 13), key=lambda m: whole[m])
        assert point.mean_recurrence.value == advised
        assert point.loss.value == pytest.approx(whole[advised], rel=1e-12)
        assert point.loss_without_loop == pytest.approx(whole[1], rel=1e-12)
        near = [m for m, value in whole.items() if value <= min(whole.values()) * 1.001]
        assert point.near_best == (near[0], near[-1])
        for told in (point.mean_recurrence, point.tokens, point.loss, point.gain_percent):
            assert told.low <= told.value <= told.high


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


@pytest.mark.parametrize("convention", list(Convention))
def test_one_price(convention: Convention) -> None:
    """Whole recurrences cost what the planner says, odd ones and none among them, in every convention."""
    shape = shape_of(published_study().models["small-140m"], convention)
    assert shape is not None
    for recurrence in (1, 2, 3, 7, 12):
        exact = flops_per_token(
            preset("small-140m").model,
            mean_recurrence=recurrence,
            backward_depth=default_backward_depth(recurrence),
            convention=convention,
        )
        assert float(shape.price(recurrence)) == pytest.approx(exact, rel=1e-12)


def test_a_file_that_contradicts_its_convention_is_refused_unless_that_is_settled() -> None:
    """The published grid with budgets counted `unrolled`, under a preset's name."""
    points = published_study().models["small-140m"]
    unrolled = np.array(
        [
            flops_per_token(
                preset("small-140m").model,
                mean_recurrence=m,
                backward_depth=m,
                convention=Convention.UNROLLED,
            )
            for m in points.mean_recurrence
        ]
    )
    other = dataclasses.replace(points, tokens=points.flops / unrolled)
    with pytest.raises(InputError, match=r"FLOPs per token, but convention 'paper' counts .*--convention"):
        shape_of(other)
    settled, own = shape_of(other, "unrolled"), shape_of(other, "own")
    assert settled is not None
    assert own is not None
    even = [2, 4, 12]
    assert settled.price(even) == pytest.approx(own.price(even), rel=1e-9)
    shape = shape_of(points)
    assert shape is not None
    fractional = dataclasses.replace(
        points,
        mean_recurrence=np.full(len(points), 2.4),
        tokens=points.flops / float(shape.price(2)),
    )
    with pytest.raises(InputError, match=r"mean recurrence 2\.4 spent"):
        shape_of(fractional)
    with pytest.raises(InputError, match="there is no convention 'mine'"):
        shape_of(other, "mine")


def test_runs_at_odd_recurrences_tell_how_they_were_priced() -> None:
    points = published_study().models["small-140m"]
    odd = np.where(points.mean_recurrence == 4, 3.0, points.mean_recurrence)
    for truncated in (True, False):
        passes = (odd + 2 * np.ceil(odd / 2)) / 2 if truncated else odd
        cost = 5e8 + 8e7 * passes
        shape = shape_of(
            dataclasses.replace(points, model="mine", mean_recurrence=odd, tokens=points.flops / cost)
        )
        assert shape is not None
        assert shape.truncated is truncated
        assert float(shape.price(3)) == pytest.approx(5e8 + 8e7 * (3.5 if truncated else 3.0))


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
    shape = Shape(once_parameters=0.0, recurrent_parameters=1e7, once_flops=0.0, recurrent_flops=6e7)
    law = np.array([[2.0, 1e4, 1e4, 0.5, 0.4]])
    flops = np.geomspace(1e18, 1e20, 5)
    best = best_recurrence(law, shape, flops)[0]
    slope = np.polyfit(np.log(flops), np.log(best), 1)[0]
    assert slope == pytest.approx(0.4 / 0.9, rel=1e-9)


def test_routes_say_which_one_is_believed_and_why() -> None:
    def route(plain: Interval, corrected: Interval, law: Interval) -> Route:
        return Route(
            quantity="q",
            budgets=(1e18, 4e18),
            parabolas=plain,
            corrected=corrected,
            law=law,
            parabolas_of_law=0.5,
        )

    near = Interval(value=0.4, low=0.35, high=0.45)
    far = Interval(value=0.6, low=0.5, high=0.7)
    wide = Interval(value=0.4, low=0.35, high=0.7)
    assert route(near, near, near).believed == ""
    assert route(wide, near, far).disagree
    assert "trust the corrected parabolas, 0.400 (0.350 to 0.450)" in route(wide, near, far).believed
    assert not route(wide, far, far).disagree
    assert "plain parabolas are biased on this grid" in route(wide, far, far).believed
    assert "trust neither" in route(near, NOTHING, far).believed
    assert route(near, NOTHING, NOTHING).believed == ""


@pytest.mark.parametrize(
    ("recurrences", "sentence"),
    [((2, 4, 6, 8, 10, 12), "too wide"), ((4, 6, 8, 10), "narrow")],
)
def test_routes_warn_of_the_grid(recurrences: tuple[int, ...], sentence: str) -> None:
    points = published_study().models["small-140m"]
    points = points.select(np.isin(points.mean_recurrence, recurrences))
    warnings = two_routes(
        points,
        isoflop_of(points),
        fit_forms(points, resamples=50).forms["training"].fit,
        None,
    ).warnings
    assert any(sentence in warning for warning in warnings)


def test_published_routes_agree_within_their_intervals() -> None:
    for points in published_study().models.values():
        routes = fit_model(points).routes
        assert not routes.mean_recurrence.compared.disagree
        assert not any("disagree" in warning for warning in routes.warnings)


def test_routes_are_compared_over_the_same_budgets() -> None:
    points = published_study().models["small-140m"]
    found = fit_model(points)
    assert found.isoflop.corrected is not None
    assert found.frontier is not None
    same = found.routes.mean_recurrence.compared
    assert same.budgets == found.isoflop.corrected.gamma_axis.budgets == (2e18, 4e18, 8e18, 1.6e19)
    assert same.corrected == found.isoflop.corrected.gamma_axis.exponent
    best = np.array([p.continuous_recurrence.value for p in found.frontier.points if p.flops in same.budgets])
    slope = np.polyfit(np.log(same.budgets), np.log(best), 1)[0]
    assert same.law.value == pytest.approx(slope, rel=1e-6)
    vertices = [o.mean_recurrence for o in found.isoflop.optima if o.flops in same.budgets]
    plain = np.polyfit(np.log(same.budgets), np.log(vertices), 1)[0]
    assert same.parabolas.value == pytest.approx(plain, rel=1e-6)
    everywhere = found.routes.mean_recurrence
    assert len(everywhere.budgets) == 6
    assert np.isnan(everywhere.corrected.value)
    assert everywhere.law == found.frontier.gamma_mean_recurrence


def test_what_lies_beyond_the_trained_recurrences_is_no_finding() -> None:
    """Up to mean recurrence 8: at 1.6e19 FLOPs the optimum was not trained, and beyond there is none."""
    points = published_study().models["small-140m"]
    found = fit_model(points.select(points.mean_recurrence <= 8))
    assert found.frontier is not None
    last = found.frontier.points[-2]
    assert last.mean_recurrence.value == 8
    assert last.mean_recurrence.low <= 8 <= last.mean_recurrence.high
    assert last.near_best[0] <= 8 <= last.near_best[1]
    assert last.beyond_trained > 8
    told = law_headlines("m", found)
    grows = [t for t in told if "law's own minimum" in t]
    assert len(grows) == 1
    assert "over 3 budgets, 2e+18 to 8e+18 FLOPs, the best mean recurrence grows" in grows[0]


def test_an_optimum_of_no_loop_has_no_interval_and_says_why() -> None:
    study = published_study()
    points = study.models["small-140m"]
    loss = 2.0 + 800 * points.effective_parameters**-0.5 + 3.06e4 * points.tokens**-0.516
    noisy = loss * np.exp(3e-4 * np.random.default_rng(0).standard_normal(len(loss)))
    flat = dataclasses.replace(study, models={"m": dataclasses.replace(points, loss=noisy)}, curves=())
    found = predict(flat, flops=1e18, convention="paper", resamples=200)
    assert found.continuous_recurrence.value == 1
    assert np.isnan(found.continuous_recurrence.low)
    assert "1, no loop, throughout its limits" in found.warnings[0]
    near = predict(flat, flops=1.6e19, convention="paper", resamples=200)
    assert near.continuous_recurrence.low == 1 < near.continuous_recurrence.high
    assert not near.warnings


def test_an_optimum_far_beyond_the_runs_is_none() -> None:
    """Losses that only fall with the loop: the law's minimum is an extrapolation, and gives no exponent."""
    points = published_study().models["small-140m"]
    falling = 3 - 0.05 * np.log(points.mean_recurrence) - 0.02 * np.log(points.flops / 1e18)
    found = fit_model(dataclasses.replace(points, loss=falling))
    assert found.frontier is not None
    assert len(found.frontier.warnings) == len(found.frontier.points) == 6
    assert "the runs support up to 24, so no optimum" in found.routes.warnings[-1]
    for optimum in found.frontier.points:
        assert not optimum.interior
        assert np.isnan([optimum.mean_recurrence.value, optimum.tokens.value, optimum.loss.value]).all()
    assert np.isnan([found.routes.mean_recurrence.law.value, found.routes.tokens.law.value]).all()
    assert np.isnan([v.gamma_mean_recurrence for v in found.robustness.variants]).all()
