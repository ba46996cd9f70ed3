"""What a SLURM task runs: one run of the array that is its run's submission of record.

With several tasks a run, all train it together and all get the signals; the first alone holds the run's
lock, writes its files and asks to be requeued.
"""

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from parcae.config import ExecutionConfig
from parcae.errors import WorkFailed
from sweeps.folders.paths import RunFolder
from sweeps.folders.records import Submission, read_record
from sweeps.runs.worker import STOPPED, attend, log_attempt, record_failure, run
from sweeps.slurm import scheduler

FILE_SECONDS = 10.0
"""A network file system may show a file to another node this late."""
REQUEUE_SECONDS = 600.0
"""How long a run that must leave goes on asking a controller that is silent to requeue it."""


@dataclass(frozen=True, kw_only=True)
class RunJob:
    """The callable that submitit unpickles in every task of the job."""

    folder: str
    array: str
    """The array that this job belongs to. A run whose submission names another one is not this job's."""
    processes: int
    gpus: int
    """GPUs a node."""
    execution: ExecutionConfig
    """Of each task; its threads are the cores that the task asks for."""

    def __call__(self) -> str:
        """Returns the run's id when there is nothing left to do; does not return when it must go on later."""
        received: list[int] = []
        for number in (signal.SIGUSR2, signal.SIGTERM):
            signal.signal(number, lambda number, frame: received.append(number))
        folder = RunFolder(Path(self.folder))
        if not self._is_of_record(folder):
            print(f"run {folder.run_id} was handed over anew since; this job leaves it alone")
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
            submission = read_record(folder.submission, Submission)
            if submission is not None and submission.array == self.array:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)

    def _check_allocation(self) -> None:
        """``WorkFailed`` unless this task has what was asked for: a run must not crawl along unnoticed."""
        cores = len(os.sched_getaffinity(0))
        if cores < self.execution.threads:
            raise WorkFailed(
                f"SLURM gave this task {cores} of the {self.execution.threads} cores that it asked for; "
                "see srun_arguments and cpus_per_task in cluster.toml"
            )
        processes = int(os.environ.get("SLURM_STEP_NUM_TASKS", os.environ.get("SLURM_NTASKS", "1")))
        if processes != self.processes:
            raise WorkFailed(f"SLURM started {processes} of the {self.processes} tasks that it was asked for")
        if self.gpus:
            import torch

            gpus = torch.cuda.device_count()
            if gpus not in (1, self.gpus):  # each task is shown its own, or all of the node's
                raise WorkFailed(
                    f"SLURM gave this task {gpus} of the {self.gpus} GPUs a node that it asked for; "
                    "see gpus_per_node and setup in cluster.toml"
                )


def own_job_id() -> str:
    """The id of the job that this process is in, as squeue --array prints it."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _leave(folder: RunFolder, job: str, received: list[int]) -> None:
    """Has the job requeued, unless it was cancelled or SLURM does so by itself.

    SIGUSR2 is SLURM's word that time is up or the job preempted. SIGTERM comes with each end that SLURM puts
    to a job, so SLURM is asked which one it is.
    """
    if signal.SIGUSR2 not in received:
        state = _state(job)
        if state == "CANCELLED":
            log_attempt(folder, "cancelled", job=job)
            return
        if state not in ("RUNNING", "TIMEOUT", "PREEMPTED", "TimeLimit"):  # silent, or back to the queue
            log_attempt(folder, "stopped", job=job)
            return
    log_attempt(folder, "requeued", job=job)
    deadline = time.monotonic() + REQUEUE_SECONDS
    while scheduler.command("scontrol", "requeue", job) is None and time.monotonic() < deadline:
        time.sleep(1.0)


def _state(job: str) -> str | None:
    """In SLURM's word. A job at its end is COMPLETING whatever ends it; then the reason, if there is one."""
    shown = scheduler.command("scontrol", "--oneliner", "show", "job", job) or ""
    state, reason = (re.search(rf"\b{key}=(\w+)", shown) for key in ("JobState", "Reason"))
    if state and reason and state[1] == "COMPLETING" and reason[1] != "None":
        return reason[1]
    return state[1] if state else None
