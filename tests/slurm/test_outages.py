"""What around a sweep can be gone, full or shut: each costs a sentence, and no run."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from sweeps.folders.paths import RunFolder
from tests.slurm.conftest import Daemons
from tests.slurm.shell import SHORT, Shell, events, specs, until

SLURM_COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")


def test_a_controller_that_restarts_and_a_silent_accounting(shell: Shell, daemon: Daemons) -> None:
    (first,) = shell.plan(specs(SHORT, [1], [0]))
    assert shell("submit").code == 0
    until(lambda: shell.job_state(shell.job(first)) == "RUNNING")
    daemon.stop("slurmdbd")
    daemon.stop("slurmctld")
    second = shell.plan(specs(SHORT, [1], [0, 1]))[1]
    refused = shell("submit")
    assert refused.code == 1
    assert "SLURM does not answer" in refused.sentence
    forced = shell("submit", "--cluster", "slurm")
    assert forced.code == 1
    assert "SLURM does not answer" in forced.sentence
    until(first.result.exists)  # a controller is not needed to train
    assert shell.states() == ["done", "planned"]

    daemon.start("slurmctld")  # and no accounts yet
    again = shell("submit", "--wait")
    assert again.code == 0, again.err
    assert shell.states() == ["done", "done"]
    assert [len(events(run, "started")) for run in (first, second)] == [1, 1]


def test_unknown_while_slurm_is_silent_and_known_again_after(
    shell: Shell, daemon: Daemons, full: Callable[[], None]
) -> None:
    full()
    (run,) = shell.plan(specs(SHORT, [1], [0]))
    shell("submit")
    daemon.stop("slurmctld")
    shell.forget()
    told = shell.status()[run.run_id]
    assert told["state"] == "unknown"
    assert "SLURM does not answer" in told["reason"]
    assert "0 of 1" in shell("submit", "--cluster", "slurm").err
    stuck = shell("cancel")
    assert (stuck.code, "cannot be cancelled" in stuck.sentence) == (1, True)
    daemon.start("slurmctld")
    shell.forget()
    assert shell.states() == ["queued"]


def test_without_sacct_a_sweep_is_done_all_the_same(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in SLURM_COMMANDS:
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    others = [part for part in os.environ["PATH"].split(":") if not (Path(part) / "sacct").exists()]
    shell.plan(specs(SHORT, [1], [0]))
    path = ":".join([str(tmp_path / "bin"), *others])
    waited = shell("submit", "--wait", PATH=f"{path}:/nowhere")
    assert waited.code == 0, waited.err
    assert shell.states() == ["done"]


def test_a_locked_database_is_waited_for(shell: Shell) -> None:
    (run,) = shell.plan(specs(SHORT, [1], [0]))
    shell("collect")
    with duckdb.connect(str(shell.study.db)):
        submitting = shell.start("submit")
        time.sleep(3)
        assert submitting.poll() is None
    assert submitting.communicate()[1].count("handed to SLURM") == 1
    until(run.result.exists)
    assert shell.states() == ["done"]


def test_read_only_and_full_run_folders(shell: Shell) -> None:
    (run,) = shell.plan(specs(SHORT, [1], [0]))
    with mounted(shell.study.runs, "--bind", str(shell.study.runs)):
        subprocess.run(["mount", "-o", "remount,bind,ro", shell.study.runs], check=True)
        for command in (["submit"], ["retry"], ["cancel"]):
            refused = shell(*command)
            assert refused.code == 1, refused.err
            assert "Read-only file system" in refused.sentence
        assert shell.states() == ["planned"]

    manifest = shell.study.manifest("s").read_bytes()
    with mounted(shell.study.runs, "-t", "tmpfs", "-o", "size=140k", "tmpfs"):
        shell.study.sweeps.mkdir()
        shell.study.manifest("s").write_bytes(manifest)
        assert shell("submit", "--wait").code == 1
        assert shell.states() == ["failed"]
        assert "the disk is full" in shell.why(run)["reason"]
        subprocess.run(["mount", "-o", "remount,size=100m", shell.study.runs], check=True)
        assert shell("retry", "--wait").code == 0
        assert shell.states() == ["done"]
        assert partial_files(run) == []


def partial_files(run: RunFolder) -> list[Path]:
    return list(run.path.rglob("*.tmp"))


@contextmanager
def mounted(where: Path, *how: str) -> Iterator[None]:
    subprocess.run(["mount", *how, where], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)
