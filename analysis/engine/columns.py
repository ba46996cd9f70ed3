"""Tables and sentences that fit the terminal they are printed on.

Text is as wide as it comes, in a pipe or a notebook, unless `within` says how many characters there are.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import wrap

NARROWEST = 24
"""Characters below which nothing is fitted: a window so narrow is about to be closed."""
_GAP = "  "
_width: ContextVar[int | None] = ContextVar("width", default=None)


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
