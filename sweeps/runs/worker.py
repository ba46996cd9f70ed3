"""One run on the node that has it: take its lock, check the text, train, leave a result or a failure.

On this machine the supervisor starts `work` in a process of its own; on SLURM a job calls `run`.
"""

import errno
import fcntl
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from parcae.config import ExecutionConfig
from parcae.errors import InputError, WorkFailed
from sweeps.folders.paths import RunFolder, read_json, write_json
from sweeps.folders.spec import RunSpec

STOPPED = 75  # exit code: checkpointed and willing to go on (EX_TEMPFAIL)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(
    folder: RunFolder,
    execution: ExecutionConfig,
    *,
    stop: Callable[[], bool],
    processes: int = 1,
    job: str | None = None,
) -> bool:
    """Trains the run in `folder` to its end. True when it ended, False when `stop` cut it short.

    Whatever goes wrong is written to failure.json and raised again. A run that has its result or was called
    off is left alone; one that another process still has is waited for. With several `processes`, the others
    `attend`.
    """
    with _locked(folder, stop) as mine:
        if not mine:
            return False
        if folder.cancelled.exists() or (folder.result.exists() and processes == 1):
            return True  # several processes must first agree that there is a result
        folder.failure.unlink(missing_ok=True)
        try:
            log_attempt(folder, "started", job=job)
            ended = _train(folder, execution, stop=stop)
            log_attempt(folder, "ended" if ended else "checkpointed", job=job)
            return ended
        except Exception as error:
            record_failure(folder, error)
            raise


def attend(folder: RunFolder, execution: ExecutionConfig, *, stop: Callable[[], bool]) -> None:
    """Trains along with the process that called `run`, as one of several of the same run."""
    try:
        _train(folder, execution, stop=stop)
    except Exception as error:
        record_failure(folder, error)
        raise


def _train(folder: RunFolder, execution: ExecutionConfig, *, stop: Callable[[], bool]) -> bool:
    from parcae.training.run import train
    from sweeps.plan.texts import open_text

    plain = read_json(folder.spec)
    if not isinstance(plain, dict):
        raise InputError(f"cannot read the run's specification {folder.spec}; plan the sweep again")
    spec = RunSpec.from_dict(plain)
    if spec.run_id != folder.run_id:
        raise InputError(f"the specification in {folder.path} is that of run {spec.run_id}")
    text = open_text(folder.path.parent, spec)
    result = train(
        spec.model,
        spec.training,
        text,
        folder.path,
        stop=stop,
        execution=execution,
        convention=spec.convention,
    )
    return result is not None


def log_attempt(folder: RunFolder, event: str, *, job: str | None) -> None:
    """Adds a line to attempts.jsonl: started, ended, checkpointed, requeued, cancelled or stopped."""
    line = {"event": event, "at": time.time(), "host": socket.gethostname(), "pid": os.getpid(), "job": job}
    with suppress(OSError), folder.attempts.open("a") as file:  # no run fails for want of its log
        file.write(json.dumps(line) + "\n")


def record_failure(folder: RunFolder, error: Exception) -> None:
    """Writes failure.json: what happened in words, and the traceback. The first failure of an attempt stays:
    when one of several processes dies, the others fail for want of it."""
    if folder.failure.exists():
        return
    with suppress(OSError):  # the disk may be what failed; the traceback is in the log
        write_json(
            folder.failure,
            {
                "state": "failed",
                "message": " ".join(_in_words(error).split()),
                "traceback": "".join(traceback.format_exception(error)),
                "at": time.time(),
            },
        )


def _in_words(error: Exception) -> str:
    if isinstance(error, InputError | WorkFailed):
        return str(error)
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's allocator
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or on_cpu:
        return f"out of memory ({error})" if str(error) else "out of memory"
    for cause in _chain(error):  # torch puts words of its own before the disk's
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full ({cause})"
    return f"{type(error).__name__}: {error}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


@contextmanager
def _locked(folder: RunFolder, stop: Callable[[], bool]) -> Iterator[bool]:
    """Waits for, and holds, the run's lock; false if `stop` became true first."""
    with folder.lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop():
                    yield False
                    return
                time.sleep(0.05)
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()
        yield True


class StopFlag:
    """Becomes true at the first stop signal; training looks at it between steps."""

    def __init__(self) -> None:
        self.stopped = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True

    def __call__(self) -> bool:
        return self.stopped


def work(folder: Path, execution: ExecutionConfig, gpu: str | None) -> NoReturn:
    """What a process started for one run does, on `gpu` if it is given one: its output goes to the run's log,
    its end to the exit code."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.setsid()  # a terminal's Ctrl-C is for whoever watches
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    ended = run(RunFolder(folder), execution, stop=StopFlag())
    sys.exit(0 if ended else STOPPED)
