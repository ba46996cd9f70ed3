"""The state of a run, established from its folder and, for SLURM, from what the scheduler says.

*Done* means a result that was checked, never an exit code or a scheduler's word. A state that cannot be
established is *unknown*, and unknown is never resubmitted by itself.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from parcae.errors import InputError
from parcae.training.result import Result, read_result
from sweeps.folders.locks import is_locked
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import Failure, read_record
from sweeps.folders.spec import RunSpec


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


def check_result(spec: RunSpec, result: Result) -> Status:
    """Done or diverged for a result that is `spec`'s and complete; failed, saying what is wrong, else."""
    if result.status == "diverged":
        at = result.diverged_at
        return Status(State.DIVERGED, None if at is None else f"diverged at step {at.step}")
    steps = spec.training.steps
    if (result.steps, result.tokens) != (steps, spec.tokens):
        return Status(
            State.FAILED,
            f"result.json ends at step {result.steps} with {result.tokens} tokens; "
            f"planned were {steps} and {spec.tokens}",
        )
    losses = [result.val_loss, *result.losses.values()]
    if not all(loss is not None and math.isfinite(loss) for loss in losses):
        return Status(State.FAILED, "result.json holds a loss that is not a finite number")
    return Status(State.DONE)


def establish(study: Study, folder: RunFolder, scheduler: Callable[[RunFolder], Status]) -> Status:
    """The state of one run. `scheduler` is asked about a run that was handed to SLURM and whose own files
    do not tell."""
    if folder.result.exists():
        return _of_result(folder)
    if is_locked(folder.lock):
        return Status(State.RUNNING)
    if folder.cancelled.exists():
        return Status(State.CANCELLED)
    if (study.queue / folder.run_id).exists():
        nobody = "no supervisor works off the queue yet, or any more; `parcae-sweep submit` starts one"
        return Status(State.QUEUED, None if is_locked(study.supervisor_lock) else nobody)
    if folder.failure.exists():
        return _of_failure(folder)
    if folder.submission.exists():
        try:
            return scheduler(folder)
        except InputError as error:
            return Status(State.UNKNOWN, str(error))
    return Status(State.PLANNED)


def _of_result(folder: RunFolder) -> Status:
    try:
        result, spec = read_result(folder.path), read_record(folder.spec, RunSpec)
    except InputError as error:
        return Status(State.FAILED, str(error))
    if result is None or spec is None:
        return Status(
            State.FAILED, f"there is no whole {'specification' if result else 'result'} in its folder"
        )
    return check_result(spec, result)


def _of_failure(folder: RunFolder) -> Status:
    try:
        failure = read_record(folder.failure, Failure) or Failure()
        return Status(State(failure.state), failure.message)
    except ValueError as error:
        return Status(State.FAILED, str(error))
