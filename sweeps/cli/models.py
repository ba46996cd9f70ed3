"""The commands on a trained model: eval, export-model."""

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parcae.errors import InputError
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption

if TYPE_CHECKING:
    from sweeps.folders.paths import Study

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run's id, a model's folder, or a repository owner/name.")
]


def evaluate(
    model: ModelArgument,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", help="A text file; repeatable."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="The held-out part of a text: a name or a folder; repeatable. Without either, of the run's.",
        ),
    ] = None,
    recurrences: Annotated[
        str | None,
        typer.Option("--recurrences", help="Test recurrences T, comma-separated; the paper's unless given."),
    ] = None,
    tokens: Annotated[
        int, typer.Option("--tokens", help="A text beyond this many is sampled evenly.", min=1)
    ] = 131_072,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Losses of a trained model in nats per token and bits per byte, at every test recurrence T in one pass.

    MODEL is a run's id, a folder of this project or of the paper's official code, or a Hugging Face
    repository, owner/name (with the extra hub). Nothing in its files is executed.
    """
    from parcae.evaluation.texts import TEST_RECURRENCES, evaluate_texts
    from sweeps.control.models import find_model, find_texts
    from sweeps.folders.paths import Study

    wanted = set(TEST_RECURRENCES if recurrences is None else _whole_numbers(recurrences, "--recurrences"))
    pretrained = find_model(Study(db), model)
    wanted |= {pretrained.mean_recurrence} if recurrences is None else set()
    texts = find_texts(Study(db), model, data or []) if data or not text else []
    results = evaluate_texts(pretrained, text or [], sorted(wanted), tokens, texts)
    _note_if_unfinished(Study(db), model)
    if as_json:
        found = [
            {
                "text": r.text,
                "tokens": r.tokens,
                "bytes": r.bytes,
                "losses": _by_recurrence(r.losses),
                "bits_per_byte": _by_recurrence(r.bits_per_byte),
                "perplexity": _by_recurrence(r.perplexity),
            }
            for r in results
        ]
        console.print_json({"model": model, "mean_recurrence": pretrained.mean_recurrence, "texts": found})
        return
    console.print_table(
        ("text", "tokens", "recurrence", "loss", "bits per byte", "perplexity"),
        [
            (
                r.text,
                f"{r.tokens:,}",
                str(t),
                f"{loss:.4f}",
                f"{r.bits_per_byte[t]:.4f}",
                f"{r.perplexity[t]:.4g}",
            )
            for r in results
            for t, loss in r.losses.items()
        ],
    )


def _by_recurrence(values: "dict[int, float]") -> "dict[str, float | None]":
    """As JSON has it, which knows no infinite number."""
    return {str(t): value if isfinite(value) else None for t, value in values.items()}


def export_model(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", help="The folder to make.")],
    official: Annotated[
        bool, typer.Option("--official", help="Write what the paper's official code loads.")
    ] = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a trained model as model.safetensors and config.json. MODEL as for `eval`."""
    from parcae.formats.pretrained import save_model
    from sweeps.control.models import find_model
    from sweeps.folders.paths import Study

    save_model(find_model(Study(db), model), output, official=official)
    _note_if_unfinished(Study(db), model)
    console.note(f"{output}: the model, {'as the official code has it' if official else 'as safetensors'}")


def _note_if_unfinished(study: "Study", model: str) -> None:
    from sweeps.control.models import has_ended

    if not has_ended(study, model):
        console.note(f"note: run {model} has not ended; this is its newest checkpoint")


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"cannot read {option} {text!r}; it takes whole numbers such as 1,2,4") from None
