"""Paths that DuckDB takes as they are: in others it sees wildcards, parameters or separators."""

import atexit
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from parcae.errors import InputError

_WILDCARDS = re.compile(r"[?*\[\]{}\\\ud800-\udfff]")
_NOT_OPENED = re.compile(r"[?\\\ud800-\udfff]")


def check_path(db: Path) -> Path:
    """`db`, if DuckDB can open a database there, else ``InputError``."""
    if _NOT_OPENED.search(str(db.absolute())):
        raise InputError(
            f"cannot open the database {str(db.absolute())!a}: DuckDB takes no ? and no backslash in a path; "
            "rename the folder, or the file with --db"
        )
    return db


@cache
def plain_folder(folder: Path) -> Path:
    """`folder`, or a link to it that lasts as long as this process."""
    if not _WILDCARDS.search(str(folder)):
        return folder
    place = Path(tempfile.mkdtemp(prefix="parcae-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = place / "folder"
    link.symlink_to(folder)
    return link
