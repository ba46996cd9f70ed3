"""SLURM through submitit: arrays of runs, requeued from their checkpoints when preempted or out of time.

Submission is crash-safe: an intent with the job's name is in every run folder before sbatch is called, and
`settle` finds out by that name what became of an intent that no job id was written to.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.errors import WorkFailed
from sweeps.paths import RunFolder, Study, read_json, write_json
from sweeps.states import State, Status

JOB_NAME = "parcae-"
TIME_MINUTES = 24 * 60
MAX_ARRAY_SIZE = 1_000  # SLURM's default is 1,001, the highest index one below
COMMAND_SECONDS = 60
SUBMISSION_SECONDS = 5.0  # sbatch may outlive the process that called it by this long

_STATES = {
    "PENDING": State.QUEUED,
    "CONFIGURING": State.QUEUED,
    "REQUEUED": State.QUEUED,
    "REQUEUE_HOLD": State.QUEUED,
    "REQUEUE_FED": State.QUEUED,
    "SPECIAL_EXIT": State.QUEUED,
    "SUSPENDED": State.QUEUED,
    "PREEMPTED": State.QUEUED,
    "RUNNING": State.RUNNING,
    "COMPLETING": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "STOPPED": State.RUNNING,
    "TIMEOUT": State.TIMED_OUT,
    "CANCELLED": State.CANCELLED,
    "COMPLETED": State.FAILED,
    "FAILED": State.FAILED,
    "NODE_FAIL": State.FAILED,
    "BOOT_FAIL": State.FAILED,
    "DEADLINE": State.FAILED,
    "OUT_OF_MEMORY": State.FAILED,
}
_WORDS = {
    "COMPLETED": "the job ended without leaving a result",
    "FAILED": "the job failed without saying why",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "out of memory",
    "TIMEOUT": "out of time",
}


def is_available() -> bool:
    """Whether sbatch is here and a controller answers."""
    if shutil.which("sbatch") is None:
        return False
    return _ask(["sinfo", "--noheader"]) is not None


@dataclass(frozen=True)
class RunJob:
    """What SLURM runs: one run, checkpointed and requeued by submitit when it is told to leave."""

    folder: str
    threads: int

    def __call__(self) -> str:
        """The run's id once it has ended; does not return when the job is requeued or cancelled."""
        from sweeps.worker import STOPPED, run

        requeue: Any = signal.getsignal(signal.SIGUSR2)  # submitit's handler
        received: list[int] = []
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, lambda number, frame: received.append(number))
        folder = RunFolder(Path(self.folder))
        if run(folder, stop=lambda: bool(received), threads=self.threads):
            return folder.run_id
        if signal.SIGUSR2 in received:
            requeue(signal.SIGUSR2, None)
        raise SystemExit(STOPPED)

    def checkpoint(self) -> Any:
        """submitit's protocol: what to run when the job is requeued."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(study: Study, run_ids: Sequence[str]) -> None:
    """Queues runs as job arrays. ``WorkFailed`` says why SLURM refused."""
    import submitit

    study.slurm.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(run_ids), MAX_ARRAY_SIZE):
        chunk = run_ids[start : start + MAX_ARRAY_SIZE]
        name = JOB_NAME + uuid.uuid4().hex[:16]
        for run_id in chunk:
            folder = study.run(run_id)
            folder.failure.unlink(missing_ok=True)
            folder.cancelled.unlink(missing_ok=True)
            write_json(folder.submission, _intent(name, None))
        executor = submitit.SlurmExecutor(folder=study.slurm)
        executor.update_parameters(
            job_name=name,
            time=TIME_MINUTES,
            cpus_per_task=1,
            srun_args=["--cpus-per-task=1"],
            stderr_to_stdout=True,
            array_parallelism=len(chunk),
        )
        try:
            with _clean_environment():
                jobs = _send(executor, study, chunk)
        except submitit.core.utils.FailedJobError as error:
            for run_id in chunk:
                study.run(run_id).submission.unlink(missing_ok=True)
            raise WorkFailed(f"sbatch refused the runs: {' '.join(str(error).split())}") from error
        for run_id, job in zip(chunk, jobs, strict=True):
            write_json(study.run(run_id).submission, _intent(name, job))


def _send(executor: Any, study: Study, run_ids: Sequence[str]) -> list[str]:
    with executor.batch():
        jobs = [executor.submit(RunJob(str(study.run(run_id).path), threads=1)) for run_id in run_ids]
    return [job.job_id for job in jobs]


def _intent(name: str, job_id: str | None) -> dict[str, Any]:
    return {"cluster": "slurm", "job_name": name, "job_id": job_id, "at": time.time()}


@contextmanager
def _clean_environment() -> Iterator[None]:
    """Keeps the submitting shell's own job out of the new ones, but not which cluster to talk to."""
    mine = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith(("SLURM_", "SBATCH_", "SRUN_")) and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(mine)


def settle(study: Study, run_ids: Sequence[str]) -> None:
    """Finds out what became of submissions that were cut short, for runs whose intent has no job id.

    A job whose work submitit had written down is adopted; one that would wait for it in vain is cancelled,
    and its run is planned again. ``WorkFailed`` where SLURM cannot be asked: then nothing is touched.
    """
    open_intents = {}
    for run_id in run_ids:
        submission = read_json(study.run(run_id).submission)
        if submission is not None and submission.get("job_id") is None:
            open_intents[run_id] = submission
    if not open_intents:
        return
    youngest = max(intent["at"] for intent in open_intents.values())
    time.sleep(min(SUBMISSION_SECONDS, max(0.0, youngest + SUBMISSION_SECONDS - time.time())))
    names = ",".join(sorted({intent["job_name"] for intent in open_intents.values()}))
    answer = _ask(["squeue", "--noheader", "--array", "--format=%i|%j", f"--name={names}"])
    if answer is None:
        raise WorkFailed("a submission was cut short and SLURM does not answer to settle it; try again later")
    adopted: dict[str, str] = {}
    for line in answer.splitlines():
        job_id, _ = line.split("|")
        pickled = study.slurm / f"{job_id}_submitted.pkl"
        pickled_run = _pickled_run(pickled)
        if pickled_run is None:
            _ask(["scancel", job_id])
        else:
            adopted[pickled_run] = job_id
    for pickled in study.slurm.glob("*_submitted.pkl"):  # jobs that have ended since
        ended = _pickled_run(pickled)
        if ended is None or ended not in open_intents or ended in adopted:
            continue
        if pickled.stat().st_mtime >= open_intents[ended]["at"]:
            adopted[ended] = pickled.name.removesuffix("_submitted.pkl")
    for run_id, intent in open_intents.items():
        folder = study.run(run_id)
        if run_id in adopted:
            write_json(folder.submission, {**intent, "job_id": adopted[run_id]})
        else:
            folder.submission.unlink(missing_ok=True)


def _pickled_run(path: Path) -> str | None:
    """The run that a pickle of submitit's holds."""
    from submitit.core.utils import DelayedSubmission

    try:
        job: Any = DelayedSubmission.load(path).function
        return RunFolder(Path(job.folder)).run_id
    except (OSError, EOFError):
        return None


def job_states(study: Study) -> Mapping[str, Status]:
    """Job id -> state, for every job of this study that SLURM still knows of."""
    states: dict[str, Status] = {}
    history = _ask(
        [
            "sacct",
            "--noheader",
            "--allocations",
            "--array",
            "--parsable2",
            "--format=JobID,State",
            "--starttime=now-30days",
        ]
    )
    queue = _ask(["squeue", "--noheader", "--array", "--format=%i|%T"])
    for answer in (history, queue):
        for line in (answer or "").splitlines():
            job_id, word = line.split("|")
            word = word.split()[0].rstrip("+")  # "CANCELLED by 0"
            state = _STATES.get(word, State.UNKNOWN)
            reason = _WORDS.get(word) or (f"SLURM says {word}" if state is State.UNKNOWN else None)
            states[job_id] = Status(state, reason)
    return states


def _ask(command: list[str]) -> str | None:
    """What a SLURM command prints; None if it is not here, fails, or does not answer in time."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout
