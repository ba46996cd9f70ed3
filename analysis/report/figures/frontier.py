"""The looped frontier: the best loss for each budget, against the same model without a loop."""

import math
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.prediction.frontier import FrontierPoint
from analysis.report.figures.style import (
    GREY,
    MODEL_COLOURS,
    axes_or_new,
    blank,
    in_style,
    legend_above,
    letter,
    log_axis,
    model_style,
    reason,
    text,
)
from analysis.report.fitted_study import FittedModel

NO_FRONTIER = "No law knows this loop's cost and size, so there is no frontier."


@in_style
def frontier_losses(found: FittedModel, axes: Axes | None = None) -> Axes:
    """The law's loss for each budget with the advised recurrence and without a loop; the lowest measured."""
    axes = axes_or_new(axes)
    supported = _supported(found)
    if found.frontier is None or not supported:
        reason(axes, NO_FRONTIER)
        return axes
    flops = [p.flops for p in supported]
    untrained = found.frontier.trained[0] > 1
    name = "no loop (not trained)" if untrained else "no loop"
    axes.plot(
        flops,
        [p.loss_without_loop for p in supported],
        color=GREY,
        linestyle="--",
        marker="s",
        markersize=3,
        label=text(name),
    )
    axes.plot(flops, [p.loss.value for p in supported], color=MODEL_COLOURS[0], label="best loop, by the law")
    known = [p for p in supported if math.isfinite(p.loss.low)]
    if known:
        axes.fill_between(
            [p.flops for p in known],
            [p.loss.low for p in known],
            [p.loss.high for p in known],
            color=MODEL_COLOURS[0],
            alpha=0.2,
            linewidth=0,
            label="_95 % interval",
        )
    points = found.points
    lowest = [(b, float(points.loss[points.budget == b].min())) for b in points.budgets]
    axes.plot(
        *zip(*lowest, strict=True),
        linestyle="none",
        marker="o",
        color=MODEL_COLOURS[1],
        label="lowest measured",
    )
    log_axis(axes, "budget $C$ (FLOPs)")
    axes.set_ylabel("validation loss (nats)")
    legend_above(axes)
    return axes


@in_style
def gain(models: Mapping[str, FittedModel], axes: Axes | None = None, *, legend: bool = True) -> Axes:
    """How far the best loop's loss lies below that of no loop, in percent, with its interval."""
    axes = axes_or_new(axes)
    for index, (name, found) in enumerate(models.items()):
        supported, style = _supported(found), model_style(index)
        if not supported:
            continue
        flops, values = [p.flops for p in supported], [p.gain_percent.value for p in supported]
        axes.plot(flops, values, label=text(name), **style)
        for p in supported:
            ends = [p.gain_percent.low, p.gain_percent.high]
            axes.plot([p.flops] * 2, ends, marker="_", linewidth=0.9, color=style["color"], label="_interval")
    if not axes.has_data():
        reason(axes, NO_FRONTIER)
        return axes
    axes.axhline(0, color="black", linewidth=0.7, label="_zero")
    log_axis(axes, "budget $C$ (FLOPs)")
    axes.set_ylabel("loss below no loop (%)")
    if legend and len(models) > 1:
        legend_above(axes)
    return axes


@in_style
def advised(models: Mapping[str, FittedModel], axes: Axes | None = None, *, legend: bool = True) -> Axes:
    """The advised mean recurrence for each budget, all within 0.1 % of the best, and what was trained."""
    axes = axes_or_new(axes)
    trained = [found.frontier.trained for found in models.values() if found.frontier and _supported(found)]
    if not trained:
        reason(axes, NO_FRONTIER)
        return axes
    axes.axhspan(min(t[0] for t in trained), max(t[1] for t in trained), color=GREY, alpha=0.12, linewidth=0)
    highest = 0.0
    for index, (name, found) in enumerate(models.items()):
        supported, style = _supported(found), model_style(index)
        colour, flops = style["color"], [p.flops for p in supported]
        for p in supported:
            axes.plot(
                [p.flops] * 2,
                p.near_best,
                color=colour,
                linewidth=3,
                alpha=0.4,
                solid_capstyle="butt",
                label=f"_{name};within 0.1 %",
            )
            highest = max(highest, p.near_best[1], p.mean_recurrence.value)
        advice = [p.mean_recurrence.value for p in supported]
        axes.plot(flops, advice, linestyle="none", marker=style["marker"], color=colour, label=text(name))
        continuous = [p.continuous_recurrence.value for p in supported]
        axes.plot(
            flops, continuous, color=colour, linestyle=style["linestyle"], linewidth=0.9, label="_continuous"
        )
    log_axis(axes, "budget $C$ (FLOPs)")
    axes.set_ylabel("mean recurrence")
    axes.set_ylim(0, 1.08 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if legend and len(models) > 1:
        legend_above(axes)
    return axes


@in_style
def frontier(models: Mapping[str, FittedModel]) -> Figure:
    """The gain on no loop, and what is advised."""
    figure, (left, right) = blank((1, 1), height=2.2)
    gain(models, left, legend=False)
    advised(models, right, legend=False)
    for axes, which, title in ((left, "a", "gain on no loop"), (right, "b", "how often to loop")):
        if axes.axison:
            letter(axes, which, title)
    handles, labels = left.get_legend_handles_labels()
    if len(handles) > 1:
        figure.legend(handles, labels, loc="outside right center")
    return figure


def _supported(found: FittedModel) -> list[FrontierPoint]:
    return [p for p in found.frontier.points if p.supported] if found.frontier else []
