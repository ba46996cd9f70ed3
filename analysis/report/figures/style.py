"""One style for all figures: paper sizes, embedded fonts, colours and marks that survive print in grey."""

import math
import re
from collections.abc import Callable, Sequence
from functools import wraps
from textwrap import fill
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from analysis.report.content.numbers import flops
from analysis.report.mathematics import LATEX, bare, prose, typeset

Given = ParamSpec("Given")
Drawn = TypeVar("Drawn")

SINGLE, DOUBLE = 3.3, 6.7
"""Widths in inches: one column of a two-column paper, and the whole width of a page."""
HEIGHT = 2.35
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.06,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "parcae",
}
"""Text in a PDF stays text; no number hides behind an offset above the axis."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
LINES = ("-", "--", "-.", ":", (0, (6, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
MODEL_COLOURS = ("#0b5394", "#c44e00", "#00755e", "#8f2a83", "#7a5c00", "#3a3a3a")
"""Dark enough for white paper; told apart by marker and line too."""
GREY = "#6b6b6b"
MOST_SHOWN = 8
"""Curves in one panel; of more, so many are drawn at even distances."""

_SUBS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9))
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CLOSEST = 0.115
"""Two labels on an axis of whole numbers are at least this far apart, as a fraction of the axis."""
LEGEND_ROW = 0.085
"""Height of a legend's row, as a fraction of a panel."""
MARGIN, LABEL = 0.7, 0.45
"""Inches: beside a panel, and for one label of a budget."""

Colour = tuple[float, float, float, float] | str


def in_style(draw: Callable[Given, Drawn]) -> Callable[Given, Drawn]:
    """The function, drawing in this style whatever the settings around it."""

    @wraps(draw)
    def styled(*args: Given.args, **kwargs: Given.kwargs) -> Drawn:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


@in_style
def blank(
    panels: Sequence[float] = (1.0,), *, width: float = DOUBLE, height: float = HEIGHT
) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side, of these relative widths."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, len(panels), width_ratios=list(panels), squeeze=False)[0]
    return figure, list(axes)


def axes_or_new(axes: Axes | None, *, width: float = SINGLE, height: float = HEIGHT) -> Axes:
    """The axes given, or those of a new figure of one panel."""
    return blank(width=width, height=height)[1][0] if axes is None else axes


def budget_colour(position: int, count: int) -> Colour:
    """Light to dark is small to large, and nowhere so light that it fades on paper."""
    return matplotlib.colormaps["viridis_r"](0.36 + 0.64 * position / max(count - 1, 1))


def model_style(index: int) -> dict[str, Any]:
    """Colour, marker and line of one model, no two alike among six."""
    return {
        "color": MODEL_COLOURS[index % len(MODEL_COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[index % len(LINES)],
    }


def text(words: str) -> str:
    """Prose with formulas, as matplotlib sets it; numbers alone need no mathematics, which is slow."""
    return prose(words, lambda part: part.replace("$", "\\$"), _formula, str)


def _formula(formula: str) -> str:
    if re.fullmatch(r"\d[\d.]*(e-?\d+)?", formula) is None:
        return f"${typeset(formula, LATEX)}$"
    mantissa, _, exponent = formula.partition("e")
    if not exponent:
        return mantissa
    return f"{'' if mantissa == '1' else f'{mantissa}×'}10{exponent.translate(_RAISED)}"


def letter(axes: Axes, which: str, title: str) -> None:
    """A panel's letter and what it shows, above it."""
    axes.set_title(f"({which}) {text(title)}" if which else text(title), loc="left")


def legend_above(axes: Axes) -> None:
    """A legend at the upper left, in room made for it above what is drawn."""
    rows = len(axes.get_legend_handles_labels()[0])
    if not rows:
        return
    share = rows * LEGEND_ROW / (1 - rows * LEGEND_ROW)
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, high * (high / low) ** share)
    else:
        axes.set_ylim(low, high + (high - low) * share)
    axes.legend(loc="upper left", borderaxespad=0.1)


def reason(axes: Axes, why: str) -> None:
    """Instead of an empty panel: a sentence that says why nothing is in it."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, fill(bare(why), 34), ha="center", va="center", color=GREY, transform=axes.transAxes)


def log_axis(axes: Axes, label: str, *, vertical: bool = False) -> None:
    """A logarithmic axis whose ticks can be read even where it spans less than a decade."""
    axis = axes.yaxis if vertical else axes.xaxis
    (axes.set_yscale if vertical else axes.set_xscale)("log")
    axis.set_label_text(text(label))
    axis.set_major_locator(FixedLocator(_ticks(*axis.get_view_interval(), 6 if vertical else _room(axes))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_locator(NullLocator())  # a third of the time that a figure takes


def _room(axes: Axes) -> int:
    """How many labels such as 2×10¹⁸ a panel is wide enough for."""
    figure = axes.get_figure(root=True)
    place = axes.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    width = figure.get_figwidth() / columns if figure else SINGLE
    return max(2, int((width - MARGIN) / LABEL))


def _ticks(low: float, high: float, most: int) -> list[float]:
    """As many round numbers between two limits as there is room for, evenly spread."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for subs in _SUBS:
        found = [
            sub * 10.0**decade for decade in decades for sub in subs if low <= sub * 10.0**decade <= high
        ]
        if len(found) <= most:
            best = found if len(found) >= len(best) else best
    if len(best) < 2:
        every = [10.0**decade for decade in decades if low <= 10.0**decade <= high]
        best = every[:: math.ceil(len(every) / most)] if len(every) > 1 else [low, high]
    return best


def whole_axis(axes: Axes, values: Sequence[float], label: str) -> None:
    """A logarithmic axis over whole numbers, such as mean recurrences, with a tick at each of `values`."""
    axes.set_xscale("log")
    axes.set_xlabel(text(label))
    every = sorted({float(value) for value in values})
    apart = CLOSEST * math.log(every[-1] / every[0]) if len(every) > 1 else 0.0
    shown = every[:1]
    for value in every[1:]:
        if math.log(value / shown[-1]) >= apart and (
            value == every[-1] or math.log(every[-1] / value) >= apart
        ):
            shown.append(value)
    axes.set_xticks(shown, [f"{value:g}" for value in shown])
    axes.xaxis.set_minor_locator(NullLocator())


def tick(value: float) -> str:
    """8, 0.5, or a power of ten, typeset."""
    return f"{value:g}" if 1e-3 <= abs(value) < 1e4 else text(flops(value))
