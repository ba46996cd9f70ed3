"""Files that are complete or absent, whenever the process dies."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from parcae.errors import InputError

LEFT_SECONDS = 3600.0
"""A temporary file that nobody has touched for so long belongs to no write that is still under way."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A temporary file to write to, which replaces `path` when the block ends without an error.

    A reader sees the old file or the new one. A `durable` file is flushed to the disk, so it survives a crash
    of the machine. A file that could not be written completely is deleted: a full disk needs the space.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def clear_leftovers(path: Path) -> None:
    """Deletes temporary files of interrupted writes of `path`, whose name may contain wildcards."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def clear_old_leftovers(folder: Path) -> None:
    """Deletes all temporary files in `folder` of writes that were interrupted long ago."""
    for left in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()


def set_aside(path: Path) -> Path:
    """Renames a file that cannot be used to an unused name that ends in `.refused`; nothing is deleted."""
    return path.rename(_unused(path))


def keep_aside(path: Path) -> Path:
    """Copies a file that is about to be replaced to an unused name that ends in `.refused`."""
    return Path(shutil.copy2(path, _unused(path)))


def _unused(path: Path) -> Path:
    names = (path.with_name(f"{path.name}.refused{number or ''}") for number in count())
    return next(name for name in names if not name.exists())


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes `content` to `path`, completely or not at all."""
    with replacing(path, durable=durable) as file:
        file.write(content)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; ``InputError`` for anything else."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a JSON object")
    return values


def check_output(path: Path) -> Path:
    """`path`, if a file can be written there, else ``InputError``, before any work is done for it."""
    folder = path.absolute().parent
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; name a file")
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write {path}: {folder} is not writable")
    return path
