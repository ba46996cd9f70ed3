"""The state of a run, established from its folder and, for SLURM, from what the scheduler says.

*Done* means a result that was checked, never an exit code or a scheduler's word. A state that cannot be
established is *unknown*, and unknown is never resubmitted by itself.
"""

import fcntl
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sweeps.folders.paths import RunFolder, Study, read_json


class State(StrEnum):
    PLANNED = "planned"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DIVERGED = "diverged"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


FINISHED = frozenset({State.DONE, State.DIVERGED})
"""A result exists; the run is never started again."""
ACTIVE = frozenset({State.QUEUED, State.RUNNING})
RETRIABLE = frozenset({State.FAILED, State.TIMED_OUT, State.CANCELLED, State.UNKNOWN})
"""May be started again when the user asks; never by itself."""


@dataclass(frozen=True)
class Status:
    """A state, and in words why it is that one where that is not plain."""

    state: State
    reason: str | None = None


def check_result(spec: Mapping[str, Any], result: Any) -> Status:
    """Done or diverged for a result that is `spec`'s and complete; failed, saying what is wrong, else."""
    try:
        training = spec["training"]
        steps = training["steps"]
        tokens = steps * training["batch_sequences"] * spec["model"]["context"]
        if result["status"] == "diverged":
            at = result["diverged_at"]
            return Status(State.DIVERGED, f"diverged at step {at['step']}")
        if result["status"] != "done":
            return Status(State.FAILED, f"result.json has the status {result['status']!r}")
        if (result["steps"], result["tokens"]) != (steps, tokens):
            return Status(
                State.FAILED,
                f"result.json ends at step {result['steps']} with {result['tokens']} tokens; "
                f"planned were {steps} and {tokens}",
            )
        losses = [result["val_loss"], *result["losses"].values()]
        if not all(isinstance(loss, float) and math.isfinite(loss) for loss in losses):
            return Status(State.FAILED, "result.json holds a loss that is not a finite number")
    except (KeyError, TypeError, AttributeError) as error:
        return Status(State.FAILED, f"result.json is not the result of a run ({error!r})")
    return Status(State.DONE)


def is_locked(lock: Path) -> bool:
    """Whether a live process on this machine holds the lock."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def establish(study: Study, folder: RunFolder, scheduler: Callable[[RunFolder], Status]) -> Status:
    """The state of one run. `scheduler` is asked about a run that was handed to SLURM and whose own files
    do not tell."""
    if folder.result.exists():
        spec = read_json(folder.spec)
        return check_result(spec if isinstance(spec, dict) else {}, read_json(folder.result))
    if is_locked(folder.lock):
        return Status(State.RUNNING)
    if folder.cancelled.exists():
        return Status(State.CANCELLED)
    if (study.queue / folder.run_id).exists():
        nobody = "no supervisor works off the queue yet, or any more; `parcae-sweep submit` starts one"
        return Status(State.QUEUED, None if is_locked(study.supervisor_lock) else nobody)
    if folder.failure.exists():
        failure = read_json(folder.failure) or {}
        return Status(State(failure.get("state", State.FAILED)), failure.get("message"))
    if folder.submission.exists():
        return scheduler(folder)
    return Status(State.PLANNED)
