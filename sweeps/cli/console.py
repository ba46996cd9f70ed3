"""What the two commands share: options, tables, JSON, and how an error reaches the user.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong (one sentence, no traceback).
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from parcae import __version__
from parcae.errors import InputError, WorkFailed

DbOption = Annotated[
    Path, typer.Option("--db", help="The database; run folders are in runs/ beside it.", show_default=True)
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", help="The sweep; the latest by default.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
DEFAULT_DB = Path("results.duckdb")


def new_app(purpose: str) -> typer.Typer:
    """A command line without commands yet; `purpose` is its help."""
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

    @app.callback(help=purpose)
    def options(
        version: Annotated[
            bool,
            typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
        ] = False,
    ) -> None:
        pass

    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"parcae-lab {__version__}")
        raise typer.Exit


def run(app: typer.Typer) -> None:
    """Runs a command line and exits with its code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(standalone_mode=False)
    except typer.TyperException as error:
        fail(error.format_message().replace(" Value error,", ""), error.exit_code)
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
        fail(f"{what}; nothing that was finished is lost, and the command can be run again", 1)
    for sentence in _remarks:
        note(sentence)
    sys.exit(code if isinstance(code, int) else 0)


def fail(sentence: str, code: int) -> None:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(code)


def note(sentence: str) -> None:
    """Prints a remark for people, on stderr: scripts read stdout."""
    print(sentence, file=sys.stderr)


_remarks: list[str] = []


def remark(sentence: str) -> None:
    """A note that is printed after the command's output, and only if the command succeeds."""
    _remarks.append(sentence)


def print_json(value: Any) -> None:
    """Prints strict JSON: a missing number is null, never NaN."""
    print(json.dumps(value, indent=2, allow_nan=False))
