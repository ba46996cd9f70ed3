"""Figures show what the fits say: the data of every axis against the results."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection, PathCollection
from matplotlib.colors import to_hex

from analysis.data.points import TestTimeCurve
from analysis.engine.verdict import FitStatus
from analysis.fits.saturation import fit_curves
from analysis.report.figures.isoflop import isoflop_figure, power_law_figure
from analysis.report.figures.laws import robustness_figure, routes_figure, training_figure
from analysis.report.figures.page import RED
from analysis.report.figures.saturation import saturation_figure
from analysis.report.figures.summary import summary_page
from analysis.report.figures.unified import unified_figure
from analysis.report.fitted_study import FittedModel, FittedStudy, FittedTestTime
from analysis.report.headlines import extrapolations, headlines, warnings

from .conftest import MODEL


def dots(axes: Axes) -> list[np.ndarray]:
    """The (n, 2) places of each scatter, in the order drawn."""
    return [np.asarray(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)]


def stars(axes: Axes) -> np.ndarray:
    """The places of the red stars."""
    found = [
        np.asarray(c.get_offsets())
        for c in axes.collections
        if isinstance(c, PathCollection) and to_hex(c.get_facecolor()[0]) == RED
    ]
    return np.concatenate(found) if found else np.empty((0, 2))


def test_isoflop_curves(model: FittedModel) -> None:
    fit = model.isoflop
    left, right = isoflop_figure(MODEL, model).axes
    for axes, of, parabola, vertex in (
        (left, "log_v", "along_axis", "on_axis"),
        (right, "log_d", "in_tokens", "tokens"),
    ):
        assert axes.get_xscale() == "log"
        measured = [place for place in dots(axes) if len(place) > 1]
        assert len(measured) == len(fit.optima)
        for place, line, optimum in zip(measured, axes.lines, fit.optima, strict=True):
            np.testing.assert_allclose(place[:, 0], np.exp(getattr(optimum.curve, of)))
            np.testing.assert_allclose(place[:, 1], optimum.curve.losses)
            x, y = line.get_xdata(), line.get_ydata()
            curve = getattr(optimum, parabola)
            u = np.log(np.asarray(x, dtype=float)) - curve.centre
            np.testing.assert_allclose(y, curve.constant + curve.slope * u + curve.curvature * u**2)
            assert min(x) == pytest.approx(min(place[:, 0].min(), _or(getattr(optimum, vertex), np.inf)))
            assert line.get_linestyle() == ("-" if np.isfinite(getattr(optimum, vertex)) else ":")
        expected = [getattr(o, vertex) for o in fit.optima if np.isfinite(getattr(o, vertex))]
        np.testing.assert_allclose(stars(axes)[:, 0], expected)
    np.testing.assert_allclose(stars(left)[:, 1], [o.loss for o in fit.interior])
    assert left.get_xlabel() == "mean recurrence"
    assert right.get_xlabel() == "tokens D"
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        f"{o.flops:.3g}" for o in fit.optima
    ]


def _or(value: float, otherwise: float) -> float:
    return value if np.isfinite(value) else otherwise


def test_power_laws(fitted: FittedStudy, model: FittedModel) -> None:
    fit = model.isoflop
    left, right = power_law_figure(fitted).axes
    for axes, law, quantity in (
        (left, fit.gamma_mean_recurrence, "mean_recurrence"),
        (right, fit.gamma_tokens, "tokens"),
    ):
        optima = [o for o in fit.interior if np.isfinite(getattr(o, quantity))]
        (place,) = dots(axes)
        np.testing.assert_allclose(place, [(o.flops, getattr(o, quantity)) for o in optima])
        (line,) = axes.lines
        flops = np.asarray(line.get_xdata(), dtype=float)
        np.testing.assert_allclose(line.get_ydata(), law.k * flops**law.exponent.value)
        (band,) = [c for c in axes.collections if isinstance(c, FillBetweenPolyCollection)]
        edge = band.get_paths()[0].vertices
        right_end = np.asarray(edge)[np.isclose(np.asarray(edge)[:, 0], flops[-1]), 1]
        middle = np.exp(np.log([o.flops for o in optima]).mean())
        at_middle = law.k * middle**law.exponent.value
        steep = at_middle * (flops[-1] / middle) ** law.exponent.high
        flat = at_middle * (flops[-1] / middle) ** law.exponent.low
        assert (right_end.min(), right_end.max()) == pytest.approx((flat, steep))
        assert (axes.get_xlabel(), axes.get_xscale(), axes.get_yscale()) == ("FLOPs", "log", "log")
    assert left.get_ylabel() == "optimal mean recurrence"
    assert right.get_ylabel() == "optimal tokens D"


def test_training_law(model: FittedModel) -> None:
    points = model.points
    left, right = training_figure(MODEL, model).axes
    np.testing.assert_allclose(dots(left)[0], np.stack([points.tokens, points.effective_parameters], axis=1))
    form = model.forms.chosen
    assert form is not None
    shown = form.fit if set(form.law.variables) <= {"N", "D"} else model.training.law.fit
    data = {"N": points.effective_parameters, "D": points.tokens}
    predicted = shown.law.predict(shown.vector, data)[0]
    residuals = np.concatenate(dots(right))
    assert len(residuals) == 36
    order, drawn = np.argsort(points.loss), residuals[np.argsort(residuals[:, 0])]
    np.testing.assert_allclose(drawn[:, 0], points.loss[order])
    np.testing.assert_allclose(drawn[:, 1], 100 * np.log(predicted / points.loss)[order], atol=1e-6)
    assert right.get_ylabel() == "predicted over measured (%)"
    red = [line for line in left.lines if line.get_color() == RED]
    tokens, sizes = (np.asarray(values, dtype=float) for values in red[0].get_data())
    shape = model.shape
    assert shape is not None
    recurrence = (sizes - shape.once_parameters) / shape.recurrent_parameters
    flops = tokens * shape.flops_per_token(recurrence)
    np.testing.assert_allclose(flops, np.geomspace(points.budgets.min(), points.budgets.max(), 60), rtol=1e-9)
    for nearby in (0.97, 1.03):  # the red line is where the loss is lowest at a budget
        other = recurrence * nearby
        worse = {"N": shape.parameters(other), "D": flops / shape.flops_per_token(other)}
        at = {"N": sizes, "D": tokens}
        assert (shown.law.predict(shown.vector, worse) >= shown.law.predict(shown.vector, at))[0].all()


def test_routes(fitted: FittedStudy, model: FittedModel) -> None:
    for axes, route in zip(
        routes_figure(fitted).axes, (model.routes.mean_recurrence, model.routes.tokens), strict=True
    ):
        drawn = [[float(v) for v in np.atleast_1d(line.get_xdata())] for line in axes.lines]
        paper = 0.40 if route is model.routes.mean_recurrence else 0.77
        expected: list[list[float]] = []
        for value in (route.parabolas, route.corrected, route.law):
            expected.append([value.value])
            if np.isfinite(value.low):
                expected.append([value.low, value.high])
        assert drawn == [*expected, [paper, paper]]


def test_saturation(test_time: FittedTestTime) -> None:
    known = [(curve, fit) for curve, fit in test_time.saturation if np.isfinite(fit.L_inf)]
    shown = known[:5]
    assert len(shown) == 5
    figure = saturation_figure(shown, "a note")
    for axes, (curve, fit) in zip(figure.axes, shown, strict=True):
        np.testing.assert_allclose(dots(axes)[0], np.stack([curve.test_recurrence, curve.loss], axis=1))
        fitted_line, *rest = axes.lines
        t = np.asarray(fitted_line.get_xdata(), dtype=float)
        assert (t[0], t[-1]) == (1, 24)
        np.testing.assert_allclose(fitted_line.get_ydata(), fit.L_inf + fit.Z * np.exp(-fit.z * t))
        level, trained = rest
        np.testing.assert_allclose(level.get_ydata(), fit.L_inf)
        np.testing.assert_allclose(trained.get_xdata(), curve.mean_recurrence)
        position = figure.axes.index(axes)  # three columns, two rows
        assert axes.get_xlabel() == ("test recurrence T" if position >= 3 else "")
        assert axes.get_ylabel() == ("loss (nats)" if position % 3 == 0 else "")
        assert axes.get_title().split("\n") == [
            f"{curve.run_id}, mu_rec {curve.mean_recurrence:g}",
            str(fit.status),
        ]


def test_unified(test_time: FittedTestTime) -> None:
    fit, curves = test_time.unified[MODEL]["gamma_one"], test_time.curves
    axes = unified_figure(MODEL, test_time).axes[0]
    (place,) = dots(axes)
    measured = np.concatenate([curve.loss for curve in curves])
    predicted = np.concatenate(
        [fit.predict(c.effective_parameters, c.tokens, c.mean_recurrence, c.test_recurrence) for c in curves]
    )
    order, drawn = np.argsort(measured), place[np.argsort(place[:, 0])]
    np.testing.assert_allclose(drawn[:, 0], measured[order])
    np.testing.assert_allclose(drawn[:, 1], predicted[order], rtol=1e-9)
    depth = np.concatenate([c.test_recurrence / c.mean_recurrence for c in curves])
    colours = np.asarray(axes.collections[0].get_array())[np.argsort(place[:, 0])]
    np.testing.assert_allclose(colours, depth[order])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("measured loss (nats)", "predicted loss (nats)")


def test_robustness(model: FittedModel) -> None:
    panel = model.robustness
    figure = robustness_figure(MODEL, panel)
    for axes, column in zip(figure.axes, ("E", "x", "y", "gamma_mean_recurrence"), strict=True):
        values = [getattr(variant, column) for variant in panel.variants]
        (place,) = dots(axes)
        np.testing.assert_allclose(place, np.stack([values, np.arange(len(values))], axis=1))
        low, high = panel.spread(column)
        assert axes.get_xlim()[0] < low < high < axes.get_xlim()[1]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [variant.setting for variant in panel.variants]
    assert [axes.get_xlabel() for axes in figure.axes] == ["E (nats)", "x", "y", "gamma, law"]
    assert {axes.get_ylim() for axes in figure.axes} == {(len(names) - 0.5, -0.5)}  # as in the table


def test_runs_without_a_budget_have_residuals_too(model: FittedModel) -> None:
    flops = np.where(np.arange(36) < 4, np.nan, model.points.flops)
    points = replace(model.training.points, flops=flops)
    figure = training_figure(MODEL, replace(model, training=replace(model.training, points=points)))
    everywhere, usual = (
        np.concatenate(dots(drawn.axes[1])) for drawn in (figure, training_figure(MODEL, model))
    )
    np.testing.assert_allclose(sorted(everywhere.tolist()), sorted(usual.tolist()))


def test_a_star_marks_where_the_loss_turns_up() -> None:
    t = np.array([1.0, 2, 3, 4, 6, 8, 12, 16, 24])
    loss = 2.5 + 0.4 * np.exp(-0.9 * t) + 0.004 * np.maximum(t - 6, 0)
    known = {"mean_recurrence": 4.0, "tokens": 1e9, "effective_parameters": 1e8}
    curve = TestTimeCurve(run_id="r", model="m", test_recurrence=t, loss=loss, **known)
    (fit,) = fit_curves([(t, loss)])
    assert fit.status is FitStatus.TURNS_UP
    (axes,) = saturation_figure([(curve, fit)], "").axes
    assert stars(axes).tolist() == [[t[loss.argmin()], loss.min()]]


def test_page_1_holds_every_sentence_in_order(fitted: FittedStudy) -> None:
    texts = summary_page(fitted).texts
    words = ["".join(text.get_text().split()) for text in texts]
    assert texts[0].get_text() == "Scaling laws of a looped language model"
    assert texts[1].get_text() == "Sweep published: 36 runs fitted"
    parts = (("Findings", headlines), ("Extrapolated", extrapolations), ("Warnings", warnings))
    expected = [text for heading, sentences in parts for text in (heading, *(sentences(fitted) or ["None."]))]
    assert words[2:] == ["".join(sentence.split()) for sentence in expected]
    places = [text.get_position()[1] for text in texts[2:]]
    lines = [text.get_text().count("\n") + 1 for text in texts[2:]]
    for above, below, taken in zip(places, places[1:], lines, strict=False):
        assert above - below > 0.016 * taken
