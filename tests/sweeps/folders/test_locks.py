"""One lock: held by one, released by death, and not taken by whoever only looks."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from sweeps.folders.locks import held, is_locked, owned, signal_owner


def until(moment: float) -> bool:
    return time.monotonic() > moment


def test_a_lock_is_held_and_released(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    with owned(lock, lambda: True) as is_owner:
        assert is_owner
        assert is_locked(lock)
        assert lock.read_text().split()[0] == str(os.getpid())
        with owned(lock, lambda: True) as second:
            assert not second
    assert not is_locked(lock)


def test_whoever_looks_does_not_keep_an_owner_away(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    with lock.open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        now = time.monotonic()
        with owned(lock, lambda: until(now + 0.2)) as is_owner:
            assert not is_owner
        threading.Timer(0.2, fcntl.flock, (look, fcntl.LOCK_UN)).start()
        with owned(lock, lambda: until(now + 30)) as is_owner:
            assert is_owner


def test_a_child_that_inherits_a_lock_holds_it_until_it_dies(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with held(lock, "nobody") as descriptor:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=[descriptor])
    assert is_locked(lock)
    child.communicate(b"\n")
    assert not is_locked(lock)


def test_an_owner_is_signalled(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    own = """
import sys, time
from pathlib import Path
from sweeps.folders.locks import owned
with owned(Path(sys.argv[1]), lambda: True):
    print(flush=True)
    time.sleep(60)
"""
    child = subprocess.Popen([sys.executable, "-c", own, lock], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    signal_owner(lock, signal.SIGTERM)
    child.communicate()
    assert child.returncode == -signal.SIGTERM
    signal_owner(lock, signal.SIGTERM)  # nobody owns it now: no harm to whoever has that number
