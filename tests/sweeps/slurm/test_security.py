"""What SLURM executes as the user was written by the user, and by nobody else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.folders.paths import Study
from tests.conftest import Command, Ran

SHIMS = {
    "scontrol": 'echo "Slurmctld(primary) at here is UP"',
    "squeue": "true",
    "sacct": "true",
    "sbatch": 'umask > "$(dirname "$0")/umask"; echo "Submitted batch job 7"',
}


@pytest.fixture
def submitted(command: Command, tmp_path: Path) -> Path:
    """The pickle of a run that was handed to SLURM by a user whose files anybody may write."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, script in SHIMS.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_folder / name).chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    planned = command("parcae-sweep", "plan", "--model", "nano", "--flops", "1e8", "--recurrences", "1")
    assert planned.code == 0, planned.err
    before = os.umask(0)
    try:
        done = command("parcae-sweep", "submit", "--cluster", "slurm", env={"PATH": path})
    finally:
        os.umask(before)
    assert done.code == 0, done.err
    (pickle,) = Study(tmp_path / "results.duckdb").slurm.glob("*_submitted.pkl")
    return pickle


def start(pickle: Path) -> Ran:
    """As the script of the job does."""
    done = subprocess.run(
        [sys.executable, "-P", "-u", "-m", "sweeps.slurm.start", str(pickle.parent)],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            **os.environ,
            **{f"SLURM_{name}": "0" for name in ("LOCALID", "NODEID", "PROCID")},
            **{f"SLURM_{name}": "1" for name in ("NTASKS", "JOB_NUM_NODES", "CPUS_ON_NODE")},
            "SLURM_JOB_ID": "7",
            "SUBMITIT_EXECUTOR": "slurm",
        },
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_pickle_is_the_users_alone_and_what_the_job_writes_is_not(submitted: Path, tmp_path: Path) -> None:
    assert submitted.stat().st_mode & 0o777 == 0o600
    assert int((tmp_path / "bin" / "umask").read_text(), 8) == 0
    script = next(submitted.parent.glob("*_submission.sh")).read_text()
    assert f"-P -u -m sweeps.slurm.start {submitted.parent}" in script
    done = start(submitted)
    assert done.code == 0, done.err
    (result,) = Study(tmp_path / "results.duckdb").runs.glob("*/result.json")
    assert result.stat().st_mode & 0o044 == 0o044


def test_a_pickle_that_others_can_write_is_not_executed(submitted: Path, tmp_path: Path) -> None:
    submitted.chmod(0o660)
    refused = start(submitted)
    assert (refused.code, "can be written by other users; it is not executed" in refused.sentence) == (
        1,
        True,
    )
    submitted.chmod(0o600)
    if os.getuid() == 0:
        shutil.chown(submitted, 65_534)
        refused = start(submitted)
        assert (refused.code, "belongs to user 65534, not to 0" in refused.sentence) == (1, True)
    assert list(Study(tmp_path / "results.duckdb").runs.glob("*/attempts.jsonl")) == []
