"""Loss against what was varied within each budget: the isoFLOP curves."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data.axis import Axis
from analysis.data.points import spaced
from analysis.fits.isoflop.optimum import Optimum
from analysis.fits.isoflop.parabola import Parabola
from analysis.fits.isoflop.result import IsoflopFit
from analysis.laws import Array
from analysis.report.content.numbers import flops
from analysis.report.figures.style import (
    GREY,
    MARKERS,
    MOST_SHOWN,
    Colour,
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

RUNS = "runs"
LINE_HEIGHT = 0.06
"""Of a label, as a fraction of the panel."""
LABELS = {
    Axis.MEAN_RECURRENCE: "mean recurrence $mu_rec$",
    Axis.TOKENS: "tokens $D$",
    Axis.PARAMETERS: "parameters $N$",
}


def curve_id(position: int) -> str:
    """What the `gid` of everything drawn for one budget begins with; that of its dots ends in ``RUNS``."""
    return f"curve-{position}"


@in_style
def isoflop_curves(fit: IsoflopFit, axes: Axes | None = None, *, tokens: bool = False) -> Axes:
    """A curve for each budget: dots are runs, lines their parabolas, open stars the optima.

    Along the axis of the fit, or along tokens. A dotted line is a parabola without an optimum.
    """
    axes = axes_or_new(axes)
    shown = spaced(fit.optima, MOST_SHOWN)
    for position, optimum in enumerate(shown):
        curve = optimum.curve
        logs = curve.log_d if tokens else curve.log_v
        if logs is None:
            continue
        colour = budget_colour(position, len(shown))
        gid = f"{curve_id(position)}-{'tokens' if tokens else 'axis'}"
        axes.plot(
            np.exp(logs),
            curve.losses,
            linestyle="none",
            marker=MARKERS[position % len(MARKERS)],
            markersize=4.2 if len(logs) < 30 else 2.0,
            color=colour,
            zorder=3,
            label=f"{text(flops(optimum.flops))}",
            gid=f"{gid}-{RUNS}",
        )
        fitted = optimum.in_tokens if tokens else optimum.along_axis
        if fitted is not None:
            before = len(axes.lines)
            _parabola(axes, fitted, np.exp(logs), optimum.tokens if tokens else optimum.on_axis, colour)
            for line in axes.lines[before:]:
                line.set_gid(f"{gid}{line.get_label()}")
    if not axes.has_data():
        reason(
            axes,
            "The runs' tokens are not known." if tokens else "No run has a budget and a place on this axis.",
        )
        return axes
    axis = Axis.TOKENS if tokens else fit.axis
    if axis is Axis.MEAN_RECURRENCE:
        whole_axis(axes, [v for o in shown for v in np.exp(o.curve.log_v).round(6)], LABELS[axis])
    else:
        log_axis(axes, LABELS[axis])
    axes.set_ylabel("validation loss (nats)")
    if not tokens:
        _name_curves(axes, shown)
    return axes


def _name_curves(axes: Axes, shown: Sequence[Optimum]) -> None:
    """Each budget beside its curve's last run, pushed apart where curves are close."""
    ends = []
    for position, optimum in enumerate(shown):
        last = int(np.argmax(optimum.curve.log_v))
        end = float(optimum.curve.losses[last]), float(np.exp(optimum.curve.log_v[last]))
        ends.append((*end, optimum.flops, f"{curve_id(position)}-name"))
    low, high = axes.get_ylim()
    place = -np.inf
    for loss, at, budget, gid in sorted(ends):
        place = max(loss, place + LINE_HEIGHT * (high - low))
        axes.annotate(
            text(flops(budget)),
            (at, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.8,
            color="#333333",
            annotation_clip=False,
            gid=gid,
        )


@in_style
def isoflop(fit: IsoflopFit) -> Figure:
    """The curves along the axis and along tokens, one legend for both."""
    figure, (left, right) = blank((1, 1))
    isoflop_curves(fit, left)
    letter(left, "a", f"along {fit.axis.words}")
    if fit.axis is Axis.TOKENS:
        reason(right, "The curves run along tokens; there is no second axis.")
    else:
        isoflop_curves(fit, right, tokens=True)
        letter(right, "b", "along tokens")
    return figure


def _parabola(axes: Axes, curve: Parabola, values: Array, vertex: float, colour: Colour) -> None:
    low, high = float(values.min()), float(values.max())
    optimum = math.isfinite(vertex)
    if optimum:
        low, high = min(low, vertex), max(high, vertex)
    line = np.geomspace(low, high, 60)
    axes.plot(
        line, curve(line), color=colour, linewidth=1.0, linestyle="-" if optimum else ":", label="_parabola"
    )
    if optimum:
        axes.plot(
            [vertex],
            curve([vertex]),
            linestyle="none",
            marker="*",
            markersize=9,
            markerfacecolor="none",
            markeredgecolor=GREY if colour is None else "black",
            markeredgewidth=0.8,
            zorder=4,
            label="_optimum",
        )
