"""The commands on text: data prepare, list, show, verify, prefetch."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption
from sweeps.cli.tables import print_table

if TYPE_CHECKING:
    from parcae.data.manifest import PreparedText

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Prepare texts for training, and inspect them."
)
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that `prepare` made.")]


@app.command()
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Parquet, JSONL (.gz, .zst) or text files; folders or globs of them; hf://datasets/OWNER/NAME/"
            "GLOB; or the name of a text that `list` shows.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="The folder to create or to continue. Default for a named text: data/NAME."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", help="The named text that the sources contain; it determines the options below."
        ),
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", help="The column or key that holds the text.  [text]")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="A tokenizer.json. Default: one is trained on the text."),
    ] = None,
    vocabulary: Annotated[
        int | None, typer.Option("--vocabulary", help="Entries of the trained tokenizer.  [32768]")
    ] = None,
    tokenizer_characters: Annotated[
        int | None,
        typer.Option(
            "--tokenizer-characters",
            help="The tokenizer is trained on at most this many characters.  [2000000000]",
            min=1,
        ),
    ] = None,
    context: Annotated[
        int | None, typer.Option("--context", help="Tokens that each row predicts.  [2048]", min=1)
    ] = None,
    held_out_one_in: Annotated[
        int | None,
        typer.Option(
            "--held-out-one-in", help="One document in this many is held out for validation.  [200]", min=2
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tokenise text into shards of rows. If it was interrupted, the same command continues."""
    from sweeps.control.texts import prepare_text

    given = {
        "column": column,
        "tokenizer": tokenizer,
        "vocabulary": vocabulary,
        "training_characters": tokenizer_characters,
        "context": context,
        "held_out_one_in": held_out_one_in,
    }
    with ShareDone("reading") as report:
        text = prepare_text(sources, out, recipe, given, report)
    _print(text, as_json)


@app.command("list")
def list_(db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """List the named texts, and those prepared beside the database."""
    from sweeps.folders.paths import Study
    from sweeps.plan.texts import known_texts

    texts = known_texts(Study(db))
    if as_json:
        console.print_json({"texts": [text.to_dict() for text in texts]})
        return
    print_table(
        ("text", "vocabulary", "training tokens", "where"),
        [
            (
                text.name,
                "-" if text.vocabulary is None else f"{text.vocabulary:,}",
                "-" if text.tokens is None else f"{text.tokens:.4g}",
                text.where,
            )
            for text in texts
        ],
    )


@app.command()
def prefetch(
    source: Annotated[
        str, typer.Argument(metavar="NAME", help="A named text, or hf://datasets/OWNER/NAME/GLOB.")
    ],
) -> None:
    """Download a text now, so that `prepare` needs no network later."""
    from sweeps.control.texts import prefetch_text

    console.note(f"downloading {source}")
    files = prefetch_text(source)
    size = sum(file.stat().st_size for file in files)
    console.note(f"{source}: {len(files)} files of {size / 2**30:.2f} GiB are here")


@app.command()
def show(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show what a prepared text contains."""
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
    from sweeps.control.texts import description

    if as_json:
        console.print_json(description(text))
        return
    manifest = text.manifest
    print_table(
        ("", "documents", "tokens", "rows", "cropped"),
        [
            (
                name,
                f"{side.documents:,}",
                f"{side.tokens:,}",
                f"{side.rows:,}",
                f"{side.cropped / side.tokens:.1%}",
            )
            for name, side in (("train", manifest.train), ("validation", manifest.validation))
        ],
    )
    _note_if_much_is_cropped(text)
    console.note(
        f"{text.folder}: text {manifest.hash}, tokenizer {manifest.tokenizer} of {manifest.vocabulary:,} "
        f"entries, {manifest.bytes_per_token:.2f} bytes a token, context {manifest.context:,}"
    )


MUCH_CROPPED = 0.5
"""Of a context of 2,048 and documents from the web, best fit crops about a third."""


def _note_if_much_is_cropped(text: "PreparedText") -> None:
    side = text.manifest.train
    if (share := side.cropped / side.tokens) > MUCH_CROPPED:
        context = text.manifest.context
        console.note(
            f"note: {share:.1%} of the training tokens are cropped and never seen, because documents, of "
            f"{side.tokens / side.documents:,.0f} tokens on average, are longer than the context of "
            f"{context:,}; a larger --context or shorter documents keep more"
        )


class ShareDone:
    """How much of a work is done: a bar with the time left on a terminal; a line now and then in a pipe."""

    def __init__(self, what: str) -> None:
        self.console = Console(file=sys.stderr)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=self.console
        )
        self.task = self.bar.add_task(what, total=1.0)
        self.last = ("", 0.0)

    def __enter__(self) -> "ShareDone":
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.bar.stop()

    def __call__(self, what: str, share: float) -> None:
        now = time.monotonic()
        if what == self.last[0] and now - self.last[1] < (0.1 if self.console.is_terminal else 30):
            return
        self.last = (what, now)
        if self.console.is_terminal:
            self.bar.update(self.task, description=what, completed=share)
        else:
            console.note(f"{what}: {share:.0%}")
