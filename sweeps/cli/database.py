"""The commands that fill the database and write from it: collect, rebuild, import, export."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, SweepOption
from sweeps.store.importing.numbers import Count, LossUnit

if TYPE_CHECKING:
    from sweeps.store.importing.understand import Understood

FIRST = 5
"""Lines that a dry run shows."""


def collect(db: DbOption = DEFAULT_DB) -> None:
    """Bring the database up to date with the run folders. Every command that reads results does so."""
    from sweeps.folders.paths import Study
    from sweeps.plan.manifest import find_sweep
    from sweeps.store.collect import collect as collect_folders

    find_sweep(Study(db), None)
    for sentence in collect_folders(db):
        console.note(sentence)
    console.note(f"{db} is up to date with {Study(db).runs}")


def rebuild(db: DbOption = DEFAULT_DB) -> None:
    """Make the database again from the run folders."""
    from sweeps.store.collect import rebuild as rebuild_database

    kept = rebuild_database(db)
    console.note(
        f"{db} was rebuilt" + (f"; the old file could not be read and is kept as {kept}" if kept else "")
    )


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The study, with a line or record for each run.")
    ],
    sweep: Annotated[str, typer.Option("--sweep", help="A name for the sweep.")],
    db: DbOption = DEFAULT_DB,
    map_: Annotated[
        str, typer.Option("--map", metavar="FIELD=COLUMN,...", help="Columns under names of their own.")
    ] = "",
    params_in: Annotated[Count | None, typer.Option("--params-in", help="The unit of parameters.")] = None,
    tokens_in: Annotated[Count | None, typer.Option("--tokens-in", help="The unit of tokens.")] = None,
    loss: Annotated[LossUnit | None, typer.Option("--loss", help="The unit of losses.")] = None,
    bytes_per_token: Annotated[
        float | None, typer.Option("--bytes-per-token", min=0.1, help="Of the tokenizer, for bits per byte.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="The table of a database, or the sweep of one of parcae's.")
    ] = None,
    as_given: Annotated[
        bool, typer.Option("--as-given", help="Take numbers at their word, however implausible.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the imported sweep of this name.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the first runs as understood, and import nothing.")
    ] = False,
) -> None:
    """Import a study: CSV, TSV, JSON, JSON lines, Parquet or DuckDB.

    A run needs parameters, tokens and loss (N, D, loss); or flops, mean_recurrence and loss; or
    once_parameters, recurrent_parameters, mean_recurrence, tokens and loss. Columns are found by their
    common names. Every further column is kept.
    """
    from sweeps.folders.paths import Study
    from sweeps.store.collect import collect
    from sweeps.store.database import check_openable
    from sweeps.store.importing.columns import parse_map
    from sweeps.store.importing.study import import_study
    from sweeps.store.importing.understand import Options, understand

    gc.disable()  # all that is read stays: looking for garbage in it takes a third of the time
    options = Options(
        mapping=parse_map(map_) if map_ else {},
        parameters_in=params_in,
        tokens_in=tokens_in,
        loss=loss,
        bytes_per_token=bytes_per_token,
        as_given=as_given,
        table=table,
    )
    if dry_run:
        found = understand(file, options)
        _show_first(found)
        done = f"{len(found.lines) - found.left_out.total()} lines would be imported"
    else:
        check_openable(db)
        found, used = import_study(Study(db), file, sweep, options, replace=replace)
        collect(db)
        done = f"{used} runs imported"
    for remark in found.remarks:
        console.note(remark)
    left_out = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
    console.note(f"sweep {sweep}: {done}" + (f"; left out: {left_out}" if left_out else ""))


def _show_first(found: "Understood") -> None:
    from sweeps.cli.tables import print_table
    from sweeps.store.importing.study import cells_of_line

    cells = [cells_of_line(line) for line in found.lines[:FIRST]]
    columns = list(dict.fromkeys(name for one in cells for name in one))
    print_table(columns, [[one.get(name, "-") for name in columns] for one in cells])


def export(
    output: Annotated[Path, typer.Option("--output", help="The CSV file to write.")],
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a sweep's losses as CSV: one line per run and test recurrence, in the columns of `import`."""
    from analysis.data.study import read_sweep
    from parcae.files import check_output
    from sweeps.store.csv_export import write_csv

    lines = write_csv(read_sweep(db, sweep), check_output(output))
    console.note(f"{output}: {lines} losses")
