"""Tables and sentences on terminals of several widths."""

import pytest

from analysis.engine.formatting import table, within, wrapped

COLUMNS = ("FLOPs", "runs", "best recurrence", "best tokens", "loss", "verdict")
ROWS = [
    ("1e+18", "6", "2.1", "2.29e+09", "3.397", "interior"),
    ("6.4e+19", "6", "11.3", "5.47e+10", "2.856", "flat"),
]


def test_as_wide_as_it_comes_without_a_terminal() -> None:
    lines = table(COLUMNS, ROWS).splitlines()
    assert lines[0] == "FLOPs    runs  best recurrence  best tokens   loss   verdict"
    assert lines[2] == "6.4e+19     6             11.3     5.47e+10  2.856      flat"
    assert wrapped("a " * 100) == "a " * 100


@pytest.mark.parametrize("width", [24, 40, 58, 80])
def test_no_cell_is_cut_and_no_line_too_long(width: int) -> None:
    with within(width):
        text = table(COLUMNS, ROWS)
    assert max(len(line) for line in text.splitlines()) <= width
    for cell in (*COLUMNS, *(cell for row in ROWS for cell in row)):
        assert cell in text
    blocks = text.split("\n\n")
    assert all(block.startswith("FLOPs") for block in blocks)
    assert (len(blocks) == 1) == (width >= 60)


def test_sentences_break_between_words() -> None:
    with within(30):
        text = wrapped("small-140m: the best mean recurrence grows as C^0.401\na  b")
    assert text == "small-140m: the best mean\n  recurrence grows as C^0.401\na  b"
    with within(3):
        assert wrapped("a window of three characters") == "a window of three\n  characters"
