"""Commands on a terminal of a given size."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

from tests.conftest import BIN


def on_a_terminal(folder: Path, columns: int, *arguments: str, progress: bool = False) -> list[str]:
    """The lines that `parcae-sweep` writes on a terminal of so many columns and 24 rows.

    With `progress`, also what it writes to standard error, every frame of it, without its escape sequences.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm", "NO_COLOR": "1"}
    command = subprocess.Popen(
        [BIN / "parcae-sweep", *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs if progress else subprocess.DEVNULL,
        env=environment,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert command.wait(120) == 0
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode()).splitlines()
