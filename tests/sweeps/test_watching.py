"""What is seen of a sweep while it runs: curves by hand, and the dashboard of a real one."""

from pathlib import Path

import pytest

from sweeps.cli.watching.curves import curves
from sweeps.runs.states import State
from sweeps.store.rows import RunRow
from tests.conftest import Command
from tests.terminal import on_a_terminal

STUDY = ("--model", "nano", "--flops", "2e8,4e8", "--recurrences", "2,4,8")


def run(flops: float, depth: float, loss: float | None, model: str = "nano") -> RunRow:
    state = State.RUNNING if loss is None else State.DONE
    return RunRow(
        run_id=f"{model}{flops}{depth}",
        model=model,
        architecture="diagonal",
        state=state,
        flops=flops,
        mean_recurrence=depth,
        val_loss=loss,
    )


def test_a_letter_stands_at_its_depth_and_loss() -> None:
    runs = [run(1e9, 1, 3.0), run(1e9, 2, 2.5), run(1e9, 4, 2.0), run(2e9, 2, 2.0), run(2e9, 4, None)]
    lines = curves([*runs, run(5e9, 8, 1.0, "other")], width=33, height=8)
    assert [line.rstrip() for line in lines] == [
        " 3.0000 │ a",
        "        │",
        "        │           a",
        "        │",
        " 2.0000 │           b          a",
        "        └─1─────────2──────────4─",
        "         mean recurrence of nano,",
        "         FLOPs: a 1e+09  b 2e+09",
    ]


@pytest.mark.parametrize(("width", "height"), [(20, 10), (80, 4)])
def test_there_are_no_curves_without_room(width: int, height: int) -> None:
    assert curves([run(1e9, 1, 3.0), run(1e9, 2, 2.5)], width, height) == []


def test_one_depth_is_no_curve() -> None:
    assert curves([run(1e9, 2, 3.0), run(2e9, 2, 2.5)], 80, 12) == []


def test_a_terminal_of_80_columns_sees_speed_time_left_and_curves(command: Command, tmp_path: Path) -> None:
    command("parcae-sweep", "plan", *STUDY)
    lines = on_a_terminal(tmp_path, 80, "submit", "--cluster", "local", progress=True)
    text = "\n".join(lines)
    assert "tokens/s" in text
    assert " left" in text
    assert "mean recurrence of nano, loss in nats" in text
    assert "FLOPs: a 2e+08  b 4e+08" in text
    assert "6 done" in lines[-1] or "6 done" in lines[-2]
    assert max(map(len, lines)) <= 80
