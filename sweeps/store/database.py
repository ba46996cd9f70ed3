"""results.duckdb: the only place that speaks SQL.

The database is a cache: `sweeps.store.collect` fills it from run folders and can do so again at any time, so
every row is a pure function of those folders. DuckDB lets one process write or many read, so a
connection is held for one transaction and no longer, and a busy file is waited for.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parcae.errors import InputError, WorkFailed

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

SCHEMA_VERSION = 3
STORAGE_VERSION = "v1.5.0"  # the oldest DuckDB that must be able to read the file
BUSY_SECONDS = 60.0
_DISK_TROUBLES = ("Read-only file system", "Permission denied", "No space left", "Disk quota")

RUN_COLUMNS = {
    "run_id": "VARCHAR PRIMARY KEY",
    "model": "VARCHAR",
    "variant": "VARCHAR",
    "state": "VARCHAR NOT NULL",
    "reason": "VARCHAR",
    "flops": "DOUBLE",
    "realised_flops": "DOUBLE",
    "convention": "VARCHAR",
    "mean_recurrence": "DOUBLE",
    "backward_depth": "DOUBLE",
    "tokens": "DOUBLE",
    "steps": "BIGINT",
    "flops_per_token": "DOUBLE",
    "parameters": "DOUBLE",
    "once_parameters": "DOUBLE",
    "recurrent_parameters": "DOUBLE",
    "seed": "BIGINT",
    "hyperparameters": "VARCHAR",
    "corpus": "VARCHAR",
    "corpus_hash": "VARCHAR",
    "val_loss": "DOUBLE",
    "spec": "VARCHAR",
    "result": "VARCHAR",
    "signature": "VARCHAR NOT NULL",
}
METRIC_COLUMNS = {
    "step": "BIGINT",
    "tokens": "BIGINT",
    "loss": "DOUBLE",
    "learning_rate": "DOUBLE",
    "gradient_norm": "DOUBLE",
    "state_norm": "DOUBLE",
    "recurrent_residual": "DOUBLE",
    "injection_norm": "DOUBLE",
    "input_norm": "DOUBLE",
    "readout_norm": "DOUBLE",
    "loss_spikes": "BIGINT",
    "gradient_spikes": "BIGINT",
    "seconds": "DOUBLE",
}


def _columns(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


_SCHEMA = f"""
CREATE TABLE parcae_schema (version INTEGER NOT NULL);
INSERT INTO parcae_schema VALUES ({SCHEMA_VERSION});
CREATE TABLE runs ({_columns(RUN_COLUMNS)});
CREATE TABLE losses (run_id VARCHAR, test_recurrence INTEGER, loss DOUBLE);
CREATE TABLE metrics (run_id VARCHAR, {_columns(METRIC_COLUMNS)});
CREATE TABLE sweeps (
    name VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, changed_ns BIGINT NOT NULL, signature VARCHAR NOT NULL
);
CREATE TABLE sweep_runs (sweep VARCHAR, position INTEGER, run_id VARCHAR, predicted_loss DOUBLE);
"""

_FROM_2 = """
BEGIN;
ALTER TABLE runs ADD COLUMN variant VARCHAR;
ALTER TABLE runs ADD COLUMN realised_flops DOUBLE;
ALTER TABLE runs ADD COLUMN hyperparameters VARCHAR;
UPDATE runs SET signature = 'old' WHERE spec IS NOT NULL;
UPDATE parcae_schema SET version = 3;
COMMIT;
"""
"""Every run with a folder is read again, for the columns that are new."""


@dataclass(frozen=True)
class StudyTables:
    """A sweep as the fits read it. SCIENCE: N = once + mean_recurrence * recurrent parameters."""

    name: str
    kind: str
    """`planned` or `imported`."""
    runs: "pd.DataFrame"
    """One row a run, in the order planned: RUN_COLUMNS and predicted_loss."""
    losses: "pd.DataFrame"
    """run_id, test_recurrence, loss: the final model at each T."""


def create(db: Path) -> None:
    """Makes an empty database at `db`, whole or not at all. ``InputError`` where it cannot stand."""
    beside = db.with_name(f".{db.name}.{os.getpid()}.new")
    remove(beside)
    try:
        with _connect(beside) as connection:
            connection.execute(_SCHEMA)
        try:
            os.link(beside, db)
        except FileExistsError:  # another process was faster; its empty database is as good
            pass
        except OSError:  # a file system without hard links
            beside.replace(db)
    finally:
        remove(beside)


def check_openable(db: Path) -> None:
    """``InputError`` if there is a file at `db` that is not a database of ours, or no folder for one."""
    if db.exists():
        with open_store(db):
            pass
    elif not db.absolute().parent.is_dir():
        raise InputError(f"cannot make the database {db} because its folder does not exist")


def remove(db: Path) -> None:
    """Deletes a database and its write-ahead log, if there are any."""
    db.unlink(missing_ok=True)
    db.with_name(db.name + ".wal").unlink(missing_ok=True)


def put_in_place(new: Path, db: Path) -> None:
    """Renames the database `new`, which nobody has open, into `db`."""
    new.replace(db)
    db.with_name(db.name + ".wal").unlink(missing_ok=True)


def known_runs(connection: "duckdb.DuckDBPyConnection") -> dict[str, tuple[str, str, str | None]]:
    """run_id -> (signature, state, reason), for runs that came from folders."""
    rows = connection.execute(
        "SELECT run_id, signature, state, reason FROM runs WHERE spec IS NOT NULL"
    ).fetchall()
    return {run_id: (signature, state, reason) for run_id, signature, state, reason in rows}


def known_sweeps(connection: "duckdb.DuckDBPyConnection") -> dict[str, str]:
    """name -> signature of the file it was read from."""
    return dict(connection.execute("SELECT name, signature FROM sweeps").fetchall())


def planned_run_ids(connection: "duckdb.DuckDBPyConnection") -> set[str]:
    """The runs of every planned sweep."""
    rows = connection.execute(
        "SELECT DISTINCT run_id FROM sweep_runs JOIN sweeps ON sweep = name WHERE kind = 'planned'"
    ).fetchall()
    return {run_id for (run_id,) in rows}


def stored_specs(connection: "duckdb.DuckDBPyConnection", run_ids: Sequence[str]) -> dict[str, str]:
    """run_id -> canonical JSON of its specification, for those of `run_ids` that are here."""
    with _registered(connection, run_ids) as keys:
        return dict(
            connection.execute(f"SELECT run_id, spec FROM runs JOIN {keys} ON run_id = key").fetchall()
        )


def forget_imported(connection: "duckdb.DuckDBPyConnection", sweeps: Sequence[str]) -> None:
    """Deletes the runs of imported sweeps, which belong to no other."""
    with _registered(connection, sweeps) as keys:
        imported = f"""(SELECT run_id FROM sweep_runs JOIN runs USING (run_id)
                        WHERE sweep IN (SELECT key FROM {keys}) AND spec IS NULL)"""
        for table in ("losses", "runs"):
            connection.execute(f"DELETE FROM {table} WHERE run_id IN {imported}")


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
def open_store(db: Path) -> "Iterator[duckdb.DuckDBPyConnection]":
    """A connection to an existing database, its schema checked. ``InputError`` if it is not one."""
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
        if version == (2,):
            connection.execute(_FROM_2)
        elif version != (SCHEMA_VERSION,):
            raise InputError(
                f"the database {db} has schema {version and version[0]}, this version reads "
                f"{SCHEMA_VERSION}; run `parcae-sweep rebuild`"
            )
        try:
            yield connection
        except (duckdb.IOException, duckdb.FatalException, duckdb.TransactionException) as error:
            raise WorkFailed(
                f"cannot write the database {db}: {str(error).splitlines()[0]}; the run folders have it all, "
                "so the command can be run again"
            ) from error


def replace_rows(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    key: str,
    keys: Sequence[str],
    rows: "pd.DataFrame",
) -> None:
    """Deletes the rows of `keys` and inserts `rows`, whose columns are named as the table's."""
    with _registered(connection, keys) as old:
        connection.execute(f"DELETE FROM {table} WHERE {key} IN (SELECT key FROM {old})")
    if len(rows):
        connection.register("new_rows", rows)
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new_rows")
        connection.unregister("new_rows")


@contextmanager
def _registered(connection: "duckdb.DuckDBPyConnection", keys: Sequence[str]) -> Iterator[str]:
    """The name of a relation with one column, `key`, that holds `keys`."""
    import pandas as pd

    connection.register("given_keys", pd.DataFrame({"key": list(keys)}, dtype="str"))
    yield "given_keys"
    connection.unregister("given_keys")


def read_metrics(connection: "duckdb.DuckDBPyConnection", files: Iterable[Path]) -> None:
    """Adds the metrics files of finished runs, each in its run's folder."""
    present = [str(path) for path in files if path.is_file() and path.stat().st_size]
    if not present:
        return
    kinds = ", ".join(f"{name}: '{kind}'" for name, kind in METRIC_COLUMNS.items())
    connection.execute(
        f"""INSERT INTO metrics BY NAME
            SELECT parse_path(filename)[-2] AS run_id, {", ".join(METRIC_COLUMNS)}
            FROM read_json($files, format = 'newline_delimited', columns = {{{kinds}}},
                           filename = true, ignore_errors = true)
            WHERE step IS NOT NULL""",
        {"files": present},
    )


def sweep_names(connection: "duckdb.DuckDBPyConnection") -> list[str]:
    """All sweeps, the latest first."""
    rows = connection.execute("SELECT name FROM sweeps ORDER BY changed_ns DESC, name DESC").fetchall()
    return [name for (name,) in rows]


def read_study(db: Path, sweep: str | None) -> StudyTables:
    """The sweep called `sweep`, or the latest. ``InputError`` names the known ones."""
    with open_store(db) as connection:
        names = sweep_names(connection)
        if not names:
            raise InputError(f"the database {db} holds no sweep yet; plan or import one")
        if sweep is not None and sweep not in names:
            raise InputError(f"there is no sweep {sweep!r} in {db}; there are {', '.join(names)}")
        name = sweep or names[0]
        (kind,) = connection.execute("SELECT kind FROM sweeps WHERE name = $1", [name]).fetchall()[0]
        runs = connection.execute(
            """SELECT runs.*, predicted_loss FROM sweep_runs JOIN runs USING (run_id)
               WHERE sweep = $1 ORDER BY position""",
            [name],
        ).df()
        losses = connection.execute(
            """SELECT losses.* FROM sweep_runs JOIN losses USING (run_id)
               WHERE sweep = $1 ORDER BY position, test_recurrence""",
            [name],
        ).df()
    return StudyTables(name=name, kind=kind, runs=runs, losses=losses)


def model_runs(db: Path, model: str) -> "pd.DataFrame":
    """All runs of one model in any sweep, as RUN_COLUMNS."""
    with open_store(db) as connection:
        return connection.execute("SELECT * FROM runs WHERE model = $1 ORDER BY run_id", [model]).df()
