"""This machine as a cluster of slots: a supervisor process that starts the runs in `runs/queue`.

The supervisor outlives the command that started it; a lock ensures that a study has only one. If it is
killed, the next `submit` starts another: runs that are still training hold their locks, keep their slots, and
are not started twice.
"""

import argparse
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from parcae.errors import InputError, WorkFailed
from sweeps.folders.locks import is_locked, owned
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import Failure, QueueEntry, json_or_none, read_record, write_record
from sweeps.runs.environment import outside_a_job
from sweeps.runs.logs import tail
from sweeps.runs.profile import Profile
from sweeps.runs.worker import STOPPED, work

POLL_SECONDS = 0.2
START_POLL_SECONDS = 0.02
LOOK_SECONDS = 1.0
ATTEMPTS = 3
"""How often a run may die, without an error or progress, before it counts as failed."""


def default_slots() -> int:
    """One slot per GPU that this process may use; without GPUs, one per core."""
    return len(visible_gpus()) or len(os.sched_getaffinity(0))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
    return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]


def enqueue(study: Study, groups: Mapping[Profile, Iterable[str]]) -> None:
    """Queues runs on this machine, to be executed as their profiles say, with one thread each.

    Records of earlier failures and cancellations are deleted.
    """
    study.queue.mkdir(parents=True, exist_ok=True)
    for profile, run_ids in groups.items():
        entry = QueueEntry(execution=replace(profile.execution, threads=1))
        for run_id in run_ids:
            folder = study.run(run_id)
            for stale in (folder.failure, folder.cancelled, folder.submission):
                stale.unlink(missing_ok=True)
            write_record(study.queue / run_id, entry, durable=False)


class Keeper:
    """Keeps a supervisor alive while runs are queued, if it is called repeatedly."""

    def __init__(self, study: Study, slots: int) -> None:
        self.study = study
        self.slots = slots
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> None:
        """Starts a supervisor unless one is alive or nothing is queued.

        ``WorkFailed`` if it ends with an error; one that was killed is started again.
        """
        self._check()
        if is_locked(self.study.supervisor_lock) or not _queued(self.study):
            return
        with self.study.supervisor_log.open("a") as log:
            self.process = subprocess.Popen(
                # -P: nothing in the working folder is imported, such as a user's own sweeps.py
                [
                    *(sys.executable, "-P", "-m", "sweeps.local.supervisor"),
                    *(str(self.study.db.absolute()), "--slots", str(self.slots)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=outside_a_job(os.environ, keep_gpus=True),
            )
        while self.process.poll() is None and not is_locked(self.study.supervisor_lock):
            time.sleep(START_POLL_SECONDS)
        self._check()

    def _check(self) -> None:
        code = self.process.poll() if self.process else None
        if code not in (None, 0, -signal.SIGKILL, -signal.SIGTERM):
            last = "".join(tail(self.study.supervisor_log, 1))
            raise WorkFailed(
                f"the supervisor, which starts queued runs on this machine, failed with {_in_words(code)}"
                f"{f' ({last})' if last else ''}; its output is in {self.study.supervisor_log}"
            )


def _in_words(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def _queued(study: Study) -> list[str]:
    """Queued runs, the oldest first."""
    files = []
    with suppress(FileNotFoundError), os.scandir(study.queue) as entries:
        for entry in entries:
            if entry.name[0] != ".":
                with suppress(FileNotFoundError):  # cancelled since
                    files.append((entry.stat().st_mtime_ns, entry.name))
    return [name for _, name in sorted(files)]


class _Supervisor:
    def __init__(self, study: Study, slots: int) -> None:
        self.study = study
        self.slots = slots
        # Workers are forked from a process that has loaded torch: importing it takes longer than a short run.
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["parcae.training.run", "torch._dynamo", "sweeps.runs.worker"])
        self.gpus = visible_gpus()
        self.workers: dict[str, BaseProcess] = {}
        self.deaths: dict[str, tuple[int, int]] = {}  # run_id -> (deaths, progress at the last one)
        self.stopping = False
        signal.signal(signal.SIGTERM, self._on_stop)

    def _on_stop(self, *_: object) -> None:
        self.stopping = True

    def work(self) -> None:
        """Works until the queue is empty, or after a stop request until every worker has left."""
        while True:
            self._reap()
            if self.stopping:
                if not self.workers:
                    return
                for worker in self.workers.values():
                    worker.terminate()
            elif not self._fill():
                return
            time.sleep(POLL_SECONDS)

    def _fill(self) -> bool:
        """Starts queued runs in the free slots; false if nothing is queued."""
        queued = _queued(self.study)
        waiting, orphans = [], []
        for run_id in queued:
            folder = self.study.run(run_id)
            if run_id in self.workers:
                continue
            if folder.result.exists() or folder.cancelled.exists():
                self._dequeue(run_id)
            elif is_locked(folder.lock):
                orphans.append(run_id)  # the worker of a supervisor that was killed
            else:
                waiting.append(folder)
        for folder in waiting[: max(0, self.slots - len(self.workers) - len(orphans))]:
            self._start(folder, self._free_gpu(orphans))
        return bool(queued)

    def _start(self, folder: RunFolder, gpu: str | None) -> None:
        queued = self.study.queue / folder.run_id
        try:
            entry = read_record(queued, QueueEntry) or QueueEntry()
        except InputError as error:
            write_record(folder.failure, Failure(message=str(error), at=time.time()))
            self._dequeue(folder.run_id)
            return
        if gpu is not None:
            with suppress(OSError):  # a full disk: the next supervisor will not know the GPU
                write_record(queued, replace(entry, gpu=gpu), durable=False)
        arguments = (folder.path, entry.execution, gpu)
        worker = self.processes.Process(target=work, args=arguments, name=folder.run_id)
        worker.start()
        self.workers[folder.run_id] = worker

    def _free_gpu(self, orphans: Iterable[str]) -> str | None:
        """The GPU with the fewest live runs, `orphans` included; None without GPUs."""
        live = [self.study.queue / run_id for run_id in (*self.workers, *orphans)] if self.gpus else []
        held = [(json_or_none(queued) or {}).get("gpu") for queued in live]
        return min(self.gpus, key=held.count, default=None)

    def _reap(self) -> None:
        for run_id, worker in list(self.workers.items()):
            code = worker.exitcode
            if code is None:
                continue
            del self.workers[run_id]
            folder = self.study.run(run_id)
            if folder.result.exists() or folder.failure.exists() or folder.cancelled.exists():
                self._dequeue(run_id)
            elif code != STOPPED:
                self._count_death(folder, code)

    def _count_death(self, folder: RunFolder, code: int) -> None:
        progress = folder.metrics.stat().st_size if folder.metrics.exists() else 0
        deaths, progress_before = self.deaths.get(folder.run_id, (0, -1))
        deaths = deaths + 1 if progress <= progress_before else 1
        self.deaths[folder.run_id] = (deaths, progress)
        if deaths >= ATTEMPTS:
            how = _in_words(code)
            if code == -signal.SIGKILL:
                how += " (the kernel sends it to a process that uses too much memory)"
            message = f"the process died {deaths} times without progress, the last by {how}"
            write_record(folder.failure, Failure(message=message, at=time.time()))
            self._dequeue(folder.run_id)

    def _dequeue(self, run_id: str) -> None:
        (self.study.queue / run_id).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Start the queued runs of a study on this machine.")
    parser.add_argument("db", type=Path)
    parser.add_argument("--slots", type=int, required=True)
    arguments = parser.parse_args()
    study = Study(arguments.db)
    deadline = time.monotonic() + LOOK_SECONDS
    with owned(study.supervisor_lock, give_up=lambda: time.monotonic() > deadline) as is_owner:
        if is_owner:
            _Supervisor(study, arguments.slots).work()


if __name__ == "__main__":
    main()
