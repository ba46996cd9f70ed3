"""Interrupted in every way that SLURM knows, a run resumes and ends with the losses of one that was not."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from parcae.data.corpus import load_corpus
from parcae.training.run import train
from sweeps.folders.paths import RunFolder
from tests.slurm.conftest import HOME, Daemons
from tests.slurm.shell import LONG, SHORT, Shell, events, final_losses, specs, steps_logged, until

ONE_MINUTE = "time_minutes = 1\nsignal_seconds = 55\n"  # SLURM looks every 30 s who is near his limit
WAYS = ("preempted", "requeued", "timed out", "node died")


def worker(run: RunFolder) -> int:
    """The process that trains the run on this machine, which plays both nodes."""
    return events(run, "started")[-1].pid


def is_under_way(run: RunFolder) -> bool:
    return steps_logged(run) >= 5


def node_of(shell: Shell, job: str) -> str:
    return shell.slurm("squeue", "--noheader", "--format=%N", f"--jobs={job}").strip()


@pytest.mark.timeout(280)
def test_interrupted_runs_end_to_the_last_digit_as_one_that_was_not(
    cluster: dict[str, str], tmp_path: Path, daemon: Daemons
) -> None:
    (spec,) = specs(LONG, [1], [0])
    shells, runs = {}, {}
    for way in WAYS:
        folder = tmp_path / way.replace(" ", "-")
        folder.mkdir()
        shells[way] = Shell(folder, cluster)
        (runs[way],) = shells[way].plan([spec])
        (folder / "cluster.toml").write_text(ONE_MINUTE if way == "timed out" else "")
    jobs = {}

    def hand_over(way: str) -> None:
        assert shells[way]("submit").code == 0
        jobs[way] = shells[way].job(runs[way])

    # Stopped, the process spends no step until SLURM wakes it to say that its time is nearly up.
    hand_over("timed out")
    until(lambda: is_under_way(runs["timed out"]))
    os.kill(worker(runs["timed out"]), signal.SIGSTOP)

    # The other node is gone for SLURM, its process is not: whoever has the run next waits until it is.
    safe = node_of(shells["timed out"], jobs["timed out"])
    shells["timed out"].slurm("scontrol", "update", f"NodeName={safe}", "State=DRAIN", "Reason=test")
    hand_over("node died")
    until(lambda: is_under_way(runs["node died"]))
    shells["timed out"].slurm("scontrol", "update", f"NodeName={safe}", "State=RESUME")
    orphan = worker(runs["node died"])
    os.kill(orphan, signal.SIGSTOP)
    doomed = node_of(shells["node died"], jobs["node died"])
    os.kill(int((HOME / f"slurmd-{doomed}.pid").read_text()), signal.SIGKILL)

    hand_over("preempted")
    until(lambda: is_under_way(runs["preempted"]))
    shells["preempted"].slurm("scancel", "--signal=USR2", jobs["preempted"])
    until(lambda: events(runs["preempted"], "requeued"))
    assert shells["preempted"].states() in (["queued"], ["running"])

    until(lambda: "Restarts=1" in shells["node died"].slurm("scontrol", "show", "job", jobs["node died"]))
    assert shells["node died"].states() == ["running"]  # as its lock says
    hand_over("requeued")
    until(lambda: is_under_way(runs["requeued"]))
    shells["requeued"].slurm("scontrol", "requeue", jobs["requeued"])
    until(lambda: shells["node died"].job_state(jobs["node died"]) == "RUNNING")
    log = shells["node died"].study.slurm / f"{jobs['node died']}_0_log.out"
    until(lambda: log.read_text().count("Starting with JobEnvironment") == 2)  # up, and waiting for the lock
    os.kill(orphan, signal.SIGKILL)
    daemon.start(f"slurmd-{doomed}")
    until(lambda: len(events(runs["node died"], "started")) == 2)
    until(lambda: events(runs["timed out"], "requeued"))
    for way in WAYS:
        until(runs[way].result.exists)

    reference = tmp_path / "reference"
    result = train(spec.model, spec.training, load_corpus(spec.corpus), reference)
    assert result is not None
    for way in WAYS:
        assert final_losses(runs[way]) == result.losses, way
        assert len(events(runs[way], "started")) >= 2, way
        assert shells[way].states() == ["done"]
        assert steps_logged(runs[way]) == spec.training.steps


@pytest.mark.timeout(120)
def test_a_warning_that_comes_before_python_is_up_ends_no_run(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    shell = Shell(tmp_path, cluster)
    (run,) = shell.plan(specs(SHORT, [1], [0]))
    assert shell("submit").code == 0
    job = shell.job(run)
    until(lambda: shell.job_state(job) == "RUNNING")
    while not events(run, "started"):
        subprocess.run(["scancel", "--signal=USR2", job], check=False, env={**os.environ, **shell.env})
    until(run.result.exists)
    assert shell.states() == ["done"]
