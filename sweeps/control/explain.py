"""Explains what happened to a run: its state, attempts, last traceback and the end of its log."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.errors import InputError, WorkFailed
from parcae.records import to_plain
from sweeps.folders.paths import Study
from sweeps.folders.records import Attempt, Failure, read_lines, read_record
from sweeps.runs.logs import job_logs, tail
from sweeps.runs.states import ACTIVE, State, Status, establish
from sweeps.slurm.arrays import Submissions

_POLL_SECONDS = 0.5
_NEXT = {
    State.PLANNED: "it has not been started; `parcae-sweep submit` starts it",
    State.FAILED: "`parcae-sweep retry {run}` restarts it, from its checkpoint if there is one",
    State.TIMED_OUT: "`parcae-sweep retry {run}` resumes it; its time limit is time_minutes in cluster.toml",
    State.CANCELLED: "`parcae-sweep retry {run}` resumes it from its checkpoint",
    State.UNKNOWN: (
        "it is not restarted automatically; `parcae-sweep retry {run}` cancels its jobs that SLURM may still "
        "have and restarts it"
    ),
    State.DIVERGED: "its loss blew up, which is a result: it is not restarted",
}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    run_id: str
    status: Status
    next_step: str | None
    traceback: str | None
    """Of the last attempt, if it failed with an exception."""
    attempts: Sequence[Attempt]
    """Lines of attempts.jsonl, the oldest first."""
    job: str | None
    """The SLURM job to which it was last submitted."""
    logs: Sequence[Path]
    log_tail: Sequence[str]
    """The last lines of the newest log."""

    def to_dict(self) -> dict[str, Any]:
        """The keys of `why --json`."""
        return {
            "run_id": self.run_id,
            "state": self.status.state,
            "reason": self.status.reason,
            "next_step": self.next_step,
            "traceback": self.traceback,
            "job": self.job,
            "attempts": to_plain(list(self.attempts)),
            "logs": [str(path) for path in self.logs],
            "log_tail": list(self.log_tail),
        }


def explain(study: Study, run_id: str, lines: int = 15) -> Explanation:
    """What happened to the run, from its folder, its logs and SLURM's answer."""
    folder = study.run(run_id)
    submissions = Submissions(study, [run_id])
    status = establish(study, folder, submissions)
    failure = None
    if status.state is State.FAILED:
        with suppress(InputError):  # its state says so
            failure = read_record(folder.failure, Failure)
    handed_over = submissions.job(folder)
    logs = log_files(study, run_id)
    advice = _NEXT.get(status.state)
    return Explanation(
        run_id=run_id,
        status=status,
        next_step=advice.format(run=run_id) if advice else None,
        traceback=(failure.traceback or None) if failure else None,
        attempts=read_lines(folder.attempts, Attempt),
        job=handed_over[1] if handed_over else None,
        logs=logs,
        log_tail=tail(logs[-1], lines) if logs else [],
    )


def log_files(study: Study, run_id: str) -> list[Path]:
    """The run's existing logs, the newest last."""
    folder = study.run(run_id)
    handed_over = Submissions(study, [run_id]).job(folder)
    logs = job_logs(study.slurm, handed_over[1]) if handed_over and handed_over[1] else []
    if folder.log.exists():
        logs.append(folder.log)
    return sorted(logs, key=lambda path: path.stat().st_mtime_ns)


def log_lines(study: Study, run_id: str, count: int) -> list[str]:
    """The last `count` lines of each of the run's logs, with headings if there are several.

    ``WorkFailed`` if there is no log yet.
    """
    logs = log_files(study, run_id)
    if not logs:
        raise WorkFailed(f"the run {run_id} has no log yet")
    lines: list[str] = []
    for path in logs:
        lines += [f"==> {path} <=="] if len(logs) > 1 else []
        lines += tail(path, count)
    return lines


def follow_log(study: Study, run_id: str) -> Iterator[str]:
    """New lines of the run's newest log, until the run is no longer queued or running."""
    folder = study.run(run_id)
    with log_files(study, run_id)[-1].open(errors="replace") as file:
        file.seek(0, 2)
        while True:
            active = establish(study, folder, Submissions(study, [run_id])).state in ACTIVE
            yield from file
            if not active:
                return
            time.sleep(_POLL_SECONDS)
