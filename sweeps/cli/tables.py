"""Tables for people on a terminal, and tab-separated lines in a pipe."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

_GAP = 2


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; the first columns are those that matter most.

    On a terminal a value that all rows share is printed once, above the table. If the terminal is too narrow
    the last columns are left out, which a line below the table says; no cell is cut.
    """
    rows, console = [list(row) for row in rows], Console(highlight=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            print("\t".join(row))
        return
    cells = [[row[i] for row in rows] for i in range(len(columns))]
    shared = {i for i in range(1, len(columns)) if len(rows) > 1 and len(set(cells[i])) == 1}
    if said := [f"{columns[i]} {rows[0][i]}" for i in sorted(shared) if rows[0][i] not in ("", "-")]:
        console.print(f"All: {', '.join(said)}.", soft_wrap=False, markup=False)
    shown = [i for i in range(len(columns)) if i not in shared]
    left_out: list[str] = []
    while len(shown) > 1 and sum(_least_width(columns[i], cells[i]) + _GAP for i in shown) > console.width:
        left_out.insert(0, columns[shown.pop()])
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i in shown:
        table.add_column(columns[i], justify="right", min_width=_least_width(columns[i], cells[i]))
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    console.print(table, markup=False)
    if left_out:
        console.print(f"A wider terminal, or --json, also shows {', '.join(left_out)}.", markup=False)


def _least_width(column: str, cells: Sequence[str]) -> int:
    """Characters of a column whose texts are wrapped between words."""
    return max((len(word) for text in (column, *cells) for word in text.split()), default=1)
