"""A state is established from what is in the folder; done is a result that was checked."""

import fcntl
from typing import Any

import pytest

from sweeps.folders.paths import Study
from sweeps.folders.records import Failure, write_record
from sweeps.runs.states import State, Status, establish
from sweeps.slurm.arrays import Submissions
from tests.sweeps.studies import finish, plan

AT = {"step": 7, "loss": None, "state_norm": None, "injection_norm": 0.9}


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
        ({"losses": None}, State.FAILED, "losses is None; it takes keys with values"),
        ({"steps": ...}, State.FAILED, "the key steps is missing"),
        ({"added_later": 1}, State.DONE, None),
        (
            {"status": "diverged", "val_loss": None, "losses": {}, "diverged_at": AT},
            State.DIVERGED,
            "at step 7",
        ),
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
    (study.queue / run_id).write_text("{}")
    assert state(study, run_id).state is State.QUEUED
    with folder.lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert state(study, run_id).state is State.RUNNING
    assert state(study, run_id).state is State.QUEUED


def test_a_failure_says_why(study: Study) -> None:
    run_id = plan(study)[0].run_id
    folder = study.run(run_id)
    folder.path.mkdir()
    write_record(folder.failure, Failure(message="out of memory"))
    assert state(study, run_id) == Status(State.FAILED, "out of memory")


@pytest.mark.parametrize("content", ['{"array": 3, "task": 0}', '{"array": "parcae-a"}'])
def test_a_submission_that_cannot_be_read_leaves_its_run_unknown(study: Study, content: str) -> None:
    run_id = plan(study)[0].run_id
    folder = study.run(run_id)
    folder.path.mkdir()
    folder.submission.write_text(content)
    status = state(study, run_id)
    assert status.state is State.UNKNOWN
    assert "submission.json" in (status.reason or "")
