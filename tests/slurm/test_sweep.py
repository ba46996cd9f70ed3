"""A whole sweep through a real SLURM: submitted from inside a job, by a process that is killed again and
again, and looked at all the while."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.folders.paths import RunFolder
from sweeps.store.collect import rebuild
from tests.slurm.shell import SHORT, Shell, events, specs, until
from tests.sweeps.store.test_collect import content

RUNS, KILLS = 24, 20
SUBMIT_SECONDS = 2.5
IN_A_JOB = {
    "SLURM_JOB_ID": "99999",
    "SLURM_ARRAY_JOB_ID": "99990",
    "SLURM_ARRAY_TASK_ID": "9",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "7",
    "SLURM_CPUS_PER_TASK": "64",
    "SLURM_JOB_NODELIST": "elsewhere",
    "SBATCH_PARTITION": "nowhere",
    "RANK": "3",
    "WORLD_SIZE": "7",
}


def test_submit_killed_at_20_moments_then_24_runs_done_each_once(shell: Shell) -> None:
    grid = specs(SHORT, [1, 2], list(range(RUNS // 2)))
    moments = random.Random(5)
    runs: list[RunFolder] = []
    for _ in range(KILLS):  # each submission has a run of its own to hand over
        runs += shell.plan(grid[len(runs) : len(runs) + 1])
        submitting = shell.start("submit", **IN_A_JOB)
        time.sleep(moments.uniform(0, SUBMIT_SECONDS))
        submitting.send_signal(signal.SIGKILL)
        submitting.communicate()
    runs += shell.plan(grid[len(runs) :])
    submitted = shell("submit", **IN_A_JOB)
    assert submitted.code == 0, submitted.err
    again = shell("submit", **IN_A_JOB)
    assert f"0 of {RUNS} runs handed to SLURM" in again.err

    looks, seen = 0, {}
    while looks == 0 or set(seen.values()) != {"done"}:
        before = {run.run_id: phase(run) for run in runs}
        seen = {run_id: run["state"] for run_id, run in shell.status().items()}
        after = {run.run_id: phase(run) for run in runs}
        for run_id, state in seen.items():
            assert before[run_id] <= PHASES.index(state) <= after[run_id], (run_id, state)
        looks += 1
        time.sleep(1)

    assert looks > 3
    for run in runs:
        assert len(events(run, "started")) == len(events(run, "ended")) == 1
    before_rebuild = content(shell.study)
    assert rebuild(shell.study.db) is None
    assert content(shell.study) == before_rebuild
    assert accounted(shell, runs) == {"COMPLETED": RUNS}


PHASES = ["planned", "queued", "running", "done"]


def phase(run: RunFolder) -> int:
    """How far a run has come, from the files that its worker leaves."""
    if run.result.exists():
        return 3
    return 2 if events(run, "started") else 1


def accounted(shell: Shell, runs: list[RunFolder]) -> dict[str, int]:
    """How the jobs that ever touched these runs ended, from SLURM's accounts."""
    jobs = [attempt.job for run in runs for attempt in events(run, "started")]
    ended: dict[str, int] = {}
    for job in jobs:
        state = until(lambda job=job: finished(shell, job))
        ended[state] = ended.get(state, 0) + 1
    return ended


def finished(shell: Shell, job: str) -> str:
    said = shell.slurm(
        "sacct", "--noheader", "--allocations", "--parsable2", "--format=State", f"--jobs={job}"
    )
    return "" if said.strip() in ("RUNNING", "PENDING", "COMPLETING") else said.strip()


def test_a_dry_run_prints_arrays_of_the_clusters_size_and_shape_and_sends_nothing(shell: Shell) -> None:
    runs = shell.plan(specs(SHORT, [1, 2], list(range(12))))
    (shell.folder / "cluster.toml").write_text(
        'partition = "main"\ntime_minutes = 30\nconcurrent = 6\nsetup = ["module load cuda"]\n'
        "memory_gb_per_node = 1.5\ngpu_hours_cap = 12\n[model.nano]\ncpus_per_task = 2\n"
    )
    dry = shell("submit", "--dry-run")
    assert dry.code == 0, dry.err
    for expected in (
        *("--array=0-16%6", "--array=0-6%6"),  # MaxArraySize of this cluster is 17
        *("--partition=main", "--time=30", "--cpus-per-task=2", "--mem=1536M", "module load cuda"),
    ):
        assert expected in dry.out
    assert shell.states() == ["planned"] * len(runs)
    assert not any(run.path.exists() for run in runs)
    assert shell.slurm("squeue", "--noheader") == ""

    (shell.folder / "dear.toml").write_text("time_minutes = 30\ngpu_hours_cap = 11.9\n")
    dear = shell("submit", "--profile", "dear.toml")
    assert dear.code == 2
    assert "12 task-hours are more than gpu_hours_cap = 11.9" in dear.sentence
    assert shell.states() == ["planned"] * len(runs)


def test_a_ceiling_holds_over_several_arrays(shell: Shell) -> None:
    (shell.folder / "cluster.toml").write_text("concurrent = 1\n")
    first = shell.plan(specs(SHORT, [1], [0, 1]))
    shell("submit")
    second = shell.plan(specs(SHORT, [1], [2]))
    shell("submit")
    most = 0
    while "done" not in shell.status()[second[0].run_id]["state"]:
        running = shell.slurm("squeue", "--noheader", "--array", "--states=R", "--format=%i").split()
        most = max(most, len(running))
        time.sleep(0.3)
    assert most == 1
    assert shell.states() == ["done"] * 3
    assert events(second[0], "started")[0].at > max(events(run, "ended")[0].at for run in first)


def test_slurm_is_asked_at_most_once_a_minute_by_all_shells(
    shell: Shell, tmp_path: Path, full: Callable[[], None]
) -> None:
    full()
    shell.plan(specs(SHORT, [1], [0]))
    shell("submit")
    counted = tmp_path / "bin"
    counted.mkdir()
    for name in ("squeue", "sacct"):
        real = subprocess.run(["which", name], check=True, capture_output=True, text=True).stdout.strip()
        (counted / name).write_text(f'#!/bin/sh\necho {name} >>{counted}/asked\nexec {real} "$@"\n')
        (counted / name).chmod(0o755)
    path = {"PATH": f"{counted}:{os.environ['PATH']}"}
    several = [shell.start("status", "--json", **path) for _ in range(3)]
    several += [shell.start("collect", **path), shell.start("submit", **path)]
    for process in several:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        if out:
            assert json.loads(out)["counts"] == {"queued": 1}
    assert (counted / "asked").read_text().split() == ["squeue"]
    cancelled: Any = shell("cancel", **path)
    assert cancelled.code == 0
    assert shell.states() == ["cancelled"]
