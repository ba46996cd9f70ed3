"""Every path of a study, spelled in one place.

results.duckdb            the cache of everything below
runs/<run_id>/            one run: the truth
    spec.json             what it trains
    submission.json       the last submission to SLURM: the array and the task in it
    cancelled.json        present while the run is cancelled
    lock                  locked, and holding a process id, while a worker on this machine trains the run
    attempts.jsonl        one line whenever a worker starts or leaves the run
    log.txt               output of the workers on this machine
    failure.json          how the last attempt failed
    metrics.jsonl checkpoint/ result.json      written by training
    scores.json           what its model reached on tasks, and scores.lock, held while they are added to
runs/sweeps/<name>.json   a planned sweep: the specification of every run
runs/sweeps/<name>.csv    an imported study, as it was understood
runs/texts/<hash>/        a text that runs read: its place, its pinned content and its tokenizer
runs/queue/<run_id>       a run that this machine is to train and that has not ended
runs/supervisor.json      how the supervisor of the queue failed, until one starts
runs/lock                 locked while a sweep is planned or submitted
runs/slurm/<array>.json   a job array: its runs and its job id; written before sbatch is called
runs/slurm/answer.json    SLURM's last answer
runs/slurm/               also submitit's scripts, pickles and logs
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from parcae.errors import InputError
from parcae.training.folder import METRICS, RESULT, SPEC
from sweeps.folders.locks import held

PUBLISHED = "published"
"""The name of the built-in sweep that holds the paper's own points."""

_RUN_ID = re.compile(r"[0-9a-f]{16}")
_SWEEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def spec(self) -> Path:
        return self.path / SPEC

    @property
    def submission(self) -> Path:
        return self.path / "submission.json"

    @property
    def cancelled(self) -> Path:
        return self.path / "cancelled.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def attempts(self) -> Path:
        return self.path / "attempts.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def failure(self) -> Path:
        return self.path / "failure.json"

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def result(self) -> Path:
        return self.path / RESULT

    @property
    def scores(self) -> Path:
        return self.path / "scores.json"

    @property
    def scores_lock(self) -> Path:
        return self.path / "scores.lock"


@dataclass(frozen=True)
class Study:
    """The paths of a study: its database, and `runs/` beside it."""

    db: Path

    @cached_property
    def runs(self) -> Path:
        return self.db.absolute().parent / "runs"

    @property
    def data(self) -> Path:
        """Where prepared texts are looked for."""
        return self.db.parent / "data"

    @property
    def sweeps(self) -> Path:
        return self.runs / "sweeps"

    @property
    def queue(self) -> Path:
        return self.runs / "queue"

    @property
    def slurm(self) -> Path:
        return self.runs / "slurm"

    @property
    def identity(self) -> str:
        """Of this study on this disk: a copy has another one. A folder that is moved keeps its inode."""
        inodes = "-".join(str(folder.stat().st_ino) for folder in (self.runs, self.slurm))
        return f"{inodes} {self.runs.resolve()}"

    def is_own(self, identity: str) -> bool:
        """Whether `identity` is this study's: one of its parts may have changed, as when the disk is mounted
        elsewhere or the folder is moved."""
        return any(mine == other for mine, other in zip(*map(_parts, (self.identity, identity)), strict=True))

    def array(self, name: str) -> Path:
        return self.slurm / f"{name}.json"

    @property
    def answer(self) -> Path:
        return self.slurm / "answer.json"

    @property
    def profile(self) -> Path:
        return self.db.absolute().parent / "cluster.toml"

    @property
    def supervisor_lock(self) -> Path:
        return self.runs / "supervisor.lock"

    @property
    def supervisor_failure(self) -> Path:
        return self.runs / "supervisor.json"

    @property
    def supervisor_log(self) -> Path:
        return self.runs / "supervisor.log"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Waits for the lock without which nothing is planned or submitted, and holds it.

        Yields the lock's file descriptor: a child that inherits it holds the lock for as long as it lives.
        """
        self.runs.mkdir(parents=True, exist_ok=True)
        with held(self.runs / "lock", "another plan, submit or cancel") as descriptor:
            yield descriptor

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.runs / run_id)

    def manifest(self, sweep: str) -> Path:
        return self.sweeps / f"{sweep}.json"

    def imported(self, sweep: str) -> Path:
        return self.sweeps / f"{sweep}.csv"

    def run_ids(self) -> Iterator[str]:
        """The ids of all run folders, in no order."""
        if self.runs.is_dir():
            with os.scandir(self.runs) as entries:
                yield from (entry.name for entry in entries if is_run_id(entry.name))


def _parts(identity: str) -> tuple[str, str]:
    """The inodes and the place of a study."""
    inodes, _, place = identity.partition(" ")
    return inodes, place


def is_run_id(name: str) -> bool:
    return _RUN_ID.fullmatch(name) is not None


def is_sweep_name(name: str) -> bool:
    return _SWEEP_NAME.fullmatch(name) is not None


def check_sweep_name(name: str) -> None:
    """``InputError`` if no new sweep can have this name."""
    if name == PUBLISHED:
        raise InputError("the sweep 'published' is built in and cannot be changed; choose another name")
    if not is_sweep_name(name):
        raise InputError(f"{name!r} cannot name a sweep; use letters, digits and . _ + -, at most 100")
