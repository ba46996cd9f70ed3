"""The files of a study as types. Those that training writes, results and metrics, are in `parcae.training`.

All are JSON, written to a temporary file that is then renamed.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from parcae.config import ExecutionConfig
from parcae.errors import InputError
from parcae.files import write_atomically
from parcae.records import from_plain, sealed, unsealed
from sweeps.folders.paths import RunFolder
from sweeps.folders.spec import RunSpec

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """submission.json of a run: the array in which it was last submitted to SLURM, and its task there."""

    array: str
    task: int


@dataclass(frozen=True, kw_only=True)
class Cancellation:
    """cancelled.json of a run."""

    at: float
    """Seconds since the epoch, like all times here."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """failure.json of a run: how its last attempt failed."""

    state: str = "failed"
    message: str | None = None
    """One line."""
    traceback: str = ""
    """Empty if the attempt did not end in an exception."""
    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A line of attempts.jsonl of a run."""

    event: str
    """started, ended, checkpointed, requeued, cancelled or stopped."""
    at: float
    host: str
    pid: int
    job: str | None
    """The SLURM job; None on this machine."""


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """A file of runs/queue: a run that this machine is to train."""

    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    gpu: str | None = None
    """The GPU on which the run was started."""
    run_id: str | None = None
    """None in an entry of an early version."""


@dataclass(frozen=True, kw_only=True)
class Array:
    """A file of runs/slurm: runs submitted by one call of sbatch."""

    name: str
    """The job's name in SLURM: unique."""
    run_ids: tuple[str, ...]
    """Task i is the i-th run; a single run is a plain job, not an array."""
    sent_at: float
    """Just before sbatch was called."""
    job_id: str | None
    """None until sbatch has answered."""
    throttle: int
    """Maximum number of its runs at once."""
    devices: int
    """GPUs per run; without GPUs, tasks per run."""
    owner: str | None = None
    """The identity of the study that submitted it; None in a file of an early version."""

    def job(self, task: int) -> str | None:
        """The job id of a task, as squeue --array prints it."""
        return self.job_id if self.job_id is None or len(self.run_ids) == 1 else f"{self.job_id}_{task}"


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """A run in a sweep's manifest: a line of it, whose checksum is over `run_id` and `predicted_loss`."""

    predicted_loss: float | None
    """Nats per token, as predicted when the run was first planned."""
    spec: RunSpec
    run_id: str | None = None
    """The hash of `spec`; None, like `checksum`, in a line of an early version."""
    checksum: str | None = None


def read_record(path: Path, kind: type[Kind], *, more_keys: bool = False) -> Kind | None:
    """The record in `path`; None if there is no file. ``InputError`` if it is damaged or another record."""
    try:
        values = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: it is not whole JSON") from error
    return from_plain(kind, unsealed(values, str(path)), str(path), more_keys=more_keys)


def holds_spec(folder: RunFolder, spec: RunSpec) -> bool:
    """Whether a run's folder holds just this specification. Reads no JSON: there are 20,000 folders."""
    try:
        return folder.spec.read_bytes().rstrip() == spec.json.encode()
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_spec(folder: RunFolder) -> RunSpec:
    """The specification in a run's folder, whose name is its hash. ``InputError`` if it is not whole."""
    spec = read_record(folder.spec, RunSpec)
    if spec is None:
        raise InputError(f"there is no specification {folder.spec}; plan the sweep again")
    if spec.run_id != folder.run_id:
        raise InputError(f"{folder.spec} is damaged, or is the specification of another run: {spec.run_id}")
    return spec


def write_record(path: Path, record: Any, *, durable: bool = True) -> None:
    """Writes a record with its checksum as strict JSON, atomically."""
    text = json.dumps(sealed(record), sort_keys=True, allow_nan=False) + "\n"
    write_atomically(path, text.encode(), durable=durable)


def read_lines(path: Path, kind: type[Kind]) -> list[Kind]:
    """The records in `path`, one per line; an empty list if there is no file.

    Lines that cannot be read are left out: one is being written, or was cut off by a full disk.
    """
    records = []
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, RecursionError):
                records.append(from_plain(kind, json.loads(line), str(path), more_keys=True))
    return records


def json_or_none(path: Path) -> Any:
    """The JSON in `path`; None if there is no file or its JSON is incomplete."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
