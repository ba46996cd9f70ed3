"""Locks of a study: flock on a file, which the kernel releases when the process dies for any reason.

The package filelock does not fit: here a child can inherit a lock (sbatch holds the study's lock for as long
as it runs), a check must not take the lock, and the file names its owner. For NFS, an exclusive lock needs a
file that is open for writing, a shared lock one that is open for reading.
"""

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 2.0


class Patience:
    """Called while something is waited for: after two seconds says once, on stderr, for what."""

    def __init__(self, what: str) -> None:
        self._what: str | None = what
        self._until = time.monotonic() + PATIENCE_SECONDS

    def __call__(self) -> None:
        if self._what and time.monotonic() > self._until:
            print(f"waiting for {self._what}", file=sys.stderr)
            self._what = None


@contextmanager
def held(path: Path, by: str) -> Iterator[int]:
    """Waits for the lock, which is held `by` somebody, and holds it. Yields its descriptor: a child that
    inherits it holds the lock too."""
    patience = Patience(f"{by}, which holds {path}")
    with path.open("a") as file:
        while not _taken(file):
            patience()
            time.sleep(POLL_SECONDS)
        yield file.fileno()


def _taken(file: IO[str]) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@contextmanager
def owned(path: Path, give_up: Callable[[], bool]) -> Iterator[bool]:
    """Waits for the lock, holds it and writes the owner into the file. Yields false if `give_up` came first.

    A check of the lock holds it for a moment, so one refusal does not mean that it has an owner.
    """
    with path.open("a") as file:
        while not _taken(file):
            if give_up():
                yield False
                return
            time.sleep(POLL_SECONDS)
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}")
        file.flush()
        yield True


def is_locked(path: Path) -> bool:
    """Whether a live process on this machine holds the lock."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def signal_owner(path: Path, number: signal.Signals) -> None:
    """Signals the process that owns the lock, if one on this machine does."""
    if is_locked(path):
        with suppress(ValueError, ProcessLookupError):
            process, host = path.read_text().split()
            if host == socket.gethostname():
                os.kill(int(process), number)
