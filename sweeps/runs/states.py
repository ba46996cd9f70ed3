"""The state of a run, established from its folder and, on SLURM, from the scheduler's answer.

*Done* means that a result was checked, never just an exit code or a scheduler's answer. A state that cannot
be established is *unknown*, and an unknown run is never resubmitted automatically.
"""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from parcae.errors import InputError
from parcae.records import printable
from parcae.training.result import Result, read_result
from sweeps.folders.locks import is_locked
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import Failure, holds_spec, read_record, read_spec
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
    wrong = _inconsistency(spec, result)
    if wrong is not None:
        return Status(State.FAILED, f"result.json {wrong}")
    if result.status == "done":
        return Status(State.DONE)
    at = result.diverged_at
    return Status(State.DIVERGED, None if at is None else f"diverged at step {at.step}")


def _inconsistency(spec: RunSpec, result: Result) -> str | None:
    """What in a result cannot be of `spec`, or contradicts itself."""
    steps, losses = spec.training.steps, result.losses
    if result.parameters != spec.parameters:
        return f"is of a model with {result.parameters} parameters; planned were {spec.parameters}"
    if result.status == "diverged":
        if result.val_loss is not None or losses or not 0 <= result.steps <= steps:
            return f"holds losses of a diverged run, or ends after its {steps} steps"
        return None
    if (result.steps, result.tokens) != (steps, spec.tokens):
        return (
            f"ends at step {result.steps} with {result.tokens} tokens; planned were {steps} and {spec.tokens}"
        )
    if not all(re.fullmatch("[1-9][0-9]{0,8}", recurrence) for recurrence in losses):
        return "holds a loss at a recurrence that is not a positive whole number"
    if not all(loss is not None and math.isfinite(loss) for loss in [result.val_loss, *losses.values()]):
        return "holds a loss that is not a finite number"
    if any(loss < 0 for loss in losses.values()):
        return "holds a negative loss"
    own = losses.get(str(spec.training.mean_recurrence))
    if own != result.val_loss:
        return f"has val_loss {result.val_loss}, but {own} among losses at the mean recurrence"
    return None


def establish(
    study: Study,
    folder: RunFolder,
    scheduler: Callable[[RunFolder], Status],
    planned: RunSpec | None = None,
) -> Status:
    """The state of one run. `scheduler` is asked about a run on SLURM whose files do not determine it.

    `planned` is its specification, if that is known from elsewhere than its folder.
    """
    try:
        status = _establish(study, folder, scheduler, planned)
    except OSError as error:
        status = Status(State.UNKNOWN, f"cannot look at {error.filename or folder.path}: {error.strerror}")
    return Status(status.state, status.reason and printable(status.reason))


def _establish(
    study: Study, folder: RunFolder, scheduler: Callable[[RunFolder], Status], planned: RunSpec | None
) -> Status:
    if folder.result.exists():
        return _of_result(folder, planned)
    if is_locked(folder.lock):
        return Status(State.RUNNING)
    if folder.cancelled.exists():
        return Status(State.CANCELLED)
    if (study.queue / folder.run_id).exists():
        return Status(State.QUEUED, None if is_locked(study.supervisor_lock) else _no_supervisor(study))
    if folder.failure.exists():
        return _of_failure(folder)
    if folder.submission.exists():
        try:
            return scheduler(folder)
        except InputError as error:
            return Status(State.UNKNOWN, str(error))
    return Status(State.PLANNED)


def _of_result(folder: RunFolder, planned: RunSpec | None) -> Status:
    """A result that names its run needs no spec.json beside it if the run's plan is known."""
    try:
        result = read_result(folder.path)
    except InputError as error:
        return Status(State.FAILED, str(error))
    if result is None:
        return Status(State.FAILED, "there is no whole result in its folder")
    if result.run_id not in (None, folder.run_id):
        return Status(State.FAILED, f"result.json is that of run {result.run_id}")
    try:
        is_planned = planned is not None and planned.run_id == folder.run_id and holds_spec(folder, planned)
        spec = planned if planned is not None and is_planned else read_spec(folder)
    except InputError as error:
        if planned is None:
            return Status(State.FAILED, str(error))
        if result.run_id is None and folder.spec.exists():
            why = f"{error}; its result, which is from before checksums, may be another run's"
            return Status(State.UNKNOWN, f"{why}: if it is this run's, move spec.json away")
        spec = planned
    return check_result(spec, result)


def _no_supervisor(study: Study) -> str:
    with suppress(InputError):
        failure = read_record(study.supervisor_failure, Failure)
        if failure is not None and failure.message:
            return f"{failure.message}; `parcae-sweep submit` tries again"
    return "no supervisor is running on this machine; `parcae-sweep submit` starts one"


def _of_failure(folder: RunFolder) -> Status:
    try:
        failure = read_record(folder.failure, Failure) or Failure()
        return Status(State(failure.state), failure.message)
    except ValueError as error:
        return Status(State.FAILED, str(error))
