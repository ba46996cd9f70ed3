"""SLURM's state of our jobs: one batched query, at most once a minute, its answer shared in a file.

squeue is asked for the jobs of the study by id, including ended ones, whoever asks; sacct for those that
squeue no longer lists. A job that neither knows may exist all the same: its state is unknown.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from threading import Timer

from parcae.errors import InputError
from sweeps.folders.locks import PATIENCE_SECONDS, held
from sweeps.folders.paths import Study
from sweeps.folders.records import read_record, write_record
from sweeps.runs.environment import without_filters
from sweeps.runs.states import State, Status

SECONDS_BETWEEN_QUESTIONS = 60.0
SECONDS_AFTER_SILENCE = 5.0
COMMAND_SECONDS = 60
_SEPARATOR = "|"
_SQUEUE_FORMAT = _SEPARATOR.join(("%i", "%T", "%r", "%M", "%l", "%N"))
_SACCT_FORMAT = "JobID,State,Reason,Elapsed,Timelimit,NodeList"

_STATES = {
    "PENDING": State.QUEUED,
    "CONFIGURING": State.QUEUED,
    "REQUEUED": State.QUEUED,
    "REQUEUE_HOLD": State.QUEUED,
    "REQUEUE_FED": State.QUEUED,
    "SPECIAL_EXIT": State.QUEUED,
    "RUNNING": State.RUNNING,
    "COMPLETING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "STOPPED": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "RESIZING": State.RUNNING,
    "TIMEOUT": State.TIMED_OUT,
    "CANCELLED": State.CANCELLED,
    "REVOKED": State.CANCELLED,
    "COMPLETED": State.FAILED,
    "FAILED": State.FAILED,
    "NODE_FAIL": State.FAILED,
    "BOOT_FAIL": State.FAILED,
    "DEADLINE": State.FAILED,
    "OUT_OF_MEMORY": State.FAILED,
    "PREEMPTED": State.FAILED,
}
_WORDS = {
    "COMPLETED": "its job ended without leaving a result",
    "FAILED": "its job failed without saying why; see its log",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "SLURM ended its job at the deadline",
    "OUT_OF_MEMORY": "out of memory: SLURM killed its job",
    "PREEMPTED": "its job was preempted and SLURM did not requeue it",
    "TIMEOUT": "out of time: SLURM ended its job",
    "CANCELLED": "its job was cancelled in SLURM",
}
_ORDINARY_WAITS = {
    *("None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Dependency", "Cleaning", ""),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One line of squeue or sacct."""

    state: str
    """In SLURM's terms."""
    reason: str
    elapsed: str
    limit: str
    nodes: str

    @property
    def status(self) -> Status:
        state = _STATES.get(self.state)
        if state is None:
            return Status(State.UNKNOWN, f"SLURM reports its job as {self.state}")
        if state is State.QUEUED:
            waits = None if self.reason in _ORDINARY_WAITS else f"SLURM holds it: {self.reason}"
            return Status(state, waits)
        if state is State.RUNNING:
            return Status(state)
        where = f" on {self.nodes}" if self.nodes and "None" not in self.nodes else ""
        limit = f" (limit {self.limit})" if self.state == "TIMEOUT" else ""
        return Status(state, f"{_WORDS.get(self.state, self.state)}{where} after {self.elapsed}{limit}")

    @property
    def has_ended(self) -> bool:
        return _STATES.get(self.state) not in (State.QUEUED, State.RUNNING, None)


_NO_RECORD = Job(state="", reason="", elapsed="", limit="", nodes="")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """SLURM's answer to the last query."""

    asked_at: float
    """Seconds since the epoch; later events are not in the answer."""
    answered_at: float
    queue: Mapping[str, Job] | None
    """Job id -> job, for those of our jobs that squeue lists; None if the controller did not answer."""
    accounts: Mapping[str, Job] | None
    """The same from sacct, for those of our jobs that squeue did not list; None if it did not answer."""
    asked_by: int = -1
    """The user's number: what SLURM shows may depend on who asks."""

    def status(self, job_id: str) -> Status:
        """The state of a job that existed when SLURM was asked."""
        if self.queue is not None and job_id in self.queue:
            return self.queue[job_id].status
        accounted = (self.accounts or {}).get(job_id)
        if accounted is not None and accounted.has_ended:
            return accounted.status
        if self.queue is None:
            return Status(State.UNKNOWN, f"SLURM does not answer; its job is {job_id}")
        why = "its accounting does not answer"
        if self.accounts is not None:
            why = "has no record of its end: it may have been cancelled before it started"
        return Status(State.UNKNOWN, f"SLURM no longer lists its job {job_id} and {why}")

    @property
    def is_silent(self) -> bool:
        return self.queue is None

    @property
    def lasts_seconds(self) -> float:
        return SECONDS_AFTER_SILENCE if self.is_silent else SECONDS_BETWEEN_QUESTIONS


NEVER_ASKED = Answer(asked_at=0.0, answered_at=0.0, queue=None, accounts=None)


def ask(study: Study, jobs: Mapping[str, float]) -> Answer:
    """SLURM's answer about `jobs` (id -> time of submission, seconds since the epoch), new or from the file.

    The answer in the file is used unless it is too old, or lacks a job that existed when it was given.
    """
    with _shared(study):
        answer = remembered(study)
        missing = [job for job, sent in jobs.items() if sent < answer.asked_at and not _covers(answer, job)]
        is_fresh = 0 <= time.time() - answer.answered_at < answer.lasts_seconds
        if is_fresh and answer.asked_by == os.getuid() and not missing:
            return answer
        # Including jobs that another shell asked about.
        answer = _ask_now({*jobs, *(answer.queue or {}), *(answer.accounts or {})})
        _remember(study, answer)
        return answer


def _covers(answer: Answer, job: str) -> bool:
    if answer.is_silent or (answer.queue and job in answer.queue):
        return True
    return answer.accounts is None or job in answer.accounts


def _ask_now(jobs: Collection[str]) -> Answer:
    asked_at = time.time()
    queue = _queue(jobs) if jobs and answers() else None
    ours = [job for job in jobs if queue is None or job not in queue]
    accounts: Mapping[str, Job] | None = {}
    if ours:
        printed = command(
            *("sacct", "--noheader", "--allocations", "--parsable2"),
            *(f"--format={_SACCT_FORMAT}", f"--jobs={_arrays(ours)}"),
        )
        accounts = None if printed is None else dict.fromkeys(ours, _NO_RECORD) | _parse(printed)
    return Answer(
        asked_at=asked_at, answered_at=time.time(), queue=queue, accounts=accounts, asked_by=os.getuid()
    )


def _queue(jobs: Collection[str]) -> dict[str, Job] | None:
    words = ("squeue", "--noheader", "--array", "--states=all", f"--format={_SQUEUE_FORMAT}")
    # It calls a job invalid that it has forgotten, if no other is asked for.
    printed = command(*words, f"--jobs={_arrays(jobs)}", no_failure="Invalid job id")
    return None if printed is None else _parse(printed)


def _arrays(jobs: Iterable[str]) -> str:
    return ",".join(sorted({job.split("_")[0] for job in jobs}))


def _parse(lines: str) -> dict[str, Job]:
    jobs = {}
    for line in lines.splitlines():
        columns = line.split(_SEPARATOR)
        if len(columns) != _SQUEUE_FORMAT.count(_SEPARATOR) + 1:  # a banner, or a heading of several clusters
            continue
        job_id, words, reason, elapsed, limit, nodes = columns
        if not words.strip():
            continue
        word = words.split()[0].rstrip("+")  # "CANCELLED by 0"
        job = Job(state=word, reason=reason, elapsed=elapsed, limit=limit, nodes=nodes)
        jobs.update(dict.fromkeys(_tasks(job_id), job))
    return jobs


def _tasks(job_id: str) -> Iterator[str]:
    """The ids in one such as `12_[0-2,5%4]`, which sacct prints for tasks that never started."""
    several = re.fullmatch(r"(\d+)_\[([\d,-]+)(?:%\d+)?\]", job_id)
    if several is None:
        yield job_id
        return
    for part in several[2].split(","):
        first, _, last = part.partition("-")
        yield from (f"{several[1]}_{task}" for task in range(int(first), int(last or first) + 1))


def remembered(study: Study) -> Answer:
    """SLURM's last answer, of any age; ``NEVER_ASKED`` if there is none."""
    try:
        return read_record(study.answer, Answer) or NEVER_ASKED
    except InputError:  # written by another version
        return NEVER_ASKED


def _remember(study: Study, answer: Answer) -> None:
    with suppress(OSError):
        write_record(study.answer, answer, durable=False)


@contextmanager
def _shared(study: Study) -> Iterator[None]:
    """Held while SLURM is asked, so that several shells ask once."""
    with ExitStack() as stack:
        with suppress(OSError):  # a full or read-only disk: each shell asks
            stack.enter_context(held(study.slurm / "answer.lock", "another command that asks SLURM"))
        yield


def command(*words: str, seconds: float = COMMAND_SECONDS, no_failure: str | None = None) -> str | None:
    """The output of a SLURM command; None if it is not installed, fails, or does not answer in time.

    An error whose message contains `no_failure` is an answer too.
    """
    try:
        done = _run(words, seconds)
    except (OSError, subprocess.SubprocessError):
        return None
    answered = done.returncode == 0 or (no_failure is not None and no_failure in done.stderr)
    return done.stdout if answered else None


def _run(words: Sequence[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    patience = Timer(PATIENCE_SECONDS, print, (f"waiting for SLURM's {words[0]}",), {"file": sys.stderr})
    patience.start()
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=without_filters(os.environ),
        )
    finally:
        patience.cancel()


def answers() -> bool:
    """Whether a controller is up: answers in milliseconds, while other commands retry for long."""
    return re.search(r"\bis UP\b", command("scontrol", "ping") or "") is not None


def is_configured() -> bool:
    """Whether a cluster is configured for SLURM's commands, up or not."""
    try:
        done = _run(("scontrol", "ping"), COMMAND_SECONDS)
    except FileNotFoundError:
        return False
    except (OSError, subprocess.SubprocessError):
        return True
    return re.search(r"configuration source|configuration file|slurm\.conf", done.stderr) is None


def setting(config: str, key: str) -> str | None:
    """A value in the output of `scontrol show config`."""
    for line in config.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == key:
            return value.strip()
    return None
