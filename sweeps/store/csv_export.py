"""A sweep's losses as CSV, in the columns that `sweeps.store.csv_import` reads."""

from pathlib import Path

from parcae.errors import InputError
from parcae.files import write_atomically
from sweeps.store.database import StudyTables

_COLUMNS = [
    *("run_id", "model", "flops", "convention", "mean_recurrence", "tokens", "seed"),
    *("parameters", "once_parameters", "recurrent_parameters", "test_recurrence", "val_loss"),
]


def write_csv(tables: StudyTables, path: Path) -> int:
    """Writes one line for each finished run and test recurrence; returns how many.

    A run whose loss is known at its mean recurrence alone has one line, with test_recurrence empty.
    """
    runs = tables.runs[tables.runs["val_loss"].notna()].reindex(columns=[*_COLUMNS[:-2], "val_loss"])
    if runs.empty:
        raise InputError(
            f"the sweep {tables.name!r} has no finished run to export; see `parcae-sweep status`"
        )
    lines = runs.merge(tables.losses, on="run_id", how="left")
    lines["val_loss"] = lines["loss"].fillna(lines["val_loss"])
    lines["test_recurrence"] = lines["test_recurrence"].astype("Int64")
    lines["seed"] = lines["seed"].astype("Int64")
    lines = lines[_COLUMNS].dropna(axis="columns", how="all")
    write_atomically(path, lines.to_csv(index=False).encode())
    return len(lines)
