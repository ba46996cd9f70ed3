"""The training law over its runs, both routes to the optimum, and the fit under other choices."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.checks.robustness import Robustness
from analysis.engine.fit import LawFit
from analysis.engine.intervals import Interval
from analysis.prediction.frontier import best_recurrence
from analysis.report.figures.page import (
    BELOW,
    MODEL_COLOURS,
    PANELS,
    RED,
    budget_colour,
    log_axis,
    page,
    sentences_below,
    write,
)
from analysis.report.fitted_study import FittedModel, FittedStudy
from analysis.report.headlines import warnings
from analysis.report.law_text import forms_text, frontier_text
from analysis.report.study_text import PUBLISHED_GAMMAS


def training_figure(name: str, findings: FittedModel) -> Figure:
    """The training law's contours with the runs and its own optimum, and its residuals."""
    form = findings.forms.chosen
    shown = form.fit if form and not set(form.law.variables) - {"N", "D"} else findings.training.law.fit
    figure = page(f"Training law, {name}", f"{shown.law.name}: {shown.law.equation}, Huber on log loss")
    points, top = findings.training.points, 0.88
    if shown.usable:
        left, right = (figure.add_axes(place) for place in PANELS)
        _contours(left, findings, shown)
        for position, budget in enumerate(points.budgets):
            at = points.budget == budget
            colour = budget_colour(position, len(points.budgets))
            right.scatter(points.loss[at], 100 * shown.residuals[at], color=colour, s=16)
        rest = ~np.isfinite(points.flops)
        right.scatter(points.loss[rest], 100 * shown.residuals[rest], color="#555555", s=12)
        right.axhline(0, color="black", lw=0.6)
        right.set_xlabel("measured loss (nats)")
        right.set_ylabel("predicted over measured (%)")
        right.tick_params(labelsize=7)
        top = BELOW
    top = write(figure, top, findings.training.summary())
    top = write(figure, top, frontier_text(findings))
    write(figure, top, forms_text(findings.forms))
    return figure


def _contours(axes: Axes, findings: FittedModel, fit: LawFit) -> None:
    """The runs over the law's contours; its continuous optimum in red."""
    points, law, shape = findings.training.points, fit.law, findings.shape
    tokens = np.geomspace(points.tokens.min() / 1.5, points.tokens.max() * 1.5, 80)
    sizes = points.effective_parameters
    axes.scatter(
        points.tokens, sizes, c=points.loss, cmap="viridis_r", s=18, zorder=3, edgecolors="white", lw=0.4
    )
    grid = np.geomspace(sizes.min() / 1.1, sizes.max() * 1.1, 80)
    mesh_d, mesh_n = np.meshgrid(tokens, grid)
    mesh = {"N": mesh_n.ravel(), "D": mesh_d.ravel()}
    loss = law.predict(fit.vector, mesh)[0].reshape(mesh_n.shape)
    lines = axes.contour(tokens, grid, loss, levels=12, cmap="viridis_r", linewidths=0.8)
    axes.clabel(lines, fontsize=6, fmt="%.2f")
    log_axis(axes, "tokens D")
    log_axis(axes, "effective parameters N", vertical=True)
    if shape is not None and len(points.budgets):
        budgets = np.geomspace(points.budgets.min(), points.budgets.max(), 60)
        best = np.maximum(best_recurrence(fit.vector, shape, budgets, law)[0], 1.0)
        axes.plot(budgets / shape.flops_per_token(best), shape.parameters(best), color=RED, lw=1.6)
        axes.set_xlim(tokens[0], tokens[-1])
        axes.set_ylim(grid[0], grid[-1])


def routes_figure(findings: FittedStudy) -> Figure:
    """Both routes to each exponent, with intervals."""
    figure = page(
        "Two routes to the optimum",
        "IsoFLOP parabolas against the training law's own minimum, 95 % intervals",
    )
    names = list(findings.models)
    height = min(0.34, 0.06 + 0.05 * len(names))
    panels = [
        figure.add_axes((0.24, 0.88 - height, 0.31, height)),
        figure.add_axes((0.62, 0.88 - height, 0.31, height)),
    ]
    for axes, which in zip(panels, ("mean_recurrence", "tokens"), strict=True):
        for row, name in enumerate(names):
            route = getattr(findings.models[name].routes, which)
            _whisker(axes, row - 0.14, route.parabolas, MODEL_COLOURS[0], "parabolas" if row == 0 else None)
            _whisker(axes, row, route.corrected, MODEL_COLOURS[2], "corrected" if row == 0 else None)
            _whisker(axes, row + 0.14, route.law, MODEL_COLOURS[1], "training law" if row == 0 else None)
            paper = PUBLISHED_GAMMAS.get(name)
            if paper:
                published = paper[0] if which == "mean_recurrence" else paper[1]
                axes.plot([published] * 2, [row - 0.35, row + 0.35], color="black", lw=1, ls=":")
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), names if which == "mean_recurrence" else [""] * len(names))
        axes.set_xlabel(f"exponent of {which.replace('_', ' ')}")
    panels[1].legend(fontsize=7, frameon=False)
    text = "\n\n".join(f"{name}\n{found.routes.summary()}" for name, found in findings.models.items())
    top = write(figure, 0.80 - height, text + "\n\nDotted: the paper's exponents (figure 5).")
    sentences_below(figure, top, warnings(findings))
    return figure


def _whisker(axes: Axes, row: float, value: Interval, colour: str, label: str | None) -> None:
    axes.plot([value.value], [row], marker="o", ms=4, color=colour, ls="none", label=label)
    if math.isfinite(value.low):
        axes.plot([value.low, value.high], [row, row], color=colour, lw=1.5)


def robustness_figure(name: str, panel: Robustness) -> Figure:
    """Each refit's exponents, beside their spread."""
    figure = page(
        f"Robustness, {name}", "The training law under other choices: Huber's delta, budgets left out"
    )
    columns = ("E", "x", "y", "gamma_mean_recurrence")
    labels = ("E (nats)", "x", "y", "gamma, law")
    height = min(0.40, 0.05 + 0.025 * len(panel.variants))
    for position, (column, label) in enumerate(zip(columns, labels, strict=True)):
        axes = figure.add_axes((0.27 + 0.175 * position, 0.89 - height, 0.145, height))
        values = [getattr(variant, column) for variant in panel.variants]
        axes.scatter(values, range(len(values)), s=18, color=MODEL_COLOURS[0], zorder=3)
        low, high = panel.spread(column)
        if math.isfinite(low):
            axes.axvspan(low, high, color=MODEL_COLOURS[0], alpha=0.08)
            pad = max(high - low, 1e-3 * abs(high), 1e-6) * 0.2
            axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(len(values) - 0.5, -0.5)
        ticks = [variant.setting for variant in panel.variants] if position == 0 else [""] * len(values)
        axes.set_yticks(range(len(values)), ticks, fontsize=7)
        axes.tick_params(axis="x", labelsize=6)
        axes.set_xlabel(label, fontsize=8)
        axes.locator_params(axis="x", nbins=3)
    write(figure, 0.82 - height, panel.summary())
    return figure
