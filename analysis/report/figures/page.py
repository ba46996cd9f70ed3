"""A page (A4, portrait): its title, blocks of text, axes and colours, which all figures share."""

from collections.abc import Sequence
from textwrap import wrap

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

PAGE_INCHES = (8.27, 11.69)
BOTTOM = 0.04
MODEL_COLOURS = ("#1f4e8c", "#c8641e", "#2f7d4f", "#8b3a8f", "#7a6a1f", "#4a4a4a")
BUDGET_COLOURS = colormaps["viridis"]
Colour = tuple[float, float, float, float]
RED = "#d62728"
LEFT, WIDTH = 0.10, 0.82
SPACING = 1.3
PANELS = ((0.10, 0.49, 0.38, 0.40), (0.57, 0.49, 0.38, 0.40))
"""Two panels side by side, and where the text below them starts."""
BELOW = 0.43


def page(title: str, subtitle: str = "") -> Figure:
    """An empty page with its title."""
    figure = Figure(figsize=PAGE_INCHES)
    figure.text(LEFT, 0.95, title, fontsize=16, weight="bold", va="bottom")
    if subtitle:
        figure.text(LEFT, 0.943, subtitle, fontsize=9, color="#555555", va="top")
    return figure


def write(figure: Figure, top: float, text: str) -> float:
    """A block of fixed-width text from `top` (fraction of the page) down, shrunk to the page's width.

    What the page has no room for is cut off and counted. Returns where the next block can start.
    """
    lines = text.split("\n")
    longest = max(len(line) for line in lines)
    fits = WIDTH * PAGE_INCHES[0] * 72 / (0.602 * max(longest, 1))  # 0.602: DejaVu Sans Mono's advance
    size = min(8.5, fits)
    room = max(int((top - BOTTOM) / line_height(size)), 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"… {len(lines) - room + 1} lines more: `parcae-fit` prints them all"]
    text = "\n".join(lines)
    figure.text(LEFT, top, text, fontsize=size, family="DejaVu Sans Mono", va="top", linespacing=SPACING)
    return top - (len(lines) + 1.0) * line_height(size)


def line_height(size: float) -> float:
    """Height of a line of text of `size` points, as a fraction of the page (DejaVu: 1.164 em)."""
    return 1.164 * SPACING * size / (72 * PAGE_INCHES[1])


def sentences_below(figure: Figure, top: float, sentences: Sequence[str]) -> None:
    lines = [line for sentence in sentences for line in wrap(f"- {sentence}", 92, subsequent_indent="  ")]
    if lines and top - BOTTOM > 3 * line_height(8.5):
        write(figure, top, "\n".join(["Warnings", *lines]))


def text_page(title: str, text: str, subtitle: str = "") -> Figure:
    figure = page(title, subtitle)
    write(figure, 0.90, text)
    return figure


def budget_colour(position: int, count: int) -> Colour:
    return BUDGET_COLOURS(0.9 * position / max(count - 1, 1))


def nothing(axes: Axes, why: str) -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, why, ha="center", color="#555555", transform=axes.transAxes)


def log_axis(axes: Axes, label: str, *, vertical: bool = False) -> None:
    """A logarithmic axis whose ticks can be read even when it spans less than a decade."""
    axis = axes.yaxis if vertical else axes.xaxis
    if vertical:
        axes.set_yscale("log")
    else:
        axes.set_xscale("log")
    axis.set_label_text(label)
    axes.tick_params(labelsize=7)
    low, high = axes.get_ylim() if vertical else axes.get_xlim()
    if high / low < 100:
        subs = (1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 6, 8)
        axis.set_major_locator(LogLocator(base=10, subs=subs))
        axis.set_major_formatter(FuncFormatter(_tick))
    axis.set_minor_formatter(NullFormatter())


def _tick(value: float, _position: int) -> str:
    """8, 150, 2.5e9: as the tables write numbers, without an exponent's sign and zeros."""
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
