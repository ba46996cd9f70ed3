"""A log keeps what the run has done and will not do again, and no more."""

import json
from pathlib import Path

import pytest

from parcae.training.metrics import JsonLines

LINES = [json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (2, 4, 6, 8)]


def resumed(folder: Path, content: str, steps: int) -> list[str]:
    """The steps, or the damaged lines, of a log once a run resumed at `steps` has added a line."""
    path = folder / "metrics.jsonl"
    path.write_text(content)
    log = JsonLines(path, steps)
    log.append({"step": steps + 1})
    log.sync()
    log.close()
    return [str(json.loads(line)["step"]) if "{" in line else line for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("content", "steps", "expected"),
    [
        ("".join(LINES), 0, "1"),
        ("".join(LINES), 5, "2 4 6"),
        ("".join(LINES), 8, "2 4 6 8 9"),
        ("".join(LINES[:2]), 8, "2 4 9"),  # truncated since the checkpoint
        ("".join(LINES)[:-3], 8, "2 4 6 9"),  # torn
        ("", 8, "9"),
        (LINES[0] + "damage\n" + LINES[2], 8, "2 damage 6 9"),
        (LINES[0] + "7\n" + '{"step": Infinity}\n' + LINES[2], 8, "2 7 inf 6 9"),
        (LINES[2] + LINES[3], 7, "6 8"),  # lost, begun anew, and interrupted before a checkpoint
    ],
)
def test_what_a_resumed_run_repeats_is_cut_off(
    tmp_path: Path, content: str, steps: int, expected: str
) -> None:
    assert " ".join(resumed(tmp_path, content, steps)) == expected


def test_a_log_that_is_gone_begins_anew(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "metrics.jsonl", 8)
    assert log.last_step == 0
    log.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
