"""The state of a run, established from its folder and, on SLURM, from the scheduler's answer.

*Done* means that a result was checked, never just an exit code or a scheduler's answer. A state that cannot
be established is *unknown*, and an unknown run is never resubmitted automatically.
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
"""There is a result; the run is never restarted."""
ACTIVE = frozenset({State.QUEUED, State.RUNNING})
RETRIABLE = frozenset({State.FAILED, State.TIMED_OUT, State.CANCELLED, State.UNKNOWN})
"""Restarted only if the user asks for it."""


@dataclass(frozen=True)
class Status:
    """A state, and a reason if the state needs one."""

    state: State
    reason: str | None = None


def check_result(spec: RunSpec, result: Result) -> Status:
    """Done or diverged for a complete result of `spec`, else failed with a reason."""
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
    """The state of one run. `scheduler` is asked about a run on SLURM whose files do not determine it."""
    if folder.result.exists():
        return _of_result(folder)
    if is_locked(folder.lock):
        return Status(State.RUNNING)
    if folder.cancelled.exists():
        return Status(State.CANCELLED)
    if (study.queue / folder.run_id).exists():
        no_supervisor = "no supervisor is running on this machine; `parcae-sweep submit` starts one"
        return Status(State.QUEUED, None if is_locked(study.supervisor_lock) else no_supervisor)
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
