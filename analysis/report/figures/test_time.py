"""Losses over test recurrences: single runs with their curves, and what the unified law leaves."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data.points import TestTimeCurve
from analysis.engine.verdict import FitStatus
from analysis.fits.saturation import SaturationFit
from analysis.fits.unified import UnifiedFit
from analysis.report.content.numbers import flops
from analysis.report.figures.style import (
    DOUBLE,
    GREY,
    MARKERS,
    MODEL_COLOURS,
    axes_or_new,
    blank,
    budget_colour,
    in_style,
    letter,
    log_axis,
    text,
)
from analysis.report.mathematics import literal

COLUMNS = 4


@in_style
def saturation_curve(curve: TestTimeCurve, fit: SaturationFit, axes: Axes | None = None) -> Axes:
    """One run: dots measured, a line fitted, dashed its mean recurrence, a star the best T."""
    axes = axes_or_new(axes)
    at = curve.test_recurrence
    axes.axvline(
        curve.mean_recurrence, color=GREY, linewidth=0.7, linestyle="--", label="_measured;mean recurrence"
    )
    if math.isfinite(fit.fit.best[-1]) and np.isfinite(fit.predict(at)).all():
        line = np.linspace(at.min(), at.max(), 120)
        dotted = fit.status is not FitStatus.CONVERGED
        axes.plot(
            line,
            fit.predict(line),
            color=MODEL_COLOURS[1],
            linestyle=":" if dotted else "-",
            label="_measured;fit",
        )
    axes.plot(
        at, curve.loss, linestyle="none", marker="o", markersize=3, color=MODEL_COLOURS[0], label="measured"
    )
    if fit.status is FitStatus.TURNS_UP:
        axes.plot(
            [fit.best_test_recurrence],
            [fit.best_loss],
            linestyle="none",
            marker="*",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor="black",
            label="_best T",
        )
    return axes


def run_names(curves: Sequence[TestTimeCurve]) -> dict[str, str]:
    """What a reader knows each run by: its model where that has one run, else what was chosen for it.

    A name that somebody gave is kept; one that was made up here (a hash, or a line's number) is not.
    """
    models = [curve.model for curve in curves]
    return {curve.run_id: _run_name(curve, models.count(curve.model) == 1) for curve in curves}


def _run_name(curve: TestTimeCurve, alone: bool) -> str:
    if alone:
        return literal(curve.model)
    size = curve.flops if math.isfinite(curve.flops) else curve.tokens
    if re.fullmatch(r"[0-9a-f]{16}|.*:\d+", curve.run_id) is None or not math.isfinite(size):
        return literal(curve.run_id)
    unit = "FLOPs" if math.isfinite(curve.flops) else "tokens"
    return f"$mu_rec = {curve.mean_recurrence:g}$, {flops(size)} {unit}"


@in_style
def saturation(shown: Sequence[tuple[TestTimeCurve, SaturationFit]], names: Mapping[str, str]) -> Figure:
    """Small panels, a run each, under its name."""
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(DOUBLE, 0.35 + 1.35 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for position, axes in enumerate(grid.ravel()):
        if position >= len(shown):
            axes.remove()
            continue
        saturation_curve(*shown[position], axes)
        axes.set_title(text(names[shown[position][0].run_id]), loc="left", fontsize=7)
        axes.tick_params(labelsize=6.5)
    figure.supxlabel("test recurrence T", fontsize=8)
    figure.supylabel("loss (nats)", fontsize=8)
    return figure


@in_style
def unified(curves: Sequence[TestTimeCurve], fit: UnifiedFit) -> Figure:
    """Measured losses over T with the law's lines, and what it leaves over T / mean recurrence."""
    figure, (left, right) = blank((1, 1))
    chosen = list(curves)
    depths = sorted({curve.mean_recurrence for curve in chosen})
    for curve in chosen:
        position = depths.index(curve.mean_recurrence)
        colour, marker = budget_colour(position, len(depths)), MARKERS[position % len(MARKERS)]
        at = curve.test_recurrence
        predicted = fit.predict(curve.effective_parameters, curve.tokens, curve.mean_recurrence, at)
        off = 100 * (predicted / curve.loss - 1)
        right.plot(
            at / curve.mean_recurrence,
            off,
            color=colour,
            marker=marker,
            markersize=2.6,
            linewidth=0.7,
            label=f"_{curve.run_id};residual",
        )
    for curve in _lowest_of_each(chosen, depths):
        position = depths.index(curve.mean_recurrence)
        colour, marker = budget_colour(position, len(depths)), MARKERS[position % len(MARKERS)]
        line = np.linspace(curve.test_recurrence.min(), curve.test_recurrence.max(), 80)
        left.plot(
            line,
            fit.predict(curve.effective_parameters, curve.tokens, curve.mean_recurrence, line),
            color=colour,
            linewidth=0.9,
            label=f"_{curve.run_id};law",
        )
        left.plot(
            curve.test_recurrence,
            curve.loss,
            linestyle="none",
            marker=marker,
            markersize=3,
            color=colour,
            label=f"_{curve.run_id};points",
        )
    left.set_xlabel("test recurrence T")
    left.set_ylabel("loss (nats)")
    right.axhline(0, color="black", linewidth=0.7, label="_zero")
    log_axis(right, "$T / mu_rec$")
    right.set_ylabel("predicted over measured (%)")
    letter(left, "a", "largest budget")
    letter(right, "b", "residuals")
    for position, depth in enumerate(depths):
        colour, marker = budget_colour(position, len(depths)), MARKERS[position % len(MARKERS)]
        label = text(f"$mu_rec = {depth:g}$")
        right.plot([], [], color=colour, marker=marker, markersize=2.6, linewidth=0.7, label=label)
    figure.legend(*right.get_legend_handles_labels(), loc="outside right center")
    return figure


def _lowest_of_each(curves: Sequence[TestTimeCurve], depths: Sequence[float]) -> list[TestTimeCurve]:
    """For each mean recurrence the run on the most tokens."""
    return [
        max(
            (c for c in curves if c.mean_recurrence == depth),
            key=lambda c: c.flops if math.isfinite(c.flops) else c.tokens,
        )
        for depth in depths
    ]
