"""A fitted law over its runs: contours with the law's own optimum, and what the law leaves over."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from analysis.data.points import spaced
from analysis.engine.fit import LawFit
from analysis.laws import Array
from analysis.prediction.frontier import best_recurrence
from analysis.report.content.numbers import flops
from analysis.report.figures.style import (
    GREY,
    MARKERS,
    MODEL_COLOURS,
    MOST_SHOWN,
    axes_or_new,
    blank,
    budget_colour,
    in_style,
    letter,
    log_axis,
    reason,
    text,
    whole_axis,
)
from analysis.report.fitted_study import FittedModel

LEVELS = 6
MANY = 200
"""Runs that are too many to see each: they are drawn small and pale, the lines over them."""
FAINT = "#9db7d5"
MARGIN = 0.08
"""How far inside a panel the labels of contours stay, as a fraction of it."""


@in_style
def drawn_fit(found: FittedModel) -> LawFit:
    """The chosen form where that is one of parameters and tokens alone, else the training law."""
    form = found.forms.chosen
    return form.fit if form and set(form.law.variables) == {"N", "D"} else found.training.law.fit


def contours(found: FittedModel, axes: Axes | None = None) -> Axes:
    """Lines of equal loss over tokens and effective parameters, the runs, and the law's own optimum."""
    axes, fit, points = axes_or_new(axes), drawn_fit(found), found.training.points
    if not fit.usable:
        reason(axes, f"No law to draw: {fit.message}.")
        return axes
    sizes = points.effective_parameters
    tokens = np.geomspace(points.tokens.min() / 1.3, points.tokens.max() * 1.3, 70)
    grid = np.geomspace(sizes.min() / 1.12, sizes.max() * 1.12, 70)
    mesh_d, mesh_n = np.meshgrid(tokens, grid)
    loss = fit.law.predict(fit.vector, {"N": mesh_n.ravel(), "D": mesh_d.ravel()})[0].reshape(mesh_n.shape)
    axes.set_xlim(tokens[0], tokens[-1])
    axes.set_ylim(grid[0], grid[-1])
    measured = np.quantile(points.loss, np.linspace(0.03, 0.97, LEVELS))
    levels = np.unique(np.round(measured, 2 if np.ptp(measured) > 0.1 else 3))
    lines = axes.contour(tokens, grid, loss, levels=levels, colors=GREY, linewidths=0.7)
    log_axis(axes, "tokens $D$")
    log_axis(axes, "effective parameters $N$", vertical=True)
    around = [np.stack([points.tokens, sizes], axis=1)]
    few = len(points) < MANY
    axes.plot(
        points.tokens,
        sizes,
        linestyle="none",
        marker="o",
        markersize=4.0 if few else 1.2,
        color=MODEL_COLOURS[0] if few else FAINT,
        zorder=3 if few else 1,
        label="runs",
    )
    if found.shape is not None and len(points.budgets):
        budgets = np.geomspace(points.budgets.min(), points.budgets.max(), 40)
        best = np.maximum(best_recurrence(fit.vector, found.shape, budgets, fit.law)[0], 1.0)
        at = budgets / found.shape.flops_per_token(best), found.shape.parameters(best)
        inside = (at[1] >= grid[0]) & (at[1] <= grid[-1])
        axes.plot(at[0][inside], at[1][inside], color=MODEL_COLOURS[1], linewidth=1.8, label="law's optimum")
        around.append(np.stack([at[0][inside], at[1][inside]], axis=1))
    _label(axes, lines, np.concatenate(around))
    return axes


@in_style
def residuals(found: FittedModel, axes: Axes | None = None) -> Axes:
    """Predicted over measured loss, in percent, along what was varied; a line joins each budget's runs."""
    axes, fit, points = axes_or_new(axes), drawn_fit(found), found.training.points
    if not fit.usable:
        reason(axes, "No law was fitted, so there is nothing left over.")
        return axes
    looped = np.isfinite(points.mean_recurrence).all() and len(np.unique(points.mean_recurrence)) > 1
    along = points.mean_recurrence if looped else points.effective_parameters
    percent = 100 * np.expm1(fit.residuals)
    budgets = spaced(points.budgets.tolist(), MOST_SHOWN)
    joined = len(points) < 300 and len(points.budgets) <= MOST_SHOWN
    for position, budget in enumerate(budgets if joined else []):
        at = np.flatnonzero(points.budget == budget)
        at = at[np.argsort(along[at])]
        axes.plot(
            along[at],
            percent[at],
            color=budget_colour(position, len(budgets)),
            marker=MARKERS[position % len(MARKERS)],
            linewidth=0.8,
            label=text(flops(budget)),
        )
    rest = ~np.isfinite(points.budget) if joined else np.ones(len(points), dtype=bool)
    if rest.any():
        size = 3.5 if rest.sum() < 200 else 1.4
        axes.plot(
            along[rest],
            percent[rest],
            linestyle="none",
            marker="o",
            markersize=size,
            color=GREY,
            label="runs",
        )
    axes.axhline(0, color="black", linewidth=0.7, label="_zero")
    if looped:
        whole_axis(axes, along.tolist(), "mean recurrence $mu_rec$")
    else:
        log_axis(axes, "effective parameters $N$")
    axes.set_ylabel("predicted over measured (%)")
    return axes


@in_style
def law(found: FittedModel) -> Figure:
    """Contours, and what is left over."""
    figure, (left, right) = blank((1, 1))
    contours(found, left)
    residuals(found, right)
    for axes, which, title in (
        (left, "a", f"the {drawn_fit(found).law.name.replace('_', ' ')} law"),
        (right, "b", "residuals"),
    ):
        if axes.axison:
            letter(axes, which, title)
    return figure


def _label(axes: Axes, lines: ContourSet, around: Array) -> None:
    """A label on each contour, where it is furthest from the runs, the optimum and the other labels.

    `around` (n, 2) are the tokens and sizes that nothing may lie over.
    """
    limits = np.log([axes.get_xlim(), axes.get_ylim()])

    def share(places: Array) -> Array:
        return np.asarray((np.log(places) - limits[:, 0]) / (limits[:, 1] - limits[:, 0]))

    kept, chosen = share(around), []
    for path in lines.get_paths():
        corners = np.asarray(path.vertices, dtype=float)
        at = share(corners) if len(corners) else np.empty((0, 2))
        inside = ((at > MARGIN) & (at < 1 - MARGIN)).all(axis=1)
        if inside.any():
            free = np.linalg.norm(at[:, None] - kept[None], axis=2).min(axis=1)
            best = int(np.argmax(np.where(inside, free, -1)))
            chosen.append((float(corners[best, 0]), float(corners[best, 1])))
            kept = np.vstack([kept, at[best]])
    if chosen:
        axes.clabel(lines, manual=chosen, fmt=lambda value: f"{value:.3g}", fontsize=7, inline=True)
