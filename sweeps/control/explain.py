"""What happened to a run, in words: its state and reason, its attempts, its last traceback, its log's end."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.records import to_plain
from sweeps.folders.paths import Study
from sweeps.folders.records import Attempt, Failure, read_lines, read_record
from sweeps.runs.logs import job_logs, tail
from sweeps.runs.states import ACTIVE, State, Status, establish
from sweeps.slurm.arrays import Submissions

_POLL_SECONDS = 0.5
_NEXT = {
    State.PLANNED: "it was not started yet; `parcae-sweep submit` starts it",
    State.FAILED: "`parcae-sweep retry {run}` starts it again, from its checkpoint if it has one",
    State.TIMED_OUT: "`parcae-sweep retry {run}` goes on; its limit is time_minutes in cluster.toml",
    State.CANCELLED: "`parcae-sweep retry {run}` goes on from its checkpoint",
    State.UNKNOWN: (
        "nothing starts it by itself; `parcae-sweep retry {run}` ends what SLURM may still have of it "
        "and starts it again"
    ),
    State.DIVERGED: "its loss blew up, which is a result; it is not started again",
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
    """The SLURM job that it was last handed to."""
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
    """What happened to the run, from its folder, its logs and what SLURM says."""
    folder = study.run(run_id)
    submissions = Submissions(study, [run_id])
    status = establish(study, folder, submissions)
    failure = read_record(folder.failure, Failure) if status.state is State.FAILED else None
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
    """The run's logs that exist, the one written last at the end."""
    folder = study.run(run_id)
    handed_over = Submissions(study, [run_id]).job(folder)
    logs = job_logs(study.slurm, handed_over[1]) if handed_over and handed_over[1] else []
    if folder.log.exists():
        logs.append(folder.log)
    return sorted(logs, key=lambda path: path.stat().st_mtime_ns)


def follow_log(study: Study, run_id: str, path: Path) -> Iterator[str]:
    """What is added to a log from now on, until the run is no longer queued or running."""
    folder = study.run(run_id)
    with path.open(errors="replace") as file:
        file.seek(0, 2)
        while True:
            active = establish(study, folder, Submissions(study, [run_id])).state in ACTIVE
            yield from file
            if not active:
                return
            time.sleep(_POLL_SECONDS)
