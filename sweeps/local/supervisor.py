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
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from parcae.errors import InputError, WorkFailed
from sweeps.folders.locks import is_locked, owned
from sweeps.folders.paths import RunFolder, Study, is_run_id
from sweeps.folders.records import Failure, QueueEntry, read_record, write_record
from sweeps.runs.environment import import_safely, outside_a_job
from sweeps.runs.logs import tail
from sweeps.runs.profile import Profile
from sweeps.runs.worker import STOPPED, work

POLL_SECONDS = 0.2
START_POLL_SECONDS = 0.02
LOOK_SECONDS = 1.0
ATTEMPTS = 3
"""How often a run may fail to start or die, without an error or progress, before it counts as failed; and how
often in a row a supervisor may be killed."""
LIVED_SECONDS = 60.0
"""A supervisor that lived so long was killed once, not again."""
LONGEST_TMPDIR = 72
"""Bytes: the path of a socket in a folder of multiprocessing's below it must have less than 108."""


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
            write_record(study.queue / run_id, replace(entry, run_id=run_id), durable=False)


class Keeper:
    """Keeps a supervisor alive while runs are queued, if it is called repeatedly."""

    def __init__(self, study: Study, slots: int) -> None:
        self.study = study
        self.slots = slots
        self.process: subprocess.Popen[bytes] | None = None
        self.started, self.killed = 0.0, 0

    def __call__(self) -> None:
        """Starts a supervisor unless one is alive or nothing is queued.

        ``WorkFailed`` if it ends with an error or is killed ATTEMPTS times in a row: once or twice it is
        started again.
        """
        self._check()
        if is_locked(self.study.supervisor_lock) or not _queued(self.study):
            return
        self.started = time.monotonic()
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
        if code in (None, 0):
            return
        self.process = None
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            self.killed = 1 if time.monotonic() - self.started > LIVED_SECONDS else self.killed + 1
            if self.killed < ATTEMPTS:
                return
        last = "".join(tail(self.study.supervisor_log, 1))
        message = (
            f"the supervisor, which starts queued runs on this machine, failed with {_in_words(code)}"
            f"{f' ({last})' if last else ''}; its output is in {self.study.supervisor_log}"
        )
        write_record(self.study.supervisor_failure, Failure(message=message, at=time.time()))
        raise WorkFailed(message)


def _in_words(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"


def _queued(study: Study) -> list[str]:
    """Queued runs, the oldest first. Other files in the queue are none of ours."""
    files = []
    with suppress(FileNotFoundError), os.scandir(study.queue) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # cancelled since
                if is_run_id(entry.name) and entry.is_file():
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
        self.failures: Counter[str] = Counter()  # starts that failed
        self.given_up: set[str] = set()
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
        """Starts queued runs in the free slots; false if nothing is queued. A run that cannot be started
        concerns no other."""
        queued = [run_id for run_id in _queued(self.study) if run_id not in self.given_up]
        waiting, orphans = [], []
        for run_id in queued:
            if run_id in self.workers:
                continue
            try:
                state = self._look(self.study.run(run_id))
            except OSError as error:
                self._count_failure(self.study.run(run_id), error)
                continue
            if state == "orphan":  # the worker of a supervisor that was killed
                orphans.append(run_id)
            elif state == "waiting":
                waiting.append(self.study.run(run_id))
        for folder in waiting[: max(0, self.slots - len(self.workers) - len(orphans))]:
            try:
                self._start(folder, self._free_gpu(orphans))
            except InputError as error:  # no later start would find another entry
                self._give_up(folder, str(error))
            except Exception as error:
                self._count_failure(folder, error)
        return bool(queued)

    def _look(self, folder: RunFolder) -> Literal["ended", "orphan", "waiting"]:
        if folder.result.exists() or folder.cancelled.exists():
            self._dequeue(folder.run_id)
            return "ended"
        return "orphan" if is_locked(folder.lock) else "waiting"

    def _start(self, folder: RunFolder, gpu: str | None) -> None:
        if not folder.path.is_dir():
            raise InputError("its folder was deleted while it was queued; retry it to start it from step 0")
        queued = self.study.queue / folder.run_id
        entry = read_record(queued, QueueEntry)
        if entry is None:  # cancelled since
            return
        if entry.run_id not in (None, folder.run_id):
            raise InputError(f"{queued} is the entry of run {entry.run_id}; retry the run to queue it anew")
        if gpu is not None:
            with suppress(OSError):  # a full disk: the next supervisor will not know the GPU
                write_record(queued, replace(entry, gpu=gpu), durable=False)
        arguments = (folder.path, entry.execution, gpu)
        worker = self.processes.Process(target=work, args=arguments, name=folder.run_id)
        worker.start()
        self.workers[folder.run_id] = worker

    def _free_gpu(self, orphans: Iterable[str]) -> str | None:
        """The GPU with the fewest live runs, `orphans` included; None without GPUs."""
        held = []
        for run_id in (*self.workers, *orphans) if self.gpus else ():
            with suppress(InputError):
                entry = read_record(self.study.queue / run_id, QueueEntry)
                held.append(entry.gpu if entry else None)
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
        progress = 0
        with suppress(OSError):
            progress = folder.metrics.stat().st_size
        deaths, progress_before = self.deaths.get(folder.run_id, (0, -1))
        deaths = deaths + 1 if progress <= progress_before else 1
        self.deaths[folder.run_id] = (deaths, progress)
        if deaths >= ATTEMPTS:
            how = _in_words(code)
            if code == -signal.SIGKILL:
                how += " (the kernel sends it to a process that uses too much memory)"
            self._give_up(folder, f"the process died {deaths} times without progress, the last by {how}")

    def _count_failure(self, folder: RunFolder, error: Exception) -> None:
        self.failures[folder.run_id] += 1
        if self.failures[folder.run_id] >= ATTEMPTS:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            self._give_up(folder, f"it could not be started {ATTEMPTS} times, the last because of {why}")

    def _give_up(self, folder: RunFolder, message: str) -> None:
        """Fails a run, and takes it from the queue."""
        print(f"run {folder.run_id}: {message}", file=sys.stderr)
        self.given_up.add(folder.run_id)
        with suppress(OSError):  # its folder may be what is wrong
            folder.path.mkdir(exist_ok=True)
            write_record(folder.failure, Failure(message=message, at=time.time()))
        with suppress(OSError):
            self._dequeue(folder.run_id)

    def _dequeue(self, run_id: str) -> None:
        (self.study.queue / run_id).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Start the queued runs of a study on this machine.")
    parser.add_argument("db", type=Path)
    parser.add_argument("--slots", type=int, required=True)
    arguments = parser.parse_args()
    study = Study(arguments.db)
    import_safely()
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_TMPDIR:
        tempfile.tempdir = "/tmp"  # of this process alone
    deadline = time.monotonic() + LOOK_SECONDS
    with owned(study.supervisor_lock, give_up=lambda: time.monotonic() > deadline) as is_owner:
        if is_owner:
            study.supervisor_failure.unlink(missing_ok=True)
            _Supervisor(study, arguments.slots).work()


if __name__ == "__main__":
    main()
