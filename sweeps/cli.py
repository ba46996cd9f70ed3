"""The `parcae-sweep` command: parse, call one function, print. What concerns runs is in cli_runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parcae.errors import InputError
from sweeps import cli_runs, console
from sweeps.console import DEFAULT_DB, DbOption, JsonOption, SweepOption

if TYPE_CHECKING:
    from analysis.prediction.planned_loss import Foreseen
    from sweeps.paths import Study
    from sweeps.spec import RunSpec

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run's id, a model's folder, or a repository owner/name.")
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Plan, run and keep an isoFLOP study of looped language models.",
)


def main() -> None:
    console.run(app)


@app.command()
def plan(
    flops: Annotated[
        list[str] | None, typer.Option("--flops", help="Budgets in FLOPs, such as 1e19; repeatable.")
    ] = None,
    tokens: Annotated[
        list[str] | None, typer.Option("--tokens", help="Training tokens, instead of --flops.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="A preset, or a baseline such as small-140m-fixed.  [small-140m]"),
    ] = None,
    recurrences: Annotated[
        str | None,
        typer.Option("--recurrences", help="Mean recurrences, comma-separated.  [1,2,4,6,8,10,12]"),
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="Seeds, comma-separated.  [0]")] = None,
    convention: Annotated[
        str | None,
        typer.Option("--convention", help="What counts as a FLOP: paper, official, unrolled.  [paper]"),
    ] = None,
    learning_rate: Annotated[
        str | None, typer.Option("--learning-rate", help="Peak rate of the matrices, or of all under AdamW.")
    ] = None,
    adamw_learning_rate: Annotated[
        str | None, typer.Option("--adamw-learning-rate", help="Peak rate of what Muon does not move.")
    ] = None,
    weight_decay: Annotated[
        str | None, typer.Option("--weight-decay", help="Initial decay of the matrices.")
    ] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Sequences per optimiser step.")] = None,
    context: Annotated[str | None, typer.Option("--context", help="Tokens per sequence.")] = None,
    backward_depth: Annotated[
        str | None,
        typer.Option("--backward-depth", help="Recurrences with gradient.  [half the mean, rounded up]"),
    ] = None,
    cooldown: Annotated[
        str | None, typer.Option("--cooldown", help="Final fraction of the run over which rates fall to 0.")
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option("--sampling", help="Of depths: per-sequence, per-batch, fixed, huginn."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Of arithmetic: float32, bfloat16, float64.")
    ] = None,
    initial_weights: Annotated[
        str | None, typer.Option("--initial-weights", help="released or normal.")
    ] = None,
    discretisation: Annotated[
        str | None, typer.Option("--discretisation", help="Of the injection: euler or zero-order-hold.")
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="A TOML file of these options; those given here replace it."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", help="The sweep to make or to add to; named after the plan unless given."),
    ] = None,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Lay out a grid of runs: tokens, steps, cost and predicted loss.

    Each run spends a budget of FLOPs, or reads a number of tokens. Every option but --from, --sweep and --db
    takes several values, separated by commas: one run for each combination. What is not given is as the
    preset has it.
    """
    from parcae.corpus import EMBEDDED, load_corpus
    from parcae.tokenizer import BYTES, tokenizer_hash
    from sweeps.collect import collect
    from sweeps.grid import Text
    from sweeps.paths import Study, check_sweep_name
    from sweeps.request import read_request
    from sweeps.store import check_openable
    from sweeps.sweep import plan_sweep

    request = read_request(
        from_file,
        {
            "flops": flops,
            "tokens": tokens,
            "model": model,
            "recurrences": recurrences,
            "seeds": seeds,
            "convention": convention,
            "learning_rate": learning_rate,
            "adamw_learning_rate": adamw_learning_rate,
            "weight_decay": weight_decay,
            "batch": batch,
            "context": context,
            "backward_depth": backward_depth,
            "cooldown": cooldown,
            "sampling": sampling,
            "precision": precision,
            "initial_weights": initial_weights,
            "discretisation": discretisation,
            "sweep": sweep,
        },
    )
    text = load_corpus(EMBEDDED)
    specs = request.runs(Text(text.name, text.hash, BYTES, tokenizer_hash(BYTES)))
    study = Study(db)
    name = check_sweep_name(request.sweep)
    check_openable(db)
    foreseen = _foreseen(study, specs)
    manifest = plan_sweep(study, name, specs, [found.loss if found else None for found in foreseen])
    collect(db)
    runs = [
        _planned_run(spec, manifest.predicted[spec.run_id], found)
        for spec, found in zip(specs, foreseen, strict=True)
    ]
    if as_json:
        console.print_json({"sweep": name, "runs": runs})
    else:
        _print_plan(name, runs, len(manifest.predicted))
    epochs = max(spec.tokens for spec in specs) / len(text.train)
    if epochs > 10:
        console.note(
            f"note: the largest run sees the {len(text.train):,} tokens of {text.name} {epochs:,.0f} times"
        )


def _foreseen(study: "Study", specs: "list[RunSpec]") -> "list[Foreseen | None]":
    """What the chosen form foresees, from the runs that are done, else from the published study."""
    from analysis.prediction.planned_loss import foreseen_losses
    from parcae.presets import preset
    from sweeps.collect import collect
    from sweeps.store import model_runs

    runs = None
    if study.db.exists():
        collect(study.db)
        runs = model_runs(study.db, specs[0].model_name)
    points = [(spec.training.mean_recurrence, spec.tokens) for spec in specs]
    found = foreseen_losses(specs[0].model_name, preset(specs[0].model_name).model, points, runs)
    return [None if spec.variant else loss for spec, loss in zip(specs, found, strict=True)]


def _planned_run(spec: "RunSpec", predicted: float | None, found: "Foreseen | None") -> dict[str, Any]:
    training = spec.training
    return {
        "run_id": spec.run_id,
        "model": spec.model_name,
        "parameters": spec.parameters,
        "flops": spec.flops_budget,
        "mean_recurrence": training.mean_recurrence,
        "backward_depth": training.backward_depth,
        "tokens": spec.tokens,
        "steps": training.steps,
        "flops_per_token": spec.flops_per_token,
        "predicted_loss": predicted,
        "predicted_form": found.form if found and found.loss == predicted else None,
        "seed": training.seed,
        "variant": spec.variant,
        "optimiser": training.optimiser.value,
        "learning_rate": training.learning_rate,
        "adamw_learning_rate": training.adamw_learning_rate,
        "weight_decay": training.weight_decay,
        "batch": training.batch_sequences,
        "context": spec.model.context,
        "cooldown": training.cooldown,
        "sampling": training.sampling.value,
        "precision": training.precision.value.removesuffix("-mixed"),
        "initial_weights": training.initial_weights.value,
        "discretisation": spec.model.discretisation.value,
    }


def _print_plan(name: str, runs: list[dict[str, Any]], in_sweep: int) -> None:
    console.print_table(
        ("run", "model", "FLOPs", "recurrence", "tokens", "steps", "FLOPs/token", "predicted loss"),
        [
            (
                run["run_id"],
                run["model"],
                f"{run['flops']:.3g}",
                str(run["mean_recurrence"]),
                f"{run['tokens']:.4g}",
                f"{run['steps']:,}",
                f"{run['flops_per_token']:.4g}",
                "-" if run["predicted_loss"] is None else f"{run['predicted_loss']:.4f}",
            )
            for run in runs
        ],
    )
    console.note(f"sweep {name}: {len(runs)} runs planned here, {in_sweep} in all; next: parcae-sweep submit")
    if forms := sorted({run["predicted_form"] for run in runs if run["predicted_form"]}):
        console.note(f"predicted losses are those of the {' and '.join(forms)} law")
    if any(run["predicted_loss"] is None for run in runs):
        console.note("no predicted loss where too few runs of the model are done to fit its training law")


@app.command()
def collect(db: DbOption = DEFAULT_DB) -> None:
    """Bring the database up to date with the run folders. Every command that reads results does so."""
    from sweeps.collect import collect as collect_folders
    from sweeps.paths import Study
    from sweeps.sweep import find_sweep

    find_sweep(Study(db), None)
    collect_folders(db)
    console.note(f"{db} is up to date with {Study(db).runs}")


@app.command()
def rebuild(db: DbOption = DEFAULT_DB) -> None:
    """Make the database anew from the run folders."""
    from sweeps.collect import rebuild as rebuild_database

    kept = rebuild_database(db)
    console.note(
        f"{db} was made anew" + (f"; the old file could not be read and is kept as {kept}" if kept else "")
    )


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The study: a header, then a run a line.")],
    sweep: Annotated[str, typer.Option("--sweep", help="What to call it.")],
    db: DbOption = DEFAULT_DB,
) -> None:
    """Take in somebody's study from a CSV file.

    Columns: model, flops, mean_recurrence, val_loss, and if known tokens, test_recurrence, seed; or
    parameters, tokens, val_loss; or once_parameters, recurrent_parameters, mean_recurrence, tokens, val_loss.
    """
    from sweeps.collect import collect
    from sweeps.imported import import_csv
    from sweeps.paths import Study
    from sweeps.store import check_openable

    check_openable(db)
    table = import_csv(Study(db), file, sweep)
    collect(db)
    ignored = f"; columns not used: {', '.join(table.ignored)}" if table.ignored else ""
    console.note(f"sweep {sweep}: {len(table.runs)} runs imported{ignored}")


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", help="The CSV file to write.")],
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a sweep's losses as CSV: a line a run and test recurrence, in the columns `import` takes."""
    from analysis.data.study import read_sweep
    from parcae.files import check_output
    from sweeps.exported import write_csv

    lines = write_csv(read_sweep(db, sweep), check_output(output))
    console.note(f"{output}: {lines} losses")


@app.command("eval")
def evaluate(
    model: ModelArgument,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", help="A text file, read as bytes; repeatable. Else the held-out text."),
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
    """Losses of a trained model in nats a token, at every test recurrence T in one pass.

    MODEL is a run's id, a folder of this project or of the paper's official code, or a Hugging Face
    repository, owner/name (with the extra hub). Nothing in its files is executed.
    """
    from sweeps.evaluation import TEST_RECURRENCES, evaluate_texts, find_model, has_ended
    from sweeps.paths import Study

    wanted = set(TEST_RECURRENCES if recurrences is None else _whole_numbers(recurrences, "--recurrences"))
    pretrained = find_model(Study(db), model)
    wanted |= {pretrained.mean_recurrence} if recurrences is None else set()
    results = evaluate_texts(pretrained, text or [], sorted(wanted), tokens)
    if not has_ended(Study(db), model):
        console.note(f"note: run {model} has not ended; this is its newest checkpoint")
    if as_json:
        texts = [
            {"text": r.text, "tokens": r.tokens, "losses": {str(t): loss for t, loss in r.losses.items()}}
            for r in results
        ]
        console.print_json({"model": model, "mean_recurrence": pretrained.mean_recurrence, "texts": texts})
        return
    console.print_table(
        ("text", "tokens", "recurrence", "loss"),
        [(r.text, f"{r.tokens:,}", str(t), f"{loss:.4f}") for r in results for t, loss in r.losses.items()],
    )


@app.command("export-model")
def export_model(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", help="The folder to make.")],
    official: Annotated[
        bool, typer.Option("--official", help="Write what the paper's official code loads.")
    ] = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a trained model as model.safetensors and config.json. MODEL as for `eval`."""
    from parcae.pretrained import save_model
    from sweeps.evaluation import find_model, has_ended
    from sweeps.paths import Study

    save_model(find_model(Study(db), model), output, official=official)
    if not has_ended(Study(db), model):
        console.note(f"note: run {model} has not ended; this is its newest checkpoint")
    console.note(f"{output}: the model, {'as the official code has it' if official else 'as safetensors'}")


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"cannot read {option} {text!r}; it takes whole numbers such as 1,2,4") from None


cli_runs.add_to(app)

if __name__ == "__main__":
    main()
