"""The whole path as a user walks it: the real commands, real training on real text, in an empty folder."""

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import BIN, Command, tree

PLAN = ("plan", "--model", "nano", "--flops", "1e9", "--flops", "2e9", "--flops", "4e9")
GRID = (*PLAN, "--recurrences", "1,2,4,6")
RUNS = 12


def submit_and_kill(folder: Path, seconds: float) -> None:
    """Submits, and after `seconds` kills everything at work in `folder`, as when a machine goes down."""
    submitting = subprocess.Popen(
        [BIN / "parcae-sweep", "submit", "--cluster", "local"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder:
                os.kill(int(process.name), signal.SIGKILL)
    submitting.wait()


def losses(command: Command) -> dict[str, float]:
    status = command("parcae-sweep", "status", "--json").json
    assert status["counts"] == {"done": RUNS}
    return {run["run_id"]: run["val_loss"] for run in status["runs"]}


def test_from_plan_to_report(command: Command, tmp_path: Path) -> None:
    planned = command("parcae-sweep", *GRID, "--json").json
    assert len(planned["runs"]) == RUNS
    assert command("parcae-sweep", *GRID, "--json").json == planned

    done = command("parcae-sweep", "submit", "--cluster", "local")
    assert (done.code, done.out) == (0, "")
    status = command("parcae-sweep", "status", "--json").json
    assert status["counts"] == {"done": RUNS}
    assert [run["run_id"] for run in status["runs"]] == [run["run_id"] for run in planned["runs"]]
    assert all(2 < run["val_loss"] < 4.5 for run in status["runs"])  # nats a byte; uniform is 5.55

    before = tree(tmp_path / "runs")
    again = command("parcae-sweep", "submit", "--cluster", "local")
    assert again.code == 0
    assert {name: text for name, text in tree(tmp_path / "runs").items() if name != "lock"} == {
        name: text for name, text in before.items() if name != "lock"
    }

    isoflop = command("parcae-fit", "isoflop", "--json").json["models"]["nano"]
    assert len(isoflop["optima"]) == 3
    law = command("parcae-fit", "training-law", "--json").json["models"]["nano"]
    assert {"E", "X", "x", "Y", "y", "huber", "status", "intervals"} <= law.keys()
    saturation = command("parcae-fit", "saturation", "--json").json
    assert len(saturation["runs"]) == RUNS
    report = command("parcae-fit", "report")
    assert report.code == 0, report.err
    (pdf,) = tmp_path.glob("*.pdf")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert str(pdf) in report.out

    exported = command("parcae-sweep", "export", "--output", "out.csv")
    assert exported.code == 0
    command("parcae-sweep", "import", "out.csv", "--sweep", "again")
    twin = command("parcae-fit", "isoflop", "--sweep", "again", "--json").json["models"]["nano"]
    assert twin["optima"] == isoflop["optima"]


@pytest.mark.parametrize("seconds", [2.5, 6.0])
def test_killed_and_submitted_again_ends_as_if_never_killed(
    command: Command, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, seconds: float
) -> None:
    command("parcae-sweep", *GRID)
    for _ in range(2):
        submit_and_kill(tmp_path, seconds)
    assert command("parcae-sweep", "submit", "--cluster", "local").code == 0
    interrupted = losses(command)

    undisturbed = tmp_path_factory.mktemp("undisturbed")
    for arguments in (GRID, ("submit", "--cluster", "local")):
        subprocess.run([BIN / "parcae-sweep", *arguments], cwd=undisturbed, check=True, capture_output=True)
    status = subprocess.run(
        [BIN / "parcae-sweep", "status", "--json"], cwd=undisturbed, check=True, capture_output=True
    )
    expected = {run["run_id"]: run["val_loss"] for run in json.loads(status.stdout)["runs"]}
    assert interrupted == expected

    for run_id in expected:  # each step once in the metrics, too
        lines = (tmp_path / "runs" / run_id / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps))
