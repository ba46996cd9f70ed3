"""One run on the node that has it: take its lock, check the text, train, leave a result or a failure.

On this machine the supervisor starts `work` in a process of its own; on SLURM a job calls `run`.
"""

import fcntl
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from parcae.errors import InputError
from sweeps.paths import RunFolder, read_json, write_json
from sweeps.spec import RunSpec

STOPPED = 75  # exit code: checkpointed and willing to go on (EX_TEMPFAIL)
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
LOCK_SECONDS = 5.0  # others hold the lock for an instant when they look whether it is held


def run(folder: RunFolder, *, stop: Callable[[], bool], threads: int = 1) -> bool:
    """Trains the run in `folder` to its end. True when it ended, False when `stop` cut it short.

    Whatever goes wrong is written to failure.json and raised again. A run that another process on this
    machine has, or that has its result, is left alone.
    """
    with _locked(folder) as mine:
        if not mine:
            return True
        if folder.result.exists():
            return True
        folder.failure.unlink(missing_ok=True)
        try:
            return _train(folder, stop=stop, threads=threads)
        except Exception as error:
            record_failure(folder, error)
            raise


def _train(folder: RunFolder, *, stop: Callable[[], bool], threads: int) -> bool:
    from parcae.config import ExecutionConfig
    from parcae.corpus import load_corpus
    from parcae.tokenizer import tokenizer_hash
    from parcae.train import train

    plain = read_json(folder.spec)
    if not isinstance(plain, dict):
        raise InputError(f"cannot read the run's specification {folder.spec}; plan the sweep again")
    spec = RunSpec.from_dict(plain)
    if spec.run_id != folder.run_id:
        raise InputError(f"the specification in {folder.path} is that of run {spec.run_id}")
    corpus = load_corpus(spec.corpus)
    for what, here, planned in (
        ("corpus", corpus.hash, spec.corpus_hash),
        ("tokenizer", tokenizer_hash(spec.tokenizer), spec.tokenizer_hash),
    ):
        if here != planned:
            raise InputError(
                f"the {what} {getattr(spec, what)} has the hash {here} here and {planned} in the plan; "
                "run it where it was planned, or plan it anew (another Python brings another text)"
            )
    execution = ExecutionConfig(threads=threads)
    return train(spec.model, spec.training, corpus, folder.path, stop=stop, execution=execution) is not None


def record_failure(folder: RunFolder, error: Exception) -> None:
    """Writes failure.json: what happened in words, and the traceback."""
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    message = "out of memory" if out_of_memory else f"{type(error).__name__}: {error}"
    write_json(
        folder.failure,
        {
            "state": "failed",
            "message": " ".join(message.split()),
            "traceback": "".join(traceback.format_exception(error)),
            "at": time.time(),
        },
    )


@contextmanager
def _locked(folder: RunFolder) -> Iterator[bool]:
    """Holds the run's lock; false if another process on this machine has it."""
    with folder.lock.open("a") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
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


def work(folder: Path, threads: int = 1) -> NoReturn:
    """What a process started for one run does: its output goes to the run's log, its end to the exit code."""
    os.setsid()  # a terminal's Ctrl-C is for whoever watches
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    ended = run(RunFolder(folder), stop=StopFlag(), threads=threads)
    sys.exit(0 if ended else STOPPED)
