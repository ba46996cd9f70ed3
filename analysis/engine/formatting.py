"""Numbers, intervals, tables and sentences as people read them on a terminal.

Text is as wide as it comes, in a pipe or a notebook, unless `within` says how many characters there are.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import wrap
from typing import Any

from analysis.engine.intervals import Interval

LIMITS = ("", "value", "2.5 %", "97.5 %")
"""Columns of a table of parameters with their limits."""
MISSING = "–"
NARROWEST = 24
"""Characters below which nothing is fitted: a window so narrow is about to be closed."""
_GAP = "  "
_width: ContextVar[int | None] = ContextVar("width", default=None)


def number(value: float, digits: int = 4) -> str:
    """A number for people; a dash if there is none."""
    return f"{value:.{digits}g}" if math.isfinite(value) else MISSING


def spell(value: Interval, digits: int = 3) -> str:
    """0.401 (0.319 to 0.753); a dash if there is no estimate."""
    if not math.isfinite(value.value):
        return MISSING
    if not math.isfinite(value.low):
        return f"{number(value.value, digits)} (no interval)"
    return f"{number(value.value, digits)} ({number(value.low, digits)} to {number(value.high, digits)})"


def limits(value: Interval) -> tuple[str, str, str]:
    return number(value.value), number(value.low), number(value.high)


def span(low: float, high: float) -> str:
    """10 to 18, or one number if both ends are the same."""
    return number(low) if low == high or not math.isfinite(low) else f"{low:g} to {high:g}"


def over_budgets(flops: Sequence[float]) -> str:
    """4 budgets, 2e+18 to 1.6e+19 FLOPs."""
    return f"{len(flops)} budgets, {flops[0]:.3g} to {flops[-1]:.3g} FLOPs"


@contextmanager
def within(width: int | None) -> Iterator[None]:
    """Tables and sentences made inside are at most `width` characters wide; None for as wide as they come."""
    before = _width.set(width if width is None else max(width, NARROWEST))
    try:
        yield
    finally:
        _width.reset(before)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns in a fixed-width font, words left and numbers right.

    Columns that do not fit beside the others stand below them, the first one repeated.
    """
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n\n".join(
        "\n".join(_aligned(line, widths, group) for line in lines) for group in _groups(widths, _width.get())
    )


def wrapped(text: str) -> str:
    """The text with its long sentences broken between words; lines of tables are left as they are."""
    width = _width.get()
    if width is None:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        if len(line) <= width or _GAP in line.strip():
            lines.append(line)
        else:
            lines += wrap(line, width, subsequent_indent=_GAP, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _aligned(line: Sequence[str], widths: Sequence[int], group: Sequence[int]) -> str:
    cells = [line[i].ljust(widths[i]) if i == 0 else line[i].rjust(widths[i]) for i in group]
    return _GAP.join(cells).rstrip()


def _groups(widths: Sequence[int], most: int | None) -> list[list[int]]:
    """Which columns stand side by side: as many as fit, each group led by the first column."""
    groups = [[0]]
    for column in range(1, len(widths)):
        used = sum(widths[i] + len(_GAP) for i in groups[-1]) + widths[column]
        if most is not None and used > most and len(groups[-1]) > 1:
            groups.append([0])
        groups[-1].append(column)
    return groups


def brief(result: object, *names: str) -> str:
    """A one-line repr: the class, and the attributes `names` that have a value."""
    shown = [(name, _short(getattr(result, name))) for name in names]
    parts = [f"{name}={value}" for name, value in shown if value != MISSING]
    return f"{type(result).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    if isinstance(value, Interval):
        return spell(value)
    return number(value) if isinstance(value, float) else str(value)
