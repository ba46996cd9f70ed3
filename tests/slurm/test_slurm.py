"""Sweeps on a real SLURM, with tiny real training."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Ran

PLAN = ("plan", "--model", "nano", "--flops", "3e9", "--recurrences", "1,2,4,6", "--seeds", "0,1")
RUNS = 8


def test_a_sweep_is_done_once_from_a_shell_inside_a_job(on_slurm: Callable[..., Ran], tmp_path: Path) -> None:
    planned = on_slurm("parcae-sweep", *PLAN, "--json").json["runs"]
    assert len(planned) == RUNS
    inside = {
        "SLURM_JOB_ID": "99999",
        "SLURM_NTASKS": "7",
        "SLURM_CPUS_PER_TASK": "64",
        "SBATCH_PARTITION": "no",
    }
    submitted = on_slurm("parcae-sweep", "submit", env=inside)
    assert submitted.code == 0, submitted.err
    assert f"{RUNS} of {RUNS} runs handed to SLURM" in submitted.err
    again = on_slurm("parcae-sweep", "submit")
    assert f"0 of {RUNS} runs handed to SLURM" in again.err

    waited = on_slurm("parcae-sweep", "submit", "--wait")
    assert waited.code == 0, waited.err
    status = on_slurm("parcae-sweep", "status", "--json").json
    assert status["counts"] == {"done": RUNS}
    logs = [path.read_text() for path in (tmp_path / "runs" / "slurm").glob("*_log.out")]
    assert sum("Job completed successfully" in log for log in logs) == RUNS


def test_a_cancelled_job_is_seen_as_cancelled(
    on_slurm: Callable[..., Ran], slurm: dict[str, str], tmp_path: Path
) -> None:
    (run,) = on_slurm(
        "parcae-sweep", "plan", "--model", "nano", "--flops", "1e14", "--recurrences", "1", "--json"
    ).json["runs"]
    on_slurm("parcae-sweep", "submit")
    submission = json.loads((tmp_path / "runs" / run["run_id"] / "submission.json").read_text())
    subprocess.run(["scancel", submission["job_id"]], check=True, env={"PATH": "/usr/bin", **slurm})
    waited = on_slurm("parcae-sweep", "submit", "--wait")
    assert waited.code == 1
    assert f"{run['run_id']} is cancelled" in waited.err
