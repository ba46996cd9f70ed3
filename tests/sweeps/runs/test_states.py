"""A state is established from what stands in the folder; done is a result that was checked."""

import fcntl
from typing import Any

import pytest

from sweeps.folders.paths import Study, write_json
from sweeps.runs.states import State, Status, establish
from sweeps.slurm.arrays import Submissions
from tests.sweeps.studies import finish, plan


def state(study: Study, run_id: str) -> Status:
    return establish(study, study.run(run_id), Submissions(study, [run_id]))


@pytest.mark.parametrize(
    ("changes", "expected", "reason"),
    [
        ({}, State.DONE, None),
        ({"steps": 1}, State.FAILED, "ends at step 1"),
        ({"tokens": 1}, State.FAILED, "with 1 tokens"),
        ({"val_loss": None}, State.FAILED, "not a finite number"),
        ({"val_loss": float("inf")}, State.FAILED, "not a finite number"),
        ({"losses": {"1": float("nan")}}, State.FAILED, "not a finite number"),
        ({"status": "fine"}, State.FAILED, "'fine'"),
        ({"losses": None}, State.FAILED, "not the result of a run"),
        ({"status": "diverged", "diverged_at": {"step": 7}}, State.DIVERGED, "at step 7"),
    ],
)
def test_a_result_is_checked(
    study: Study, changes: dict[str, Any], expected: State, reason: str | None
) -> None:
    spec = plan(study)[0]
    finish(study, spec, **changes)
    status = state(study, spec.run_id)
    assert status.state is expected
    assert reason is None or reason in (status.reason or "")


def test_half_a_result_is_no_result(study: Study) -> None:
    spec = plan(study)[0]
    finish(study, spec)
    folder = study.run(spec.run_id)
    folder.result.write_text(folder.result.read_text()[:40])
    assert state(study, spec.run_id).state is State.FAILED


def test_from_planned_to_running(study: Study) -> None:
    run_id = plan(study)[0].run_id
    folder = study.run(run_id)
    folder.path.mkdir()
    assert state(study, run_id).state is State.PLANNED
    study.queue.mkdir()
    write_json(study.queue / run_id, {})
    assert state(study, run_id).state is State.QUEUED
    with folder.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state(study, run_id).state is State.RUNNING
    assert state(study, run_id).state is State.QUEUED


def test_a_failure_says_why(study: Study) -> None:
    run_id = plan(study)[0].run_id
    folder = study.run(run_id)
    folder.path.mkdir()
    write_json(folder.failure, {"state": "failed", "message": "out of memory", "traceback": "", "at": 0})
    assert state(study, run_id) == Status(State.FAILED, "out of memory")
