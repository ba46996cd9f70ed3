"""The commands that fill the database and write from it: collect, rebuild, import, export."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, SweepOption


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
        Path, typer.Argument(metavar="FILE.csv", help="The study: a header, then one line per run.")
    ],
    sweep: Annotated[str, typer.Option("--sweep", help="A name for the sweep.")],
    db: DbOption = DEFAULT_DB,
) -> None:
    """Import a study from a CSV file.

    Columns: model, flops, mean_recurrence, val_loss, and optionally tokens, test_recurrence, seed; or
    parameters, tokens, val_loss; or once_parameters, recurrent_parameters, mean_recurrence, tokens, val_loss.
    """
    from sweeps.folders.paths import Study
    from sweeps.store.collect import collect
    from sweeps.store.csv_import import import_csv
    from sweeps.store.database import check_openable

    check_openable(db)
    table = import_csv(Study(db), file, sweep)
    collect(db)
    ignored = f"; ignored columns: {', '.join(table.ignored)}" if table.ignored else ""
    console.note(f"sweep {sweep}: {len(table.runs)} runs imported{ignored}")


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
