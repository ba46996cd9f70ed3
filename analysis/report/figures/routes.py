"""Both routes to each exponent, with their intervals, a row each."""

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.checks.two_routes import Route
from analysis.report.figures.style import MODEL_COLOURS, axes_or_new, blank, in_style, letter, text
from analysis.report.fitted_study import FittedModel

ROUTES = (
    ("parabolas", "parabolas", "o", MODEL_COLOURS[0]),
    ("corrected", "corrected", "D", MODEL_COLOURS[2]),
    ("law", "law's minimum", "s", MODEL_COLOURS[1]),
)


@in_style
def exponents(
    routes: Mapping[str, Route], axes: Axes | None = None, *, paper: Mapping[str, float] | None = None
) -> Axes:
    """A model a group, a route a row: the estimate with its 95 % interval; dotted, the paper's own."""
    axes = axes_or_new(axes)
    for _, label, marker, colour in ROUTES:
        axes.plot([], [], linestyle="none", marker=marker, color=colour, label=label)
    for group, (name, route) in enumerate(routes.items()):
        for row, (quantity, label, marker, colour) in enumerate(ROUTES):
            value, height = getattr(route, quantity), group + 0.24 * (row - 1)
            series = f"_{name}, {label}"
            if math.isfinite(value.low):
                ends = [value.low, value.high]
                axes.plot(ends, [height] * 2, color=colour, linewidth=1.4, label=f"{series};interval")
            if math.isfinite(value.value):
                axes.plot([value.value], [height], marker=marker, color=colour, label=f"{series};points")
        if paper and name in paper:
            ends = [group - 0.38, group + 0.38]
            axes.plot([paper[name]] * 2, ends, color="black", linewidth=1, ls=":", label=f"_{name};paper")
    axes.set_ylim(len(routes) - 0.5, -0.5)
    axes.set_yticks(range(len(routes)), [text(name) for name in routes])
    axes.tick_params(axis="y", length=0)
    return axes


@in_style
def routes(models: Mapping[str, FittedModel], paper: Mapping[str, tuple[float, float]]) -> Figure:
    """The exponents of what was varied and of tokens."""
    figure, (left, right) = blank((1, 1), height=0.95 + 0.5 * len(models))
    first = next(iter(models.values()))
    for axes, which, position in ((left, "mean_recurrence", 0), (right, "tokens", 1)):
        shown = {name: getattr(found.routes, which).compared for name, found in models.items()}
        exponents(shown, axes, paper={name: both[position] for name, both in paper.items()})
        symbol = (
            "gamma_D"
            if position
            else ("gamma_N" if first.isoflop.axis.column == "parameters" else "gamma_mu")
        )
        axes.set_xlabel(text(f"exponent ${symbol}$"))
        letter(axes, "ab"[position], getattr(first.routes, which).quantity)
    right.set_yticks(range(len(models)), [""] * len(models))
    handles, labels = left.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right center")
    return figure
