"""The tables of results.duckdb, and the migration of databases of earlier versions."""

import json
from dataclasses import fields
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from parcae.training.metrics import Metrics
from sweeps.folders.spec import RunSpec
from sweeps.store.rows import NO_LOOP, LossRow, RunRow, ScoreRow, architecture, given_architecture

if TYPE_CHECKING:
    import duckdb

SCHEMA_VERSION = 5
_KINDS = {float: "DOUBLE", int: "BIGINT"}


def columns(record: Any) -> dict[str, str]:
    """The SQL type of each field of a record."""
    hints = get_type_hints(record)
    types = {field.name: hints[field.name] for field in fields(record)}
    kinds = {
        name: next((kind for kind in get_args(hint) if kind is not NoneType), hint)
        for name, hint in types.items()
    }
    return {
        name: _KINDS.get(kind, "VARCHAR") + ("" if NoneType in get_args(types[name]) else " NOT NULL")
        for name, kind in kinds.items()
    }


RUN_COLUMNS = columns(RunRow)
SCORE_COLUMNS = columns(ScoreRow)
METRIC_COLUMNS = {name: kind.removesuffix(" NOT NULL") for name, kind in columns(Metrics).items()}


def _spelled(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


SCHEMA = f"""
CREATE TABLE parcae_schema (version INTEGER NOT NULL);
INSERT INTO parcae_schema VALUES ({SCHEMA_VERSION});
CREATE TABLE runs ({_spelled(RUN_COLUMNS)}, PRIMARY KEY (run_id));
CREATE TABLE losses ({_spelled(columns(LossRow))});
CREATE TABLE scores ({_spelled(SCORE_COLUMNS)});
CREATE TABLE metrics (run_id VARCHAR, {_spelled(METRIC_COLUMNS)});
CREATE TABLE sweeps (
    name VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, changed_ns BIGINT NOT NULL, signature VARCHAR NOT NULL
);
CREATE TABLE sweep_runs (sweep VARCHAR, position INTEGER, run_id VARCHAR, predicted_loss DOUBLE);
"""


def bring_up_to_date(connection: "duckdb.DuckDBPyConnection", version: int) -> bool:
    """Migrates a database of an earlier `version` to this version; false if that is not possible."""
    if version not in (2, 3, 4):
        return False
    connection.begin()
    if version == 2:
        connection.execute(_FROM_2)
    if version <= 3:
        _from_3(connection)
    connection.execute(_FROM_4)
    connection.execute("ALTER TABLE runs ADD COLUMN extra VARCHAR")
    connection.execute(f"CREATE TABLE scores ({_spelled(SCORE_COLUMNS)})")
    connection.execute("UPDATE parcae_schema SET version = $1", [SCHEMA_VERSION])
    connection.commit()
    return True


_FROM_2 = """
ALTER TABLE runs ADD COLUMN variant VARCHAR;
ALTER TABLE runs ADD COLUMN realised_flops DOUBLE;
ALTER TABLE runs ADD COLUMN hyperparameters VARCHAR;
UPDATE runs SET signature = 'old' WHERE spec IS NOT NULL;
"""
"""Every run with a folder is read again, for the new columns."""

_FROM_4 = "UPDATE runs SET variant = replace(variant, 'bfloat16-mixed', 'bfloat16')"
"""A variant has the word of the option `--precision`."""


def _from_3(connection: "duckdb.DuckDBPyConnection") -> None:
    """Adds the column `architecture`, and gives every model without a loop a mean recurrence of 1.

    In version 3 that was NULL or NaN for imported runs, and 1 for planned ones.
    """
    import pandas as pd

    connection.execute("ALTER TABLE runs ADD COLUMN architecture VARCHAR")
    rows = connection.execute(
        "SELECT run_id, model, spec, mean_recurrence, recurrent_parameters FROM runs"
    ).fetchall()
    found = []
    for run_id, model, spec, recurrence, recurrent in rows:
        known = recurrence is not None and recurrence == recurrence
        own = given_architecture(model, recurrence if known else 1.0, recurrent)
        found.append(
            (run_id, own if spec is None else architecture(RunSpec.from_dict(json.loads(spec)).model))
        )
    connection.register("found", pd.DataFrame(found, columns=["run_id", "architecture"], dtype="str"))
    connection.execute(
        "UPDATE runs SET architecture = found.architecture FROM found WHERE runs.run_id = found.run_id"
    )
    connection.unregister("found")
    connection.execute(
        """UPDATE runs SET mean_recurrence = 1, once_parameters = once_parameters + recurrent_parameters,
                           recurrent_parameters = 0 WHERE architecture = $1""",
        [NO_LOOP],
    )
