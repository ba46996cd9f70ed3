"""Job arrays: the SLURM job and task of each run.

An array's file is written without a job id before sbatch is called, and again with the id that sbatch
returned. The run folder names the array and the task. Deleting the array's file undoes the whole submission.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property

from parcae.errors import InputError
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import Array, Attempt, Submission, read_lines, read_record
from sweeps.runs.logs import job_logs, tells_of_memory
from sweeps.runs.states import State, Status
from sweeps.slurm import scheduler

PREFIX = "parcae-"


def read_arrays(study: Study) -> dict[str, Array]:
    """All arrays of the study, by name, but those whose files cannot be read or came with a copy."""
    arrays = {}
    for path in study.slurm.glob(f"{PREFIX}*.json"):
        with suppress(InputError):
            array = read_record(path, Array)
            if array is not None and _is_own(study, array):
                arrays[path.stem] = array
    return arrays


def _is_own(study: Study, array: Array) -> bool:
    return array.owner is None or study.is_own(array.owner)


class _OfAnotherStudy(InputError):
    """A run folder was copied with its submission."""


class Submissions:
    """The submissions of runs to SLURM and their states, as of now. Asks SLURM if necessary."""

    def __init__(self, study: Study, run_ids: Iterable[str] | None = None) -> None:
        """`run_ids` are all runs whose state may be needed, by default those of all arrays that have not
        ended: SLURM is asked about all of them at once."""
        self.study = study
        self._run_ids = run_ids
        self.answer: scheduler.Answer | None = None

    def ask(self) -> None:
        """Asks SLURM now rather than when the first state is needed."""
        if self.answer is None and (jobs := self._jobs()):
            self.answer = scheduler.ask(self.study, jobs)

    def job(self, folder: RunFolder) -> tuple[Array, str | None] | None:
        """The array and the job id of a run; None if it was not submitted to SLURM or that is unreadable."""
        with suppress(InputError):
            return self._handed_over(folder)
        return None

    def _handed_over(self, folder: RunFolder) -> tuple[Array, str | None] | None:
        submission = read_record(folder.submission, Submission)
        if submission is None:
            return None
        array = self.arrays.get(submission.array)
        if array is None:  # unreadable, of another study, or written just now
            array = read_record(self.study.array(submission.array), Array)
            if array is None:
                return None
            if not _is_own(self.study, array):
                where = (array.owner or "").partition(" ")[2]
                raise _OfAnotherStudy(
                    f"it was submitted to SLURM from {where}; this copy of the study owns none of its jobs"
                )
        if array.run_ids[submission.task : submission.task + 1] != (folder.run_id,):
            raise InputError(f"{folder.submission} is that of another run")
        return array, array.job(submission.task)

    def jobs_ever(self, run_id: str) -> list[str | None]:
        """Every job of the run so far, for when its folder does not name one."""
        return self._jobs_ever.get(run_id, [])

    @cached_property
    def arrays(self) -> Mapping[str, Array]:
        return read_arrays(self.study)

    @cached_property
    def _jobs_ever(self) -> Mapping[str, list[str | None]]:
        ever: dict[str, list[str | None]] = {}
        for array in self.arrays.values():
            for task, run_id in enumerate(array.run_ids):
                ever.setdefault(run_id, []).append(array.job(task))
        return ever

    def __call__(self, folder: RunFolder) -> Status:
        """The state of a run from SLURM's answer and from what the run has logged since. ``InputError`` if
        its files do not say what was submitted."""
        try:
            handed_over = self._handed_over(folder)
        except _OfAnotherStudy as found:
            return Status(State.PLANNED, str(found))
        if handed_over is None:
            return Status(State.PLANNED)
        array, job = handed_over
        if job is None:
            return Status(
                State.UNKNOWN,
                "its submission is under way or was interrupted; `parcae-sweep submit` settles it",
            )
        if self.answer is None:
            self.answer = scheduler.ask(self.study, self._jobs())
        if array.sent_at > self.answer.asked_at:
            return Status(State.QUEUED)  # sbatch accepted it, and SLURM was not asked since
        attempts = [attempt for attempt in read_lines(folder.attempts, Attempt) if attempt.job == job]
        if attempts and attempts[-1].at > self.answer.asked_at:
            if attempts[-1].event == "requeued":
                return Status(State.QUEUED)
            if attempts[-1].event == "cancelled":
                return Status(State.CANCELLED, "its job was cancelled in SLURM")
        status = self.answer.status(job)
        if status.state is State.FAILED and tells_of_memory(job_logs(self.study.slurm, job)):
            return Status(State.FAILED, "out of memory: SLURM killed its job; see memory_gb_per_node")
        return status

    def _jobs(self) -> dict[str, float]:
        jobs = {}
        for run_id in filter(self._may_ask, self._jobs_ever) if self._run_ids is None else self._run_ids:
            handed_over = self.job(self.study.run(run_id))
            if handed_over is not None and handed_over[1] is not None:
                jobs[handed_over[1]] = handed_over[0].sent_at
        return jobs

    def _may_ask(self, run_id: str) -> bool:
        """Whether the files of a run leave its state open."""
        folder = self.study.run(run_id)
        return not (folder.result.exists() or folder.failure.exists() or folder.cancelled.exists())
