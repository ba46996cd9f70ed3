"""Every path of a study, spelled in one place.

results.duckdb            the cache of everything below
runs/<run_id>/            one run: the truth
    spec.json             what it is to train
    submission.json       the last hand-over to SLURM: which array, and which of its tasks
    cancelled.json        present while the run is called off
    lock                  locked, and holding a process id, while a worker on this machine has the run
    attempts.jsonl        a line whenever a worker starts on the run or leaves it
    log.txt               what the workers on this machine printed
    failure.json          how the last attempt failed
    metrics.jsonl checkpoint/ result.json      written by training
runs/sweeps/<name>.json   a planned sweep: the specification of every run
runs/sweeps/<name>.csv    an imported study, as it was given
runs/texts/<hash>/        a text that runs read: where it is, as it was pinned, and its tokenizer
runs/queue/<run_id>       runs handed to this machine and not ended
runs/lock                 locked while a sweep is planned or submitted
runs/slurm/<array>.json   a job array: its runs, and the id it got; written before it is sent
runs/slurm/answer.json    what SLURM said when it was last asked
runs/slurm/               besides, submitit's scripts, pickles and logs
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from parcae.errors import InputError
from parcae.files import write_atomically

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
        return self.path / "spec.json"

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
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        return self.path / "result.json"


@dataclass(frozen=True)
class Study:
    """Where a database keeps its runs: in `runs/` beside it."""

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
    def supervisor_log(self) -> Path:
        return self.runs / "supervisor.log"

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Waits for, and holds, the right to change what is planned or submitted.

        Yields the lock's file descriptor: a child that inherits it holds the lock for as long as it lives.
        """
        self.runs.mkdir(parents=True, exist_ok=True)
        with (self.runs / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file.fileno()

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
                yield from (entry.name for entry in entries if _RUN_ID.fullmatch(entry.name))


def check_sweep_name(name: str) -> str:
    """`name`, if it can name a new sweep; ``InputError`` else."""
    if name == PUBLISHED:
        raise InputError("the sweep 'published' is built in and cannot be changed; choose another name")
    if not _SWEEP_NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a sweep; use letters, digits and . _ + -, at most 100")
    return name


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Writes strict JSON, atomically."""
    text = json.dumps(value, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text.encode(), durable=durable)


def read_json_lines(path: Path) -> list[Any]:
    """Every whole line of JSON in `path`; none where there is no file."""
    values = []
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):  # a line being written
                values.append(json.loads(line))
    return values


def read_json(path: Path) -> Any:
    """The JSON in `path`, or None where there is no file or no whole JSON in it."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
