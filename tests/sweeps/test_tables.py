"""Tables on terminals of several widths: nothing is cut."""

from pathlib import Path

import pytest

from tests.conftest import Command
from tests.terminal import on_a_terminal

PLAN = (
    "plan",
    "--model",
    "nano",
    "--flops",
    "2e8,4e8",
    "--recurrences",
    "1,2",
    "--learning-rate",
    "1e-2,2e-2",
)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_plan_on_a_terminal(columns: int, command: Command, tmp_path: Path) -> None:
    runs = command("parcae-sweep", *PLAN, "--json").json["runs"]
    lines = on_a_terminal(tmp_path, columns, *PLAN)
    assert max(map(len, lines)) <= columns
    assert "…" not in "".join(lines)
    text = "\n".join(lines)
    for run in runs:
        (line,) = (line for line in lines if run["run_id"] in line)
        assert f"{run['flops']:.3g}" in line
        if columns >= 80:
            assert f"{run['steps']:,}" in line
            assert f" {run['learning_rate']}" in line
    assert ("also shows" in text) == (columns < 80)
    assert columns < 80 or "model nano" in text


def test_status_on_a_terminal_of_80_columns(command: Command, tmp_path: Path) -> None:
    command("parcae-sweep", *PLAN)
    lines = on_a_terminal(tmp_path, 80, "status")
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert sum("2e+08" in line for line in lines) == 4
