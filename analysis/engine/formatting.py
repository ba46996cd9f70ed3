"""Numbers, intervals and tables as people read them, on a terminal and in the PDF."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from analysis.engine.intervals import Interval

LIMITS = ("", "value", "2.5 %", "97.5 %")
"""Columns of a table of parameters with their limits."""
MISSING = "–"


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


def span(ends: tuple[float, float]) -> str:
    """10 to 18, or one number if both ends are the same."""
    low, high = ends
    return number(low) if low == high or not math.isfinite(low) else f"{low:g} to {high:g}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns in a fixed-width font."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def brief(result: object, *names: str) -> str:
    """A one-line repr: the class, and the attributes `names` that have a value."""
    shown = [(name, _short(getattr(result, name))) for name in names]
    parts = [f"{name}={value}" for name, value in shown if value != MISSING]
    return f"{type(result).__name__}({', '.join(parts)})"


def _short(value: Any) -> str:
    if isinstance(value, Interval):
        return spell(value)
    return number(value) if isinstance(value, float) else str(value)
