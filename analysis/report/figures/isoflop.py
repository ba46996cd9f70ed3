"""IsoFLOP curves, and the power laws through their vertices."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.data.axis import Axis
from analysis.data.points import spaced
from analysis.engine.formatting import spell
from analysis.fits.isoflop.parabola import Parabola
from analysis.fits.isoflop.power_law import PowerLaw
from analysis.laws import Array
from analysis.report.figures.page import (
    BELOW,
    MODEL_COLOURS,
    PANELS,
    RED,
    Colour,
    budget_colour,
    log_axis,
    nothing,
    page,
    sentences_below,
    write,
)
from analysis.report.fitted_study import FittedModel, FittedStudy
from analysis.report.study_text import PUBLISHED_GAMMAS

LEGEND_ENTRIES = 8


def isoflop_figure(name: str, findings: FittedModel) -> Figure:
    """Loss along the axis and against tokens, a parabola for each budget, vertices starred."""
    passed_over, isoflop = findings.points.passed_over, findings.isoflop
    best = f"; the best run of each cell; {passed_over} others not used" if passed_over else ""
    figure = page(
        f"IsoFLOP curves, {name}", f"A parabola in the logarithm per budget; stars are interior optima{best}"
    )
    if not isoflop.optima:
        write(
            figure,
            0.88,
            "No run has both a FLOP budget and a place on an axis, so there is no curve to draw.",
        )
        return figure
    panels = [figure.add_axes(place) for place in PANELS]
    named = spaced(isoflop.optima, LEGEND_ENTRIES)
    tokens_known = any(optimum.curve.log_d is not None for optimum in isoflop.optima)
    for position, optimum in enumerate(isoflop.optima):
        colour, curve = budget_colour(position, len(isoflop.optima)), optimum.curve
        label = f"{optimum.flops:.3g}" if optimum in named else None
        for axes, logs, fitted, vertex in (
            (panels[0], curve.log_v, optimum.along_axis, optimum.on_axis),
            (panels[1], curve.log_d, optimum.in_tokens, optimum.tokens),
        ):
            if logs is None:
                continue
            axes.scatter(np.exp(logs), curve.losses, color=colour, s=16, zorder=3, label=label)
            if fitted is not None:
                _draw_parabola(axes, fitted, np.exp(logs), vertex, colour)
    log_axis(panels[0], isoflop.axis.words)
    panels[0].set_ylabel("validation loss (nats)")
    panels[0].legend(title="FLOPs", fontsize=7, title_fontsize=7, frameon=False)
    if tokens_known:
        log_axis(panels[1], "tokens D")
    else:
        nothing(
            panels[1],
            "tokens are the axis" if isoflop.axis is Axis.TOKENS else "the runs' tokens are unknown",
        )
    sentences_below(figure, write(figure, BELOW, isoflop.summary()), findings.routes.warnings)
    return figure


def power_law_figure(findings: FittedStudy) -> Figure:
    """Optimal mean recurrence and tokens against FLOPs, with intervals, beside the paper's exponents."""
    figure = page("Power laws of the optimum", "Stars: isoFLOP vertices; band: 95 % interval of the exponent")
    panels = [figure.add_axes(place) for place in PANELS]
    lines = []
    for index, (name, found) in enumerate(findings.models.items()):
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        paper = PUBLISHED_GAMMAS.get(name, (math.nan, math.nan))
        symbol_v = "gamma_N" if found.isoflop.axis is Axis.PARAMETERS else "gamma_mu"
        for axes, law, quantity, published, symbol in (
            (panels[0], found.isoflop.gamma_axis, "on_axis", paper[0], symbol_v),
            (panels[1], found.isoflop.gamma_tokens, "tokens", paper[1], "gamma_D"),
        ):
            optima = [o for o in found.isoflop.interior if math.isfinite(getattr(o, quantity))]
            if optima:
                flops = np.array([o.flops for o in optima])
                values = [getattr(o, quantity) for o in optima]
                axes.scatter(flops, values, color=colour, marker="*", s=60, zorder=4, label=name)
            if optima and math.isfinite(law.exponent.value):
                _draw_power_law(axes, law, flops, colour)
                beside = f"; paper {published:.2f}" if math.isfinite(published) else ""
                lines.append(f"{name}: {symbol} = {spell(law.exponent)}{beside}; {law.message}")
            else:
                lines.append(f"{name}: no {symbol}: {law.message}")
    for axes, label in zip(panels, (_optimal(findings), "optimal tokens D"), strict=True):
        if not axes.has_data():
            nothing(axes, "no interior optimum")
            continue
        log_axis(axes, "FLOPs")
        log_axis(axes, label, vertical=True)
        axes.legend(fontsize=7, frameon=False)
    write(figure, BELOW, "\n".join(lines) or "No model has runs.")
    return figure


def _optimal(findings: FittedStudy) -> str:
    """What the models' curves run along, for a label."""
    axes = {found.isoflop.axis.words for found in findings.models.values()}
    return f"optimal {' or '.join(sorted(axes)) or 'mean recurrence'}"


def _draw_parabola(axes: Axes, curve: Parabola, values: Array, vertex: float, colour: Colour) -> None:
    """The curve over its runs, solid with a star when its `vertex` is an optimum, dotted when NaN."""
    low, high = float(values.min()), float(values.max())
    if math.isfinite(vertex):
        low, high = min(low, vertex), max(high, vertex)
        on_top = axes.scatter([vertex], curve([vertex]), marker="*", s=120, color=RED, zorder=5)
        on_top.set_edgecolor("white")
    line = np.geomspace(low, high, 100)
    axes.plot(line, curve(line), color=colour, lw=1, ls="-" if math.isfinite(vertex) else ":")


def _draw_power_law(axes: Axes, law: PowerLaw, flops: Array, colour: str) -> None:
    line = np.geomspace(flops.min() / 2, flops.max() * 2, 50)
    middle = np.exp(np.log(flops).mean())
    axes.plot(line, law(line), color=colour, lw=1.3)
    gamma = law.exponent
    if math.isfinite(gamma.low):
        low, high = (law(middle) * (line / middle) ** exponent for exponent in (gamma.low, gamma.high))
        axes.fill_between(line, np.minimum(low, high), np.maximum(low, high), color=colour, alpha=0.15)
