"""What the two commands share: options, tables, JSON, and how an error reaches the user.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong (one sentence, no traceback).
"""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from parcae.errors import InputError, WorkFailed

DbOption = Annotated[
    Path, typer.Option("--db", help="The database; run folders are in runs/ beside it.", show_default=True)
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", help="The sweep; the latest unless named.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DEFAULT_DB = Path("results.duckdb")


def run(app: typer.Typer) -> None:
    """Runs a command line and exits with its code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(standalone_mode=False)
    except typer.TyperException as error:
        fail(error.format_message(), error.exit_code)
    except InputError as error:
        fail(str(error), 2)
    except WorkFailed as error:
        fail(str(error), 1)
    except (typer.Abort, KeyboardInterrupt):
        fail("Interrupted.", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # a full or read-only disk, above all
        what = f"cannot use {error.filename}: {error.strerror}" if error.filename else str(error)
        fail(f"{what}; what was done stays, and the command can be run again", 1)
    for sentence in _remarks:
        note(sentence)
    sys.exit(code if isinstance(code, int) else 0)


def fail(sentence: str, code: int) -> None:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(code)


def note(sentence: str) -> None:
    """A remark for people, kept out of what scripts read."""
    print(sentence, file=sys.stderr)


_remarks: list[str] = []


def remark(sentence: str) -> None:
    """A note that stands after what the command prints, and not at all where the command fails."""
    _remarks.append(sentence)


def print_json(value: Any) -> None:
    """Strict JSON; a number that is missing is null, never NaN."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table on a terminal; tab-separated lines in a pipe."""
    console = Console()
    if not console.is_terminal:
        for row in (columns, *rows):
            print("\t".join(row))
        return
    table = Table(title=title or None)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)
