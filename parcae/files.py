"""Files that are whole or not there, whenever the process dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` to write to: it waits for the disk and takes the place of `path` when the block
    ends well. A reader sees the old file or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with beside.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Puts `content` at `path`, whole or not at all."""
    with replacing(path) as file:
        file.write(content)
