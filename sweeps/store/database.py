"""results.duckdb as a file: created, opened for one transaction, replaced. `Store` is its content.

The database is a cache: `sweeps.store.collect` fills it from run folders and can do so again at any time, so
every row is a pure function of those folders. DuckDB lets one process write or many read, so a connection is
held for one transaction only, and a busy file is waited for.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parcae.errors import InputError, WorkFailed
from sweeps.store.rows import RunRow, SweepRows
from sweeps.store.schema import SCHEMA, SCHEMA_VERSION, bring_up_to_date
from sweeps.store.tables import Store

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

STORAGE_VERSION = "v1.5.0"  # the oldest DuckDB that must be able to read the file
BUSY_SECONDS = 60.0
_DISK_TROUBLES = ("Read-only file system", "Permission denied", "No space left", "Disk quota")


def create(db: Path) -> None:
    """Creates an empty database at `db`, completely or not at all."""
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


def check_openable(db: Path) -> None:
    """``InputError`` if the file `db` is not a database of ours, or its folder does not exist."""
    if db.exists():
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

    deadline = time.monotonic() + BUSY_SECONDS
    config: dict[str, Any] = {"storage_compatibility_version": STORAGE_VERSION}
    while True:
        try:
            connection = duckdb.connect(str(db), config=config)
            break
        except duckdb.IOException as error:
            if any(trouble in str(error) for trouble in _DISK_TROUBLES):
                raise WorkFailed(f"cannot use the database {db}: {str(error).splitlines()[0]}") from error
            if "lock" not in str(error):
                raise InputError(
                    f"cannot open the database {db}: it is not a DuckDB database that can be read; "
                    "move it away and run `parcae-sweep rebuild`"
                ) from error
            if time.monotonic() > deadline:
                raise WorkFailed(
                    f"cannot open the database {db} because another process has held it for "
                    f"{BUSY_SECONDS:.0f} s; nothing is lost, try again when it is done"
                ) from error
            time.sleep(0.05)
        except duckdb.Error as error:
            raise InputError(f"cannot open the database {db}: {str(error).splitlines()[0]}") from error
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def open_store(db: Path) -> Iterator[Store]:
    """The content of an existing database, its schema checked. ``InputError`` if it is not ours."""
    if db.is_dir():
        raise InputError(f"cannot open the database {db}: it is a folder; name a file with --db")
    if not db.is_file():
        raise InputError(
            f"there is no database {db}; plan a sweep first, import one, or use --sweep published"
        )
    with _connect(db) as connection:
        import duckdb

        try:
            version = connection.execute("SELECT version FROM parcae_schema").fetchone()
        except duckdb.Error as error:
            raise InputError(
                f"{db} is a DuckDB database, but not one of parcae's; name another with --db"
            ) from error
        try:
            if version != (SCHEMA_VERSION,) and not (version and bring_up_to_date(connection, *version)):
                raise InputError(
                    f"the database {db} has schema {version and version[0]}, this version reads "
                    f"{SCHEMA_VERSION}; run `parcae-sweep rebuild`"
                )
            yield Store(db, connection)
        except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException) as error:
            raise WorkFailed(
                f"cannot write the database {db}: {str(error).splitlines()[0]}; the run folders hold all "
                "results, so the command can be run again"
            ) from error


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
