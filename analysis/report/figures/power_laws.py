"""How the optimum moves with the budget: the power laws of mean recurrence and tokens."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data.axis import Axis
from analysis.fits.isoflop.result import IsoflopFit
from analysis.report.content.numbers import digits_of
from analysis.report.figures.isoflop import LABELS
from analysis.report.figures.style import (
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


def worth_drawing(fits: Mapping[str, IsoflopFit]) -> bool:
    """Whether any model has optima at two budgets or more."""
    return any(len(fit.interior) > 1 for fit in fits.values())


@in_style
def optima(fits: Mapping[str, IsoflopFit], axes: Axes | None = None, *, tokens: bool = False) -> Axes:
    """Each model's optima over its budgets with the power law through them.

    Marks are the parabolas' own vertices; whiskers the 95 % interval with the parabola's bias taken off.
    """
    axes = axes_or_new(axes)
    for index, (name, fit) in enumerate(fits.items()):
        found = [o for o in fit.interior if math.isfinite(o.tokens if tokens else o.on_axis)]
        if not found:
            continue
        style = model_style(index)
        budgets = np.array([o.flops for o in found])
        values = [o.tokens if tokens else o.on_axis for o in found]
        law = fit.gamma_tokens if tokens else fit.gamma_axis
        known = math.isfinite(law.exponent.value)
        label = f"{name}: exponent {digits_of(law.exponent.value, 2)}" if known else name
        axes.plot(
            budgets, values, linestyle="none", marker=style["marker"], color=style["color"], label=text(label)
        )
        _whiskers(axes, fit, tokens, str(style["color"]))
        if known:
            line = np.geomspace(budgets.min() / 1.3, budgets.max() * 1.3, 40)
            axes.plot(line, law(line), color=style["color"], linestyle=style["linestyle"], label="_power law")
    if not axes.has_data():
        reason(axes, "No budget has an optimum within what was sampled, so there is no power law.")
        return axes
    log_axis(axes, "budget $C$ (FLOPs)")
    kinds = {Axis.TOKENS if tokens else fit.axis for fit in fits.values()}
    axes.set_yscale("log")
    legend_above(axes)
    log_axis(axes, "best " + " or ".join(sorted(LABELS[kind] for kind in kinds)), vertical=True)
    return axes


@in_style
def power_laws(fits: Mapping[str, IsoflopFit]) -> Figure:
    """Both power laws side by side."""
    figure, (left, right) = blank((1, 1), height=2.15)
    optima(fits, left)
    optima(fits, right, tokens=True)
    for axes, which, title in ((left, "a", "how often to loop"), (right, "b", "on how many tokens")):
        if axes.axison:
            letter(axes, which, title if which == "b" or _looped(fits) else "how large a model")
    return figure


def _looped(fits: Mapping[str, IsoflopFit]) -> bool:
    return any(fit.axis is Axis.MEAN_RECURRENCE for fit in fits.values())


def _whiskers(axes: Axes, fit: IsoflopFit, tokens: bool, colour: str) -> None:
    for optimum in fit.corrected.optima if fit.corrected else ():
        value = optimum.tokens if tokens else optimum.on_axis
        if math.isfinite(value.low) and optimum.used:
            ends = [value.low, value.high]
            axes.plot([optimum.flops] * 2, ends, color=colour, linewidth=0.8, alpha=0.7, label="_interval")
