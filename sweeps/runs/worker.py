"""Trains one run: takes its lock, checks the text, trains, and writes a result or a failure.

On this machine the supervisor starts `work` in a separate process; on SLURM a job calls `run`.
"""

import errno
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from parcae.config import ExecutionConfig
from parcae.errors import InputError, WorkFailed
from parcae.records import to_plain
from sweeps.folders.locks import owned
from sweeps.folders.paths import RunFolder
from sweeps.folders.records import Attempt, Failure, read_spec, write_record

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

    Any error is written to failure.json and raised again. A run that has a result or was cancelled is left
    alone; one that another process is training is waited for. With several `processes`, the others `attend`.
    """
    with owned(folder.lock, stop) as is_owner:
        if not is_owner:
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
    """Trains together with the process that called `run`, as one of several processes of the same run."""
    try:
        _train(folder, execution, stop=stop)
    except Exception as error:
        record_failure(folder, error)
        raise


def _train(folder: RunFolder, execution: ExecutionConfig, *, stop: Callable[[], bool]) -> bool:
    from parcae.training.run import train
    from sweeps.plan.texts import open_text

    spec = read_spec(folder)
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
    attempt = Attempt(event=event, at=time.time(), host=socket.gethostname(), pid=os.getpid(), job=job)
    with suppress(OSError), folder.attempts.open("a") as file:  # no run fails because of its log
        file.write(json.dumps(to_plain(attempt)) + "\n")


def record_failure(folder: RunFolder, error: Exception) -> None:
    """Writes failure.json: a sentence and the traceback.

    The first failure of an attempt is kept: when one of several processes dies, the others fail because of
    it.
    """
    if folder.failure.exists():
        return
    with suppress(OSError):  # the disk may be what failed; the traceback is in the log
        write_record(
            folder.failure,
            Failure(
                message=" ".join(_in_words(error).split()),
                traceback="".join(traceback.format_exception(error)),
                at=time.time(),
            ),
        )


def _in_words(error: Exception) -> str:
    if isinstance(error, InputError | WorkFailed):
        return str(error)
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's allocator
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or on_cpu:
        return f"out of memory ({error})" if str(error) else "out of memory"
    for cause in _chain(error):  # torch wraps errors of the disk
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full ({cause})"
    return f"{type(error).__name__}: {error}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


class StopFlag:
    """Becomes true at the first stop signal; training checks it between steps."""

    def __init__(self) -> None:
        self.stopped = False
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True

    def __call__(self) -> bool:
        return self.stopped


def work(folder: Path, execution: ExecutionConfig, gpu: str | None) -> NoReturn:
    """The body of a process that trains one run, on `gpu` if given, with its output in the run's log.

    Exits with STOPPED if the run was stopped before its end.
    """
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.setsid()  # Ctrl-C in the terminal stops the watching command only
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    ended = run(RunFolder(folder), execution, stop=StopFlag())
    sys.exit(0 if ended else STOPPED)
