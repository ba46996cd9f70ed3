"""The commands on text: data prepare, data show, data verify."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sweeps.cli import console
from sweeps.cli.console import JsonOption

if TYPE_CHECKING:
    from parcae.data.manifest import PreparedText

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Prepare text, and look at it.")
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that `prepare` made.")]


@app.command()
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Parquet, JSONL (.gz, .zst) or text files; folders; globs."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to make, or to go on with.")],
    column: Annotated[str, typer.Option("--column", help="The column or key that holds the text.")] = "text",
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="A tokenizer.json; else one is trained on the text.")
    ] = None,
    vocabulary: Annotated[
        int, typer.Option("--vocabulary", help="Entries of the tokenizer that is trained.")
    ] = 32_768,
    tokenizer_characters: Annotated[
        int, typer.Option("--tokenizer-characters", help="Characters that it is trained on at most.", min=1)
    ] = 2_000_000_000,
    context: Annotated[int, typer.Option("--context", help="Tokens a row predicts.", min=1)] = 2_048,
    held_out_one_in: Annotated[
        int, typer.Option("--held-out-one-in", help="One document in so many is for validation.", min=2)
    ] = 200,
    as_json: JsonOption = False,
) -> None:
    """Tokenise text into shards of rows. Run again after a kill, it goes on where it was."""
    import parcae.data.prepare as preparation

    with _Report() as report:
        text = preparation.prepare(
            sources,
            out,
            column=column,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            training_characters=tokenizer_characters,
            context=context,
            held_out_one_in=held_out_one_in,
            report=report,
        )
    _print(text, as_json)


@app.command()
def show(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """What a prepared text holds."""
    from parcae.data.manifest import open_prepared

    _print(open_prepared(folder), as_json)


@app.command()
def verify(folder: FolderArgument) -> None:
    """Read every shard and compare it with its hash."""
    from parcae.data import manifest

    text = manifest.open_prepared(folder)
    manifest.verify(text)
    console.note(f"{folder}: every shard is what was prepared, {text.manifest.hash}")


def _print(text: "PreparedText", as_json: bool) -> None:
    manifest = text.manifest
    sides = {"train": manifest.train, "validation": manifest.validation}
    if as_json:
        halves = {
            name: {
                "documents": side.documents,
                "text_bytes": side.text_bytes,
                "tokens": side.tokens,
                "rows": side.rows,
                "share_cropped": side.cropped / side.tokens,
            }
            for name, side in sides.items()
        }
        values = {
            "folder": str(text.folder),
            "hash": manifest.hash,
            "tokenizer": manifest.tokenizer,
            "vocabulary": manifest.vocabulary,
            "context": manifest.context,
            "bytes_per_token": manifest.bytes_per_token,
        }
        console.print_json(values | halves)
        return
    console.print_table(
        ("", "documents", "tokens", "rows", "cropped"),
        [
            (
                name,
                f"{side.documents:,}",
                f"{side.tokens:,}",
                f"{side.rows:,}",
                f"{side.cropped / side.tokens:.1%}",
            )
            for name, side in sides.items()
        ],
    )
    console.note(
        f"{text.folder}: text {manifest.hash}, tokenizer {manifest.tokenizer} of {manifest.vocabulary:,} "
        f"entries, {manifest.bytes_per_token:.2f} bytes a token, context {manifest.context:,}"
    )


class _Report:
    """A bar with the time left on a terminal; a line now and then in a pipe."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=self.console
        )
        self.task = self.bar.add_task("reading", total=1.0)
        self.last = ("", 0.0)

    def __enter__(self) -> "_Report":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def __call__(self, what: str, share: float) -> None:
        if self.console.is_terminal:
            self.bar.update(self.task, description=what, completed=share)
        elif what != self.last[0] or time.monotonic() - self.last[1] > 30:
            console.note(f"{what}: {share:.0%}")
            self.last = (what, time.monotonic())
