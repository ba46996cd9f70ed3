"""Tables on terminals of several widths: nothing is cut."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.conftest import BIN, Command

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


def on_a_terminal(folder: Path, columns: int, *arguments: str) -> list[str]:
    """The lines that `parcae-sweep` writes on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm", "NO_COLOR": "1"}
    command = subprocess.Popen(
        [BIN / "parcae-sweep", *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert command.wait(120) == 0
    return written.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()


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
