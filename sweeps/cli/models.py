"""The commands on a trained model: eval, generate, export-model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parcae.config import Keep
from parcae.errors import InputError
from parcae.evaluation.bundle import Baselines
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption
from sweeps.cli.data import ShareDone
from sweeps.cli.tables import print_table

if TYPE_CHECKING:
    from sweeps.folders.paths import Study

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run id, a model folder, or a repository owner/name.")
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
            help="The held-out part of a text, by name or folder; repeatable. Default: of the run's.",
        ),
    ] = None,
    recurrences: Annotated[
        str | None,
        typer.Option("--recurrences", help="Test recurrences T, comma-separated. Default: the paper's."),
    ] = None,
    tokens: Annotated[
        int, typer.Option("--tokens", help="Longer texts are sampled evenly down to this many tokens.", min=1)
    ] = 131_072,
    wikitext: Annotated[
        list[Path] | None,
        typer.Option("--wikitext", help="A file of WikiText: perplexity per word; repeatable."),
    ] = None,
    lambada: Annotated[
        list[Path] | None,
        typer.Option("--lambada", help="A file of passages, as LAMBADA: their last words; repeatable."),
    ] = None,
    core: Annotated[
        Path | None, typer.Option("--core", help="The folder of a CORE bundle: CORE, CORE-extended.")
    ] = None,
    baselines: Annotated[
        Baselines,
        typer.Option("--baselines", help="CORE's random baselines: as the bundle has them, or corrected."),
    ] = Baselines.CORRECTED,
    seeds: Annotated[
        str, typer.Option("--seeds", help="Seeds of CORE's few-shot examples, comma-separated.")
    ] = "1234",
    harness: Annotated[
        str | None,
        typer.Option("--harness", help="Tasks of lm-evaluation-harness, comma-separated (extra `harness`)."),
    ] = None,
    include: Annotated[
        Path | None, typer.Option("--include", help="A folder that defines tasks for --harness.")
    ] = None,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Print what a trained model makes of texts and tasks, at every test recurrence T.

    Texts give losses, in nats per token and bits per byte. Scores on tasks are kept in the run's folder.
    MODEL is a run id, a folder written by this project or by the paper's official code, or a Hugging Face
    repository owner/name (needs the extra `hub`). Nothing in its files is executed.
    """
    from parcae.evaluation.tasks import Tasks
    from sweeps.control.models import evaluate_model
    from sweeps.folders.paths import Study
    from sweeps.store.scores import summarised

    tasks = Tasks(
        wikitext=wikitext or (),
        lambada=lambada or (),
        core=core,
        baselines=baselines,
        seeds=_whole_numbers(seeds, "--seeds"),
        harness=harness.split(",") if harness else (),
        include=include,
    )
    wanted = None if recurrences is None else _whole_numbers(recurrences, "--recurrences")
    with ShareDone("evaluating") as report:
        evaluation = evaluate_model(Study(db), model, text or [], data or [], wanted, tokens, tasks, report)
    _note_if_unfinished(Study(db), model)
    if as_json:
        console.print_json(evaluation.to_dict())
        return
    if evaluation.texts:
        print_table(
            ("text", "tokens", "recurrence", "loss", "bits per byte", "perplexity"),
            [
                (
                    each.text,
                    f"{each.tokens:,}",
                    str(t),
                    f"{loss:.4f}",
                    f"{each.bits_per_byte[t]:.4f}",
                    f"{each.perplexity[t]:.4g}",
                )
                for each in evaluation.texts
                for t, loss in each.losses.items()
            ],
        )
    if summaries := summarised(evaluation.scores):
        print_table(
            ("task", "metric", "recurrence", "score", "deviation", "seeds", "examples", "step", "version"),
            [
                (
                    each.task,
                    each.metric,
                    t,
                    _number(mean),
                    _number(each.deviation[t]),
                    str(len(each.seeds)),
                    f"{each.examples:,}",
                    f"{each.step:,}",
                    each.version,
                )
                for each in summaries
                for t, mean in each.mean.items()
            ],
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def generate(
    model: ModelArgument,
    prompt: Annotated[str, typer.Option("--prompt", help="The beginning of the text.")] = "",
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens", help="Tokens to generate. Default: 64, or what the context has room for.", min=1
        ),
    ] = None,
    recurrences: Annotated[
        int | None,
        typer.Option("--recurrences", help="Most recurrences T for a token. Default: the mean in training."),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", help="0 takes the likeliest token; 1 samples.", min=0)
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the sampling.", min=0)] = 0,
    exit_below: Annotated[
        float,
        typer.Option(
            "--exit-below",
            help="A token's loop ends once a recurrence moves its prediction by less: KL in nats. 0: never.",
            min=0,
        ),
    ] = 0.0,
    keep: Annotated[
        Keep,
        typer.Option(
            "--keep",
            help="Whose keys and values are kept: every recurrence's, or the last's in T times less memory.",
        ),
    ] = Keep.EVERY,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Continue a text with a trained model, and print how many recurrences T each token took.

    MODEL is as for `eval`. The prompt is the beginning of a document; without one the model starts by itself.
    """
    from sweeps.control.models import continue_text
    from sweeps.folders.paths import Study

    console.note("generating")
    found = continue_text(
        Study(db),
        model,
        prompt,
        tokens,
        recurrences,
        temperature=temperature,
        seed=seed,
        keep=keep,
        exit_below=exit_below,
    )
    _note_if_unfinished(Study(db), model)
    if as_json:
        console.print_json(found.to_dict())
        return
    print("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in found.prompt + found.text))
    spent = " ".join(map(str, found.recurrences))
    mean = sum(found.recurrences) / len(found.recurrences)
    console.note(f"T per token, {mean:.4g} on average: {spent}")


def export_model(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", help="The folder to create.")],
    official: Annotated[
        bool, typer.Option("--official", help="Write the format of the paper's official code.")
    ] = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a trained model as model.safetensors and config.json. MODEL is as for `eval`."""
    from parcae.formats.pretrained import save_model
    from sweeps.control.models import find_model
    from sweeps.folders.paths import Study

    save_model(find_model(Study(db), model), output, official=official)
    _note_if_unfinished(Study(db), model)
    console.note(f"{output}: the model, {'in the official format' if official else 'as safetensors'}")


def _note_if_unfinished(study: "Study", model: str) -> None:
    from sweeps.control.models import has_ended

    if not has_ended(study, model):
        console.note(f"note: run {model} has not ended; this is its newest checkpoint")


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"cannot read {option} {text!r}; it takes whole numbers such as 1,2,4") from None
