"""What a SLURM task executes: one run, if its latest submission is the task's array.

With several tasks per run, all train it together and all get the signals; only the first holds the run's
lock, writes its files and asks to be requeued.
"""

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from parcae.config import ExecutionConfig
from parcae.errors import InputError, WorkFailed
from sweeps.folders.paths import RunFolder
from sweeps.folders.records import Submission, read_record
from sweeps.runs.environment import import_safely
from sweeps.runs.worker import STOPPED, attend, log_attempt, record_failure, run
from sweeps.slurm import scheduler

FILE_SECONDS = 10.0
"""A file may appear on other nodes of a network file system this much later."""
REQUEUE_SECONDS = 600.0
"""How long a run that must stop keeps asking a controller that does not answer to requeue it."""


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """The callable that submitit unpickles in every task of the job."""

    folder: str
    array: str
    """The array of this job. A run whose latest submission names another array is left alone."""
    processes: int
    gpus: int
    """GPUs per node."""
    execution: ExecutionConfig
    """Of each task; its threads are the cores that the task requests."""

    def __call__(self) -> str:
        """Returns the run's id if nothing is left to do; exits if the run must be resumed later."""
        import_safely()
        received: list[int] = []
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, lambda number, frame: received.append(number))
        folder = RunFolder(Path(self.folder))
        if not self._is_of_record(folder):
            print(f"run {folder.run_id} was submitted again since; this job leaves it alone")
            return folder.run_id
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        try:
            self._check_allocation()
        except WorkFailed as error:
            record_failure(folder, error)
            raise
        if not first:
            attend(folder, self.execution, stop=lambda: bool(received))
            return folder.run_id
        job = own_job_id()
        if run(folder, self.execution, stop=lambda: bool(received), processes=self.processes, job=job):
            return folder.run_id
        _leave(folder, job, received)
        raise SystemExit(STOPPED)

    def _is_of_record(self, folder: RunFolder) -> bool:
        deadline = time.monotonic() + FILE_SECONDS
        while True:
            with suppress(InputError):
                submission = read_record(folder.submission, Submission)
                if submission is not None and submission.array == self.array:
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)

    def _check_allocation(self) -> None:
        """``WorkFailed`` unless this task has what it requested: a run must not be slow unnoticed."""
        cores = len(os.sched_getaffinity(0))
        if cores < self.execution.threads:
            raise WorkFailed(
                f"SLURM gave this task {cores} of the {self.execution.threads} cores that it requested; "
                "see srun_arguments and cpus_per_task in cluster.toml"
            )
        processes = int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS", "1")))
        if processes != self.processes:
            raise WorkFailed(f"SLURM started {processes} of the {self.processes} tasks that were requested")
        if self.gpus:
            import torch

            gpus = torch.cuda.device_count()
            if gpus not in (1, self.gpus):  # a task sees its own GPU or all of the node
                raise WorkFailed(
                    f"SLURM gave this task {gpus} of the {self.gpus} GPUs per node that it requested; "
                    "see gpus_per_node and setup in cluster.toml"
                )


def own_job_id() -> str:
    """The id of the job that this process is in, as squeue --array prints it."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _leave(folder: RunFolder, job: str, received: list[int]) -> None:
    """Has the job requeued, unless it was cancelled or SLURM requeues it.

    SIGUSR2 means that time is up or the job is preempted. SIGTERM is sent whenever SLURM ends a job, so SLURM
    is asked for the reason.
    """
    if signal.SIGUSR2 not in received:
        state = _state(job)
        if state == "CANCELLED":
            log_attempt(folder, "cancelled", job=job)
            return
        if state not in ("RUNNING", "TIMEOUT", "PREEMPTED", "TimeLimit"):  # no answer, or requeued by SLURM
            log_attempt(folder, "stopped", job=job)
            return
    log_attempt(folder, "requeued", job=job)
    deadline = time.monotonic() + REQUEUE_SECONDS
    while scheduler.command("scontrol", "requeue", job) is None and time.monotonic() < deadline:
        time.sleep(1.0)


def _state(job: str) -> str | None:
    """The state in SLURM's terms; for a COMPLETING job, the reason of its end if it is known."""
    shown = scheduler.command("scontrol", "--oneliner", "show", "job", job) or ""
    state, reason = (re.search(rf"\b{key}=(\w+)", shown) for key in ("JobState", "Reason"))
    if state and reason and state[1] == "COMPLETING" and reason[1] != "None":
        return reason[1]
    return state[1] if state else None
