"""results.duckdb as a file: created, opened for one transaction, replaced. `Store` is its content.

The database is a cache: `sweeps.store.collect` fills it from run folders and can do so again at any time, so
every row is a pure function of those folders. DuckDB lets one process write or many read, so a connection is
held for one transaction only, and a busy file is waited for. Where the file cannot be written, because its
folder is read-only or knows no locks, or because somebody reads it in a notebook, a command works on a copy
of its own, which it deletes at its end.
"""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parcae.errors import InputError, WorkFailed
from sweeps.folders.locks import Patience
from sweeps.store.plain_paths import check_path
from sweeps.store.rows import RunRow, SweepRows
from sweeps.store.schema import SCHEMA, SCHEMA_VERSION, bring_up_to_date
from sweeps.store.tables import Store

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

STORAGE_VERSION = "v1.5.0"  # the oldest DuckDB that must be able to read the file
BUSY_SECONDS = 60.0
_DISK_TROUBLES = ("Read-only file system", "Permission denied", "No space left", "Disk quota")
_copies: dict[Path, Path] = {}
"""The copies of this process, by the database that could not be written."""


class _CannotWrite(Exception):
    """The file can be read, but not written, and waiting is in vain."""


def exists(db: Path) -> bool:
    return _copies.get(db, db).exists()


def create(db: Path) -> None:
    """Creates an empty database at `db`, completely or not at all."""
    check_path(db)
    if not os.access(db.absolute().parent, os.W_OK):
        _create(_copy(db))
        return
    try:
        _create(db)
    except _CannotWrite:  # a file system without locks
        _create(_copy(db))


def _create(db: Path) -> None:
    beside = db.with_name(f".{db.name}.{os.getpid()}.new")
    remove(beside)
    try:
        with _connect(beside) as connection:
            connection.execute(SCHEMA)
        try:
            os.link(beside, db)
        except FileExistsError:  # another process has just created it
            pass
        except OSError:  # a file system without hard links
            beside.replace(db)
    finally:
        remove(beside)


def _copy(db: Path) -> Path:
    """Makes a copy that this process uses instead of `db` from now on."""
    folder = Path(tempfile.mkdtemp(prefix="parcae-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _copies[db] = folder / "results.duckdb"
    for end in ("", ".wal"):
        if (file := db.with_name(db.name + end)).exists():
            shutil.copyfile(file, folder / f"results.duckdb{end}")
    return _copies[db]


def check_openable(db: Path) -> None:
    """``InputError`` if the file `db` is not a database of ours, or its folder does not exist."""
    check_path(db)
    if exists(db):
        with open_store(db):
            pass
    elif not db.absolute().parent.is_dir():
        raise InputError(f"cannot create the database {db} because its folder does not exist")


def remove(db: Path) -> None:
    """Deletes a database and its write-ahead log, if there are any."""
    db.unlink(missing_ok=True)
    db.with_name(db.name + ".wal").unlink(missing_ok=True)


def put_in_place(new: Path, db: Path) -> None:
    """Renames the database `new`, which no process has open, to `db`."""
    new.replace(db)
    db.with_name(db.name + ".wal").unlink(missing_ok=True)


@contextmanager
def _connect(db: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    import duckdb

    deadline, patience = time.monotonic() + BUSY_SECONDS, Patience(f"another process that has {db} open")
    config: dict[str, Any] = {"storage_compatibility_version": STORAGE_VERSION}
    path = check_path(db)
    while True:
        try:
            connection = duckdb.connect(str(path), config=config)
            break
        except duckdb.IOException as error:
            if any(trouble in str(error) for trouble in _DISK_TROUBLES):
                raise WorkFailed(f"cannot use the database {db}: {str(error).splitlines()[0]}") from error
            if "lock" not in str(error):
                raise InputError(
                    f"cannot open the database {db}: it is not a DuckDB database that can be read; "
                    "move it away and run `parcae-sweep rebuild`"
                ) from error
            if "Conflicting lock" not in str(error) or "read-only mode" in str(error):
                raise _CannotWrite from error  # a file system without locks, or others read the file
            if time.monotonic() > deadline:
                raise WorkFailed(
                    f"cannot open the database {db} because another process has held it for "
                    f"{BUSY_SECONDS:.0f} s; nothing is lost, try again when it is done"
                ) from error
            patience()
            time.sleep(0.05)
        except duckdb.Error as error:
            if "different configuration" in str(error):  # this process reads the file, too
                raise _CannotWrite from error
            raise _damaged(db, error) from error
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def open_store(db: Path) -> Iterator[Store]:
    """The content of an existing database, its schema checked. ``InputError`` if it is not ours."""
    if db.is_dir():
        raise InputError(f"cannot open the database {db}: it is a folder; name a file with --db")
    if not exists(db):
        raise InputError(
            f"there is no database {db}; plan a sweep first, import one, or use --sweep published"
        )
    with _opened(db) as connection:
        import duckdb

        try:
            version = connection.execute("SELECT version FROM parcae_schema").fetchone()
        except duckdb.CatalogException as error:
            raise InputError(
                f"{db} is a DuckDB database, but not one of parcae's; name another with --db"
            ) from error
        except duckdb.Error as error:
            raise _damaged(db, error) from error
        try:
            if version != (SCHEMA_VERSION,) and not (version and bring_up_to_date(connection, *version)):
                raise InputError(
                    f"the database {db} has schema {version and version[0]}, this version reads "
                    f"{SCHEMA_VERSION}; run `parcae-sweep rebuild`"
                )
            yield Store(db, connection)
        except duckdb.Error as error:
            if any(trouble in str(error) for trouble in _DISK_TROUBLES):
                raise WorkFailed(
                    f"cannot write the database {db}: {str(error).splitlines()[0]}; the run folders hold all "
                    "results, so the command can be run again"
                ) from error
            raise _damaged(db, error) from error


@contextmanager
def _opened(db: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A connection to `db`, or to a copy where it cannot be written."""
    if db not in _copies and not (os.access(db.absolute().parent, os.W_OK) and os.access(db, os.W_OK)):
        _copy(db)
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(_connect(_copies.get(db, db)))
        except _CannotWrite:
            connection = stack.enter_context(_connect(_copy(db)))
        yield connection


def _damaged(db: Path, error: Exception) -> WorkFailed:
    return WorkFailed(
        f"the database {db} is damaged ({str(error).splitlines()[0]}); `parcae-sweep rebuild` makes it again "
        "from the run folders, which hold all results"
    )


def read_sweep(db: Path, sweep: str | None) -> SweepRows:
    """The sweep called `sweep`, or the latest, from the database. ``InputError`` names the existing ones."""
    with open_store(db) as store:
        return store.sweep(sweep)


def read_telemetry(db: Path, sweep: str) -> "pd.DataFrame":
    """How the runs of a sweep trained, as ``Store.telemetry``."""
    with open_store(db) as store:
        return store.telemetry(sweep)


def model_runs(db: Path, model: str) -> tuple[RunRow, ...]:
    """All runs of one model, in all sweeps."""
    with open_store(db) as store:
        return store.model_runs(model)
