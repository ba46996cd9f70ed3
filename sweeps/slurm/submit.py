"""Submits runs to SLURM through submitit: one array per profile, split at the cluster's MaxArraySize.

Crash-safe: the array's file and every run's submission.json are written before sbatch is called. sbatch
inherits the study's lock, so that no other command settles a submission that is still under way; and a job
whose run has been submitted again since leaves that run alone.
"""

import os
import re
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from parcae.errors import InputError, WorkFailed
from sweeps.folders.paths import Study
from sweeps.folders.records import Array, Submission, write_record
from sweeps.runs.environment import cleaned
from sweeps.runs.profile import Profile
from sweeps.runs.states import State
from sweeps.slurm import scheduler
from sweeps.slurm.arrays import PREFIX, Submissions, read_arrays
from sweeps.slurm.job import RunJob

DEFAULT_ARRAY_SIZE = 1_001  # SLURM's own MaxArraySize
# A signal that arrives while Python starts, before the job has its handler, must not end the job.
IGNORING_SIGNALS = """/bin/sh -c 'trap "" USR2; exec "$0" "$@"'"""
FIRST_SECONDS = 5  # of a job, in which no signal is sent
TIMEOUTS_ALLOWED = 1_000_000  # a run is requeued as often as necessary


def is_available() -> bool:
    """Whether sbatch is installed and a cluster configured. ``WorkFailed`` if its controller does not answer.

    While a cluster is down for a minute, a sweep must not be started on the login node instead.
    """
    if shutil.which("sbatch") is None:
        return False
    if scheduler.answers():
        return True
    if scheduler.is_configured():
        raise WorkFailed(
            "sbatch is installed but SLURM does not answer; try again when it does, or use --cluster local"
        )
    return False


def array_size() -> int:
    """The largest number of runs in one array on this cluster."""
    config = scheduler.command("scontrol", "show", "config") if scheduler.answers() else None
    most = int(scheduler.setting(config or "", "MaxArraySize") or DEFAULT_ARRAY_SIZE)
    limit = re.search(r"max_array_tasks=(\d+)", scheduler.setting(config or "", "SchedulerParameters") or "")
    return max(1, min(most, int(limit[1])) if limit else most)


def script(study: Study, profile: Profile, runs: int) -> str:
    """The script that sbatch would get for `runs` runs of one profile."""
    executor = _executor(study, profile, PREFIX + uuid.uuid4().hex[:16], throttle=_most(profile, runs))
    if runs > 1:
        executor.parameters["map_count"] = runs
    text: str = executor._make_submission_file_text(executor._submitit_command_str, "")
    return text


def submit(study: Study, groups: Mapping[Profile, Sequence[str]], lock: int) -> None:
    """Submits runs, given by profile. ``WorkFailed`` says why SLURM refused.

    `lock` is the descriptor of the study's lock, which the caller holds.
    """
    if any(groups.values()) and not scheduler.answers():
        raise WorkFailed("SLURM does not answer, so nothing was submitted; try again when it does")
    study.slurm.mkdir(parents=True, exist_ok=True)
    size, queued = array_size(), 0
    for profile, run_ids in groups.items():
        for start in range(0, len(run_ids), size):
            chunk = run_ids[start : start + size]
            try:
                _submit_array(study, profile, chunk, lock)
            except WorkFailed as error:
                raise WorkFailed(f"{error} ({queued} runs were queued before that)") from error
            queued += len(chunk)


def _submit_array(study: Study, profile: Profile, run_ids: Sequence[str], lock: int) -> None:
    import submitit

    throttle, after = _room(study, profile, len(run_ids))
    array = Array(
        name=PREFIX + uuid.uuid4().hex[:16],
        run_ids=tuple(run_ids),
        sent_at=time.time(),
        job_id=None,
        throttle=throttle,
        devices=profile.devices,
        owner=study.identity,
    )
    write_record(study.array(array.name), array)
    before = _to_be_changed(study, run_ids)
    for task, run_id in enumerate(run_ids):
        folder = study.run(run_id)
        write_record(folder.submission, Submission(array=array.name, task=task), durable=False)
        folder.failure.unlink(missing_ok=True)
        folder.cancelled.unlink(missing_ok=True)
    executor = _executor(study, profile, array.name, throttle, after)
    try:
        with cleaned(), _inherited(lock), redirect_stderr(StringIO()), executor.batch():
            jobs = [executor.submit(_job(study, profile, array.name, run_id)) for run_id in run_ids]
    except submitit.core.utils.FailedJobError as error:
        study.array(array.name).unlink()
        _remove_unsent(study)
        for path, content in before.items():
            path.write_bytes(content)
        raise WorkFailed(f"sbatch refused the runs: {' '.join(str(error).split())}") from error
    write_record(study.array(array.name), replace(array, job_id=jobs[0].job_id.split("_")[0]))


def _to_be_changed(study: Study, run_ids: Sequence[str]) -> dict[Path, bytes]:
    """The files that record failures, cancellations and earlier submissions of these runs."""
    folders = [study.run(run_id) for run_id in run_ids]
    files = [path for folder in folders for path in (folder.failure, folder.cancelled, folder.submission)]
    return {path: path.read_bytes() for path in files if path.exists()}


def _remove_unsent(study: Study) -> None:
    """Deletes submitit's files of jobs that were never submitted."""
    for path in [*study.slurm.glob("*.pkl"), *study.slurm.glob(".submission_file_*.sh")]:
        if re.fullmatch(r"[0-9a-f]{32}\.pkl|\.submission_file_[0-9a-f]{32}\.sh", path.name) and (
            not path.is_symlink()
        ):
            path.unlink()


def _job(study: Study, profile: Profile, array: str, run_id: str) -> RunJob:
    return RunJob(
        folder=str(study.run(run_id).path),
        array=array,
        processes=profile.processes,
        gpus=profile.gpus_per_node,
        execution=profile.execution,
    )


def _executor(study: Study, profile: Profile, name: str, throttle: int, after: Sequence[str] = ()) -> Any:
    """submitit's executor for arrays of one profile."""
    import submitit

    class Executor(submitit.SlurmExecutor):
        @classmethod
        def affinity(cls) -> int:  # a dry run needs no SLURM
            return 1

        @property
        def _submitit_command_str(self) -> str:
            return f"{self.python} -u -m sweeps.slurm.start {shlex.quote(str(self.folder))}"

        def _internal_process_submissions(self, delayed_submissions: list[Any]) -> list[Any]:
            self.usual = os.umask(0o077)  # nobody else may write a pickle, which is code
            try:
                jobs: list[Any] = super()._internal_process_submissions(delayed_submissions)
                return jobs
            finally:
                os.umask(self.usual)

        def _submit_command(self, command: str) -> Any:
            os.umask(self.usual)  # sbatch hands it to the job, whose results others may read
            try:
                return super()._submit_command(command)
            finally:
                os.umask(0o077)

    # -P: nothing in the working folder is imported, such as a user's own sweeps.py
    python = f"{IGNORING_SIGNALS} {profile.python or shlex.quote(sys.executable)} -P"
    executor = Executor(folder=study.slurm, max_num_timeout=TIMEOUTS_ALLOWED, python=python)
    container = [f"--container-image={profile.container}"] if profile.container else []
    memory = profile.memory_gb_per_node
    parameters = {
        "job_name": name,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "time": profile.time_minutes,
        "nodes": profile.nodes,
        "ntasks_per_node": profile.tasks_per_node,
        "cpus_per_task": profile.cpus_per_task,
        "gpus_per_node": profile.gpus_per_node or None,
        "mem": None if memory is None else f"{round(memory * 1024)}M",
        "setup": list(profile.setup) or None,
        "dependency": f"afterany:{':'.join(after)}" if after else None,
    }
    executor.update_parameters(
        **{key: value for key, value in parameters.items() if value is not None},
        signal_delay_s=min(profile.signal_seconds, 60 * profile.time_minutes - FIRST_SECONDS),
        array_parallelism=throttle,
        stderr_to_stdout=True,
        # Since SLURM 22.05 srun no longer takes --cpus-per-task from sbatch. If one process of a run dies,
        # the others must end rather than wait for it.
        srun_args=[
            f"--cpus-per-task={profile.cpus_per_task}",
            "--kill-on-bad-exit=1",
            *container,
            *profile.srun_arguments,
        ],
        additional_parameters={"requeue": True},
    )
    return executor


def _most(profile: Profile, runs: int) -> int:
    return min(runs, profile.concurrent // profile.devices if profile.concurrent else runs)


def _room(study: Study, profile: Profile, runs: int) -> tuple[int, list[str]]:
    """How many of `runs` may run at once, and the arrays that must end before any of them starts."""
    if profile.concurrent is None:
        return runs, []
    active = [(array, count) for array, count in _active_arrays(study) if array.job_id]
    held = sum(min(array.throttle, count) * array.devices for array, count in active)
    room = (profile.concurrent - held) // profile.devices
    if room >= 1:
        return min(room, runs), []
    return _most(profile, runs), [array.job_id for array, _ in active if array.job_id]


def _active_arrays(study: Study) -> list[tuple[Array, int]]:
    """Arrays with queued or running runs, and the number of those."""
    submissions = Submissions(study, list(study.run_ids()))
    active = []
    for array in read_arrays(study).values():
        count = 0
        for run_id in array.run_ids:
            folder = study.run(run_id)
            if folder.result.exists() or folder.failure.exists() or folder.cancelled.exists():
                continue
            handed_over = submissions.job(folder)
            is_latest = handed_over is not None and handed_over[0].name == array.name
            count += is_latest and submissions(folder).state in (State.QUEUED, State.RUNNING, State.UNKNOWN)
        if count:
            active.append((array, count))
    return active


@contextmanager
def _inherited(lock: int) -> Iterator[None]:
    """Makes `lock` this process's standard input, which every child inherits, however it is started."""
    before = os.dup(0)
    os.dup2(lock, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def settle(study: Study) -> None:
    """Completes or undoes submissions that were interrupted: arrays without a job id.

    Called with the study's lock held, so that none of them is under way. A task whose pickle submitit had
    written is kept; one without it would wait for it in vain, so it is cancelled and its run is planned
    again. ``WorkFailed`` if SLURM cannot be asked: then nothing changes.
    """
    for array in read_arrays(study).values():
        if array.job_id is None:
            job_id = _sent_as(study, array)
            if job_id is None:
                study.array(array.name).unlink()
            else:
                _adopt(study, replace(array, job_id=job_id))


def _sent_as(study: Study, array: Array) -> str | None:
    """The job id of an array, or None if SLURM never received it.

    A job that has left squeue without a script of submitit's never had a pickle, and so never touched a run.
    """
    for path in study.slurm.glob("*_submission.sh"):
        if f"--job-name={array.name}\n" in path.read_text():
            return path.name.removesuffix("_submission.sh")
    printed = scheduler.command("squeue", "--noheader", "--states=all", "--format=%F", f"--name={array.name}")
    if printed is None:  # no answer, rather than no job
        raise WorkFailed("a submission was interrupted, and SLURM does not answer; try again later")
    ids = set(printed.split())
    return ids.pop() if ids else None


def _adopt(study: Study, array: Array) -> None:
    jobs = {run_id: array.job(task) for task, run_id in enumerate(array.run_ids)}
    idle = [run for run, job in jobs.items() if not (study.slurm / f"{job}_submitted.pkl").exists()]
    cancel_jobs([str(jobs[run_id]) for run_id in idle])
    for run_id in idle:
        study.run(run_id).submission.unlink(missing_ok=True)
    write_record(study.array(array.name), array)


def cancel_jobs(jobs: Sequence[str]) -> None:
    """Cancels jobs. ``WorkFailed`` if SLURM does not answer. A job that has already ended is no error."""
    if jobs and not scheduler.answers():
        raise WorkFailed("SLURM does not answer, so its jobs cannot be cancelled; try again later")
    for start in range(0, len(jobs), 500):
        scheduler.command("scancel", "--quiet", *jobs[start : start + 500])


def check_cap(groups: Mapping[Profile, Sequence[str]]) -> None:
    """``InputError`` if all runs together could use more device hours than any of their profiles allows."""
    hours = sum(len(run_ids) * profile.device_hours for profile, run_ids in groups.items())
    caps = [profile.gpu_hours_cap for profile in groups if profile.gpu_hours_cap is not None]
    if caps and hours > min(caps):
        devices = " and ".join(sorted({f"{profile.device}-hours" for profile in groups}))
        raise InputError(
            f"cannot submit {sum(map(len, groups.values()))} runs: their time limits of {hours:,.6g} "
            f"{devices} are more than gpu_hours_cap = {min(caps):g}; lower time_minutes, plan less, "
            "or raise the cap"
        )
