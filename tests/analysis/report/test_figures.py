"""Figures: the data of every axis against the results; told apart in grey; files with what is drawn."""

import csv
import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from analysis.data.points import TestTimeCurve
from analysis.engine.verdict import FitStatus
from analysis.fits.isoflop.optimum import CurveVerdict
from analysis.fits.saturation import fit_curves
from analysis.laws import Array
from analysis.report.content.numbers import flops
from analysis.report.figures.files import data_csv, rendered, write_figure
from analysis.report.figures.frontier import advised, frontier_losses, gain
from analysis.report.figures.isoflop import isoflop, isoflop_curves
from analysis.report.figures.law import contours, drawn_fit, residuals
from analysis.report.figures.power_laws import optima, power_laws
from analysis.report.figures.routes import exponents
from analysis.report.figures.style import blank, budget_colour, log_axis, model_style, text, whole_axis
from analysis.report.figures.sweep import stability, training
from analysis.report.figures.test_time import run_names, saturation, saturation_curve, unified
from analysis.report.fitted_study import FittedModel, FittedStudy, FittedTestTime, isoflop_of
from analysis.report.records import COLUMNS, Records
from parcae.errors import InputError

from ..points import published_study
from .conftest import MODEL


def lines(axes: Axes, ending: str = "", *, marker: str | None = None) -> list[Array]:
    """The (n, 2) places of each line whose label ends so, and that has this marker."""
    return [
        np.stack(np.asarray(line.get_data(), dtype=float), axis=1)
        for line in axes.lines
        if str(line.get_label()).endswith(ending) and marker in (None, line.get_marker())
    ]


def named(axes: Axes) -> list[Array]:
    """The lines that the legend names, but for those that only the legend has."""
    known = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    places = [np.stack(np.asarray(line.get_data(), dtype=float), axis=1) for line in known]
    return [place for place in places if len(place)]


def test_isoflop_curves(model: FittedModel) -> None:
    fit = model.isoflop
    for tokens, of, parabola, vertex in (
        (False, "log_v", "along_axis", "on_axis"),
        (True, "log_d", "in_tokens", "tokens"),
    ):
        axes = isoflop_curves(fit, tokens=tokens)
        assert axes.get_xscale() == "log"
        for dots, curve, optimum in zip(named(axes), lines(axes, "_parabola"), fit.optima, strict=True):
            np.testing.assert_allclose(dots[:, 0], np.exp(getattr(optimum.curve, of)))
            np.testing.assert_allclose(dots[:, 1], optimum.curve.losses)
            fitted = getattr(optimum, parabola)
            u = np.log(curve[:, 0]) - fitted.centre
            np.testing.assert_allclose(
                curve[:, 1], fitted.constant + fitted.slope * u + fitted.curvature * u**2
            )
        expected = [getattr(o, vertex) for o in fit.optima if np.isfinite(getattr(o, vertex))]
        np.testing.assert_allclose(np.concatenate(lines(axes, marker="*"))[:, 0], expected)
    left = isoflop_curves(fit)
    np.testing.assert_allclose(np.concatenate(lines(left, marker="*"))[:, 1], [o.loss for o in fit.interior])
    assert [note.get_text() for note in left.texts] == [text(flops(o.flops)) for o in reversed(fit.optima)]


def test_a_parabola_without_an_optimum_is_dotted(model: FittedModel) -> None:
    last = model.isoflop.optima[-1]
    nothing = replace(last, mean_recurrence=float("nan"), verdict=CurveVerdict.FLAT)
    axes = isoflop_curves(replace(model.isoflop, optima=(nothing,)))
    assert [line.get_linestyle() for line in axes.lines] == ["None", ":"]


def test_power_laws(fitted: FittedStudy, model: FittedModel) -> None:
    fit = model.isoflop
    fits = {name: one.isoflop for name, one in fitted.models.items()}
    for tokens, law, quantity in (
        (False, fit.gamma_mean_recurrence, "mean_recurrence"),
        (True, fit.gamma_tokens, "tokens"),
    ):
        axes = optima(fits, tokens=tokens)
        found = [o for o in fit.interior if np.isfinite(getattr(o, quantity))]
        (marks,) = named(axes)
        np.testing.assert_allclose(marks, [(o.flops, getattr(o, quantity)) for o in found])
        (line,) = lines(axes, "_power law")
        np.testing.assert_allclose(line[:, 1], law.k * line[:, 0] ** law.exponent.value)
        assert fit.corrected is not None
        used = [(o.flops, o.tokens if tokens else o.on_axis) for o in fit.corrected.optima if o.used]
        whiskers = [[(budget, value.low), (budget, value.high)] for budget, value in used]
        np.testing.assert_allclose(lines(axes, "_interval"), whiskers)
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert f"exponent {law.exponent.value:.2f}" in axes.get_legend().get_texts()[0].get_text()  # type: ignore[union-attr]


def test_the_law_over_its_runs(model: FittedModel) -> None:
    points, axes = model.training.points, contours(model)
    runs, best = named(axes)
    np.testing.assert_allclose(runs, np.stack([points.tokens, points.effective_parameters], axis=1))
    shown, shape = drawn_fit(model), model.shape
    assert shape is not None
    recurrence = (best[:, 1] - shape.once_parameters) / shape.recurrent_parameters
    spent = best[:, 0] * shape.flops_per_token(recurrence)
    assert points.budgets.min() * 0.999 < spent.min() < spent.max() < points.budgets.max() * 1.001
    for nearby in (0.97, 1.03):  # the line is where the loss is lowest at a budget
        other = recurrence * nearby
        worse = {"N": shape.parameters(other), "D": spent / shape.flops_per_token(other)}
        at = {"N": best[:, 1], "D": best[:, 0]}
        assert (shown.law.predict(shown.vector, worse) >= shown.law.predict(shown.vector, at))[0].all()


def test_residuals_of_every_run(model: FittedModel) -> None:
    points, shown = model.training.points, drawn_fit(model)
    data = {"N": points.effective_parameters, "D": points.tokens}
    percent = 100 * (shown.law.predict(shown.vector, data)[0] / points.loss - 1)
    expected = np.stack([points.mean_recurrence, percent], axis=1)
    drawn = np.concatenate(named(residuals(model)))
    np.testing.assert_allclose(sorted(drawn.tolist()), sorted(expected.tolist()), atol=1e-6)
    assert residuals(model).get_ylabel() == "predicted over measured (%)"
    unknown = replace(points, flops=np.where(np.arange(36) < 4, np.nan, points.flops))
    partly = residuals(replace(model, training=replace(model.training, points=unknown)))
    assert len(np.concatenate(named(partly))) == 36


def test_the_frontier_against_no_loop(model: FittedModel) -> None:
    along = model.frontier
    assert along is not None
    shown = [p for p in along.points if p.supported]
    without, best, lowest = named(frontier_losses(model))
    np.testing.assert_allclose(without, [(p.flops, p.loss_without_loop) for p in shown])
    np.testing.assert_allclose(best, [(p.flops, p.loss.value) for p in shown])
    points = model.points
    measured = [(b, points.loss[points.budget == b].min()) for b in points.budgets]
    np.testing.assert_allclose(lowest, measured)
    axes = gain({MODEL: model})
    np.testing.assert_allclose(named(axes)[0], [(p.flops, p.gain_percent.value) for p in shown])
    limits = [[(p.flops, p.gain_percent.low), (p.flops, p.gain_percent.high)] for p in shown]
    np.testing.assert_allclose(lines(axes, "_interval"), limits)
    axes = advised({MODEL: model})
    np.testing.assert_allclose(named(axes)[0], [(p.flops, p.mean_recurrence.value) for p in shown])
    near = [[(p.flops, p.near_best[0]), (p.flops, p.near_best[1])] for p in shown]
    np.testing.assert_allclose(lines(axes, ";within 0.1 %"), near)
    (continuous,) = lines(axes, "_continuous")
    np.testing.assert_allclose(continuous, [(p.flops, p.continuous_recurrence.value) for p in shown])


def test_every_route_with_its_interval(model: FittedModel) -> None:
    route = model.routes.mean_recurrence.compared
    axes = exponents({MODEL: route}, paper={MODEL: 0.4})
    values = [route.parabolas, route.corrected, route.law]
    assert [place[0, 0] for place in lines(axes, ";points")] == [value.value for value in values]
    assert [place[:, 0].tolist() for place in lines(axes, ";interval")] == [[v.low, v.high] for v in values]
    assert lines(axes, ";paper")[0][:, 0].tolist() == [0.4, 0.4]
    assert not lines(exponents({MODEL: route}), ";paper")


def test_saturation_of_each_run(test_time: FittedTestTime) -> None:
    shown = [(curve, fit) for curve, fit in test_time.saturation if np.isfinite(fit.L_inf)][:5]
    assert len(shown) == 5
    figure = saturation(shown, {curve.run_id: f"run {curve.run_id}" for curve, _ in shown})
    for axes, (curve, fit) in zip(figure.axes, shown, strict=True):
        (measured,) = named(axes)
        np.testing.assert_allclose(measured, np.stack([curve.test_recurrence, curve.loss], axis=1))
        (line,) = lines(axes, ";fit")
        np.testing.assert_allclose(line[:, 1], fit.L_inf + fit.Z * np.exp(-fit.z * line[:, 0]))
        (trained,) = lines(axes, ";mean recurrence")
        np.testing.assert_allclose(trained[:, 0], curve.mean_recurrence)
        assert axes.get_title(loc="left") == f"run {curve.run_id}"


def test_a_star_marks_where_the_loss_turns_up() -> None:
    t = np.array([1.0, 2, 3, 4, 6, 8, 12, 16, 24])
    loss = 2.5 + 0.4 * np.exp(-0.9 * t) + 0.004 * np.maximum(t - 6, 0)
    known = {"mean_recurrence": 4.0, "tokens": 1e9, "effective_parameters": 1e8}
    curve = TestTimeCurve(run_id="r", model="m", test_recurrence=t, loss=loss, **known)
    (fit,) = fit_curves([(t, loss)])
    assert fit.status is FitStatus.TURNS_UP
    axes = saturation_curve(curve, fit)
    assert [place.tolist() for place in lines(axes, marker="*")] == [[[t[loss.argmin()], loss.min()]]]
    assert [line.get_linestyle() for line in axes.lines if str(line.get_label()).endswith(";fit")] == [":"]


def test_the_unified_law(test_time: FittedTestTime) -> None:
    fit, curves = test_time.unified[MODEL]["gamma_one"], test_time.curves
    left, right = unified(curves, fit).axes
    drawn = lines(right, ";residual")
    for place, curve in zip(drawn, curves, strict=True):
        at = (curve.effective_parameters, curve.tokens, curve.mean_recurrence, curve.test_recurrence)
        np.testing.assert_allclose(place[:, 0], curve.test_recurrence / curve.mean_recurrence)
        np.testing.assert_allclose(place[:, 1], 100 * (fit.predict(*at) / curve.loss - 1))
    depths = {curve.mean_recurrence for curve in curves}
    assert len(lines(left, ";points")) == len(lines(left, ";law")) == len(depths)


def test_runs_are_known_by_what_was_chosen_for_them() -> None:
    known = {"tokens": 1e9, "effective_parameters": 1e8, "mean_recurrence": 4.0, "flops": 2e18}
    losses = {"test_recurrence": np.ones(1), "loss": np.ones(1)}
    ids = ("0123456789abcdef", "mine:2", "named")
    curves = [TestTimeCurve(run_id=run_id, model="m", **known, **losses) for run_id in ids]
    chosen = "$mu_rec = 4$, $2e18$ FLOPs"
    assert list(run_names(curves).values()) == [chosen, chosen, "named"]
    assert run_names(curves[:1]) == {ids[0]: "m"}


def test_how_runs_trained() -> None:
    steps = np.arange(1, 11)
    bad = np.where(steps > 5, np.nan, steps)
    telemetry = pd.concat(
        pd.DataFrame({"run_id": run, "step": steps, "loss": loss, "state_norm": 1.0, "injection_norm": 0.5})
        for run, loss in (("good", 1 / steps), ("bad", bad))
    )
    runs = pd.DataFrame(
        {"run_id": ["good", "bad"], "state": ["done", "diverged"], "mean_recurrence": [2.0, 4.0]}
    ).reindex(columns=COLUMNS)
    records = Records(runs=runs, telemetry=telemetry)
    axes = training(records, "loss", "loss")
    good, ill = lines(axes, ";loss")
    np.testing.assert_allclose(good, np.stack([steps, 1 / steps], axis=1))
    np.testing.assert_allclose(ill, np.stack([steps[:5], steps[:5]], axis=1))
    assert lines(axes, "_end")[0].tolist() == [[5, 5]]
    assert len(stability(records).axes) == 3


def luminance(colour: object) -> float:
    return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))  # type: ignore[arg-type]


def test_six_models_differ_by_more_than_colour() -> None:
    styles = [model_style(i) for i in range(6)]
    assert len({style["marker"] for style in styles}) == 6
    assert len({str(style["linestyle"]) for style in styles}) == 6
    assert all(luminance(style["color"]) < 0.45 for style in styles)


def test_budgets_darken_and_none_is_too_light_for_paper() -> None:
    shades = [luminance(budget_colour(i, 6)) for i in range(6)]
    assert all(a > b + 0.04 for a, b in pairwise(shades))
    assert shades[0] < 0.6


@pytest.mark.parametrize(
    ("low", "high"), [(1e18, 6.4e19), (3.2e19, 1.28e20), (1e6, 1.1e6), (1, 1e12), (2, 2.2)]
)
def test_a_logarithmic_axis_has_a_few_readable_labels(low: float, high: float) -> None:
    _, (axes, _) = blank((1, 1))
    axes.plot([low, high], [1, 2])
    log_axis(axes, "budget $C$")
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 2 <= len(shown) <= 6
    assert axes.xaxis.get_major_formatter()(2e18) == "2×10¹⁸"


def test_labels_of_recurrences_do_not_touch() -> None:
    _, (axes,) = blank()
    whole_axis(axes, range(1, 33), "T")
    logs = np.log(axes.get_xticks())
    assert np.diff(logs).min() > 0.1 * np.ptp(logs)
    assert (axes.get_xticks()[0], axes.get_xticks()[-1]) == (1, 32)


def test_numbers_need_no_mathematics() -> None:
    assert text("$1.6e19$ FLOPs") == "1.6×10¹⁹ FLOPs"
    assert text("$1e-7$") == "10⁻⁷"
    assert text("$mu_rec$") == "$\\mu_{\\mathrm{rec}}$"


def test_every_dot_that_is_drawn_is_in_the_csv() -> None:
    points = published_study().models["medium-370m"]
    figure = isoflop(isoflop_of(points))
    rows = list(csv.DictReader(io.StringIO(data_csv(figure).decode())))
    left = [row for row in rows if row["panel"].startswith("(a)") and row["kind"] == "points"]
    drawn = {(round(float(row["x"])), round(float(row["y"]), 4)) for row in left}
    assert drawn == set(zip(points.mean_recurrence.astype(int), points.loss.round(4), strict=True))
    assert {row["kind"] for row in rows} == {"points", "parabola", "optimum"}


def test_files_are_the_same_each_time_and_fonts_are_in_them(tmp_path: Path) -> None:
    fits = {name: isoflop_of(points) for name, points in published_study().models.items()}
    figure = power_laws(fits)
    paths = write_figure(figure, tmp_path / "figures", "power-laws")
    assert [path.suffix for path in paths] == [".pdf", ".svg", ".png", ".csv"]
    for path in paths[:3]:
        assert rendered(figure, path.suffix[1:]) == path.read_bytes(), path
    assert b"/FontFile2" in paths[0].read_bytes()
    assert b"<text" not in paths[1].read_bytes()


def test_the_same_functions_are_a_library() -> None:
    from analysis import figures

    study = published_study()
    _, (axes,) = blank()
    assert figures.isoflop(study, "medium-370m", ax=axes) is axes
    assert len([line for line in axes.lines if not str(line.get_label()).startswith("_")]) == 3
    assert figures.power_law(study).get_ylabel().startswith("best mean recurrence")
    assert figures.contours(study, "small-140m").get_xlabel().startswith("tokens")
    assert figures.residuals(study, "small-140m").has_data()
    assert figures.frontier(study, "small-140m").has_data()
    assert figures.gain(study).has_data()
    assert figures.exponents(study, tokens=True).has_data()
    assert figures.saturation(study, "rdm-350m/per-batch").has_data()
    with pytest.raises(InputError, match="name one of small-140m, medium-370m"):
        figures.isoflop(study)
