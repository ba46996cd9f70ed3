"""A run handed to SLURM is what SLURM said of its job, and what its own files say has happened since."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parcae.records import to_plain
from sweeps.control.launch import cancel
from sweeps.folders.paths import Study
from sweeps.folders.records import Array, Attempt, Submission, write_record
from sweeps.runs.environment import without_filters
from sweeps.runs.states import State, Status, establish
from sweeps.slurm.arrays import Submissions, read_arrays
from sweeps.slurm.scheduler import Answer, Job, _parse, _tasks
from sweeps.slurm.submit import settle
from tests.sweeps.studies import plan

JOB = "7_0"


@pytest.fixture
def run_id(study: Study) -> str:
    """A run that was sent to SLURM a minute ago, as the first of two of job 7."""
    run_id = plan(study)[0].run_id
    study.run(run_id).path.mkdir()
    study.slurm.mkdir()
    write_record(study.run(run_id).submission, Submission(array="parcae-a", task=0))
    send(study, job_id="7")
    return run_id


def send(study: Study, job_id: str | None, seconds_ago: float = 60.0) -> None:
    array = Array(
        name="parcae-a",
        run_ids=(*study.run_ids(), "y"),
        sent_at=time.time() - seconds_ago,
        job_id=job_id,
        throttle=2,
        devices=1,
    )
    write_record(study.array(array.name), array)


def job(state: str, reason: str = "None") -> Job:
    return Job(state=state, reason=reason, elapsed="1:00", limit="2:00", nodes="n1")


def answered(
    queue: dict[str, Job] | None, accounts: dict[str, Job] | None, seconds_ago: float = 1.0
) -> Answer:
    at = time.time() - seconds_ago
    return Answer(asked_at=at, answered_at=at, queue=queue, accounts=accounts)


def state(study: Study, run_id: str, answer: Answer) -> Status:
    submissions = Submissions(study, [run_id])
    submissions.answer = answer
    return establish(study, study.run(run_id), submissions)


def test_a_copy_of_a_study_owns_no_jobs_and_a_study_that_was_moved_still_does(
    study: Study, run_id: str, tmp_path: Path
) -> None:
    array = study.array("parcae-a")
    send(study, "7")
    write_record(array, replace(read_arrays(study)["parcae-a"], owner=study.identity))
    queued = answered({JOB: job("PENDING")}, {})
    assert state(study, run_id, queued).state is State.QUEUED
    copy = Study(tmp_path / "copy" / "results.duckdb")
    shutil.copytree(study.runs, copy.runs)
    assert state(copy, run_id, queued) == Status(
        State.PLANNED,
        f"it was submitted to SLURM from {study.runs}; this copy of the study owns none of its jobs",
    )
    assert cancel(copy, "s", None) == []
    assert not copy.run(run_id).cancelled.exists()
    assert read_arrays(copy) == {}
    settle(copy)
    assert copy.array("parcae-a").read_bytes() == array.read_bytes()
    moved = Study(tmp_path / "moved" / "results.duckdb")
    moved.db.parent.mkdir()
    study.runs.rename(moved.runs)
    assert state(moved, run_id, queued).state is State.QUEUED
    assert state(Study(tmp_path / "moved" / "other.duckdb"), run_id, queued).state is State.QUEUED


@pytest.mark.parametrize("record", ["submission", "array"])
@pytest.mark.parametrize("damage", ["half", "flipped", "another run's"])
def test_a_submission_that_is_damaged_is_never_taken_for_none(
    study: Study, run_id: str, record: str, damage: str
) -> None:
    """Else the run would be submitted a second time."""
    path = study.run(run_id).submission if record == "submission" else study.array("parcae-a")
    text = path.read_text()
    if damage == "half":
        path.write_text(text[: len(text) // 2])
    elif damage == "flipped":
        path.write_text(text.replace("parcae-a", "parcae-c"))
    elif record == "submission":
        write_record(path, Submission(array="parcae-a", task=1))
    else:
        write_record(path, replace(read_arrays(study)["parcae-a"], run_ids=("x", "y")))
    status = state(study, run_id, answered({JOB: job("PENDING")}, {}))
    assert status.state is State.UNKNOWN
    assert "submission.json" in (status.reason or "") or str(path) in (status.reason or "")


@pytest.mark.parametrize(
    ("answer", "expected", "reason"),
    [
        (({JOB: job("PENDING", "Priority")}, {}), State.QUEUED, None),
        (({JOB: job("PENDING", "launch failed requeued held")}, {}), State.QUEUED, "requeued held"),
        (({JOB: job("RUNNING")}, {}), State.RUNNING, None),
        (({JOB: job("COMPLETED")}, {}), State.FAILED, "without leaving a result"),
        (({JOB: job("TIMEOUT")}, {}), State.TIMED_OUT, "limit 2:00"),
        (({JOB: job("OUT_OF_MEMORY")}, {}), State.FAILED, "out of memory"),
        (({JOB: job("NODE_FAIL")}, {}), State.FAILED, "its node failed on n1"),
        (({JOB: job("CANCELLED")}, {}), State.CANCELLED, None),
        (({JOB: job("NEW_IN_SLURM_30")}, {}), State.UNKNOWN, "NEW_IN_SLURM_30"),
        (({}, {JOB: job("TIMEOUT")}), State.TIMED_OUT, None),
        (({}, {JOB: job("RUNNING")}), State.UNKNOWN, "no record of its end"),  # the controller lost it
        (({}, {JOB: job("CANCELLED")}), State.CANCELLED, None),
        (({}, {JOB: job("")}), State.UNKNOWN, "no record of its end"),  # absence proves nothing
        (({}, {JOB: job("PENDING")}), State.UNKNOWN, "no record of its end"),  # accounting lags behind
        (({}, None), State.UNKNOWN, "accounting does not answer"),
        ((None, None), State.UNKNOWN, "does not answer"),
        ((None, {JOB: job("RUNNING")}), State.UNKNOWN, "does not answer"),
        ((None, {JOB: job("OUT_OF_MEMORY")}), State.FAILED, "out of memory"),
    ],
)
def test_what_slurm_says_counts_and_silence_is_unknown(
    study: Study, run_id: str, answer: tuple[Any, Any], expected: State, reason: str | None
) -> None:
    found = state(study, run_id, answered(*answer))
    assert found.state is expected
    assert reason is None or reason in (found.reason or "")


def test_what_happened_since_slurm_was_asked_comes_from_files(study: Study, run_id: str) -> None:
    running = answered({JOB: job("RUNNING")}, {}, seconds_ago=30)
    attempts = study.run(run_id).attempts

    def log(event: str, seconds_ago: float, job: str = JOB) -> None:
        attempt = Attempt(event=event, at=time.time() - seconds_ago, host="n1", pid=1, job=job)
        attempts.write_text(json.dumps(to_plain(attempt)) + "\n")

    log("requeued", 10)
    assert state(study, run_id, running).state is State.QUEUED
    log("cancelled", 10)
    assert state(study, run_id, running).state is State.CANCELLED
    log("requeued", 40)  # before the answer: it has started again since
    assert state(study, run_id, running).state is State.RUNNING
    log("requeued", 10, job="6_1")  # of an earlier hand-over
    assert state(study, run_id, running).state is State.RUNNING
    send(study, job_id="7", seconds_ago=10)  # sent after the answer
    assert state(study, run_id, answered({}, {}, seconds_ago=30)).state is State.QUEUED


def test_without_a_job_id_unknown_and_without_its_array_planned(study: Study, run_id: str) -> None:
    send(study, job_id=None)
    assert state(study, run_id, answered({}, {})).state is State.UNKNOWN
    study.array("parcae-a").unlink()
    assert state(study, run_id, answered({}, {})).state is State.PLANNED


def test_a_job_that_started_and_left_no_trace_is_unknown(study: Study, run_id: str) -> None:
    started = to_plain(Attempt(event="started", at=time.time() - 30, host="n1", pid=1, job=JOB))
    study.run(run_id).attempts.write_text(json.dumps(started) + "\n")
    assert state(study, run_id, answered({}, {JOB: job("")})).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("job_id", "tasks"),
    [
        ("12", ["12"]),
        ("12_3", ["12_3"]),
        ("12_[3]", ["12_3"]),
        ("12_[0-2,5%4]", ["12_0", "12_1", "12_2", "12_5"]),
        ("12_[0,2,...%3]", ["12_[0,2,...%3]"]),
    ],
)
def test_sacct_names_tasks_that_never_started_together(job_id: str, tasks: list[str]) -> None:
    assert list(_tasks(job_id)) == tasks


def test_every_job_that_a_run_was_handed_to_is_known_without_its_folder(study: Study, run_id: str) -> None:
    submissions = Submissions(study, [])
    assert [submissions.jobs_ever(run) for run in (run_id, "y", "z")] == [["7_0"], ["7_1"], []]


def test_lines_that_tell_of_no_job_are_skipped() -> None:
    said = "\nCLUSTER: one\n|||||\n8_0| |None|1:00|2:00|n1\n7_0|RUNNING|None|1:00|2:00|n1\n"
    assert _parse(said) == {JOB: job("RUNNING")}


def test_filters_of_the_users_own_do_not_hide_jobs() -> None:
    environment = {"SQUEUE_PARTITION": "a", "SACCT_FORMAT": "b", "SCANCEL_USER": "c", "SLURM_CONF": "d"}
    assert without_filters(environment) == {"SLURM_CONF": "d"}
