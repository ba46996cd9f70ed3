"""The paper's numbers beside ours, as `parcae-fit published` gives them."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis.checks.paper import beside_the_paper, comparisons_text
from analysis.data.study import load_study
from tests.conftest import Command

TABLES = Path(__file__).parents[3] / "analysis" / "published"
SETTINGS = (
    *("model", "scale", "architecture", "sampling", "split", "occluded"),
    *("flops", "mean_recurrence", "training_tokens", "test_recurrence"),
)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    return [row.to_dict() for row in beside_the_paper(load_study(sweep="published"))]


def of(rows: Rows, table: str, quantity: str = "") -> Rows:
    return [row for row in rows if row["table"].startswith(table) and quantity in row["quantity"]]


def test_every_number_of_the_tables_is_shown(rows: Rows) -> None:
    published: Counter[float] = Counter()
    for path in TABLES.glob("*.csv"):
        with path.open() as file:
            for row in csv.DictReader(file):
                for column, cell in row.items():
                    if column not in SETTINGS:  # D* is compared by two conventions
                        published[float(cell)] += 2 if column == "optimal_tokens" else 1
    shown = Counter(row["paper"] for row in rows if "gamma_" not in row["quantity"])
    assert shown == published
    assert len(of(rows, "Figure 5", "gamma_")) == 6


def test_each_number_has_ours_or_the_reason_why_not(rows: Rows) -> None:
    for row in rows:
        assert (row["ours"] is None) == row["note"].startswith("no ours: "), row
        assert row["note"]
        if row["ours"] is not None:
            assert row["difference_percent"] == pytest.approx(
                100 * (row["ours"] - row["paper"]) / row["paper"]
            )


@pytest.mark.parametrize(
    ("table", "quantity", "percent"),
    [
        ("Table 5", "parameters", 0),
        ("Table 5", "val perplexity", 2.5),
        ("Table 6", "optimal mean recurrence", 0),
        ("Table 8", "perplexity", 1.2),
        ("Table 11", "E", 1.6),
        ("Figure 4", "loss", 0.25),
        ("Figure 5", "mean recurrence", 3.5),
        ("Figure 5", "tokens, unrolled", 8),
    ],
)
def test_ours_are_near_the_papers(rows: Rows, table: str, quantity: str, percent: float) -> None:
    differences = [r["difference_percent"] for r in of(rows, table, quantity) if r["ours"] is not None]
    assert differences
    assert max(map(abs, differences)) <= percent


def test_tokens_by_the_convention_of_the_exponents_are_two_to_three_times_the_papers(rows: Rows) -> None:
    for row in of(rows, "Figure 5", "tokens, paper"):
        if "gamma_" not in row["quantity"]:
            assert 2.2 < row["ours"] / row["paper"] < 3.2
    ours = [row["ours"] for row in of(rows, "Figure 5", "gamma_D, paper")]
    assert ours == pytest.approx([0.777, 0.767], abs=0.001)


def test_the_command_prints_them_for_a_terminal_and_for_scripts(rows: Rows, command: Command) -> None:
    printed = command("parcae-fit", "published")
    assert printed.code == 0, printed.err
    assert printed.out.strip() == comparisons_text(beside_the_paper(load_study(sweep="published")))
    assert command("parcae-fit", "published", "--json").json["comparisons"] == rows
