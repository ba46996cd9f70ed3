"""`parcae-sweep plan`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption

if TYPE_CHECKING:
    from analysis.prediction.planned_loss import Foreseen
    from sweeps.folders.paths import Study
    from sweeps.folders.spec import RunSpec


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
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="The text: a name of `data list`, or a folder of `data prepare`.  [the preset's]"
        ),
    ] = None,
    epochs_allowed: Annotated[
        str | None, typer.Option("--epochs-allowed", help="How often a run may see the text.  [40]")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="The GPU that the cost is of, as its driver names it.  [that of here]"),
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
    from sweeps.control.costs import price_runs, summary
    from sweeps.folders.paths import Study, check_sweep_name
    from sweeps.plan.manifest import plan_sweep
    from sweeps.plan.request import read_request
    from sweeps.plan.texts import check_epochs, choose_text, locate
    from sweeps.store.collect import collect
    from sweeps.store.database import check_openable

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
            "data": data,
            "epochs_allowed": epochs_allowed,
            "sweep": sweep,
        },
    )
    study = Study(db)
    text = choose_text(study, request.data)
    specs = request.runs(text.text)
    warning = check_epochs(text, specs, request.epochs_allowed)
    name = check_sweep_name(request.sweep)
    check_openable(db)
    locate(study, text)
    foreseen = _foreseen(study, specs)
    manifest = plan_sweep(study, name, specs, [found.loss if found else None for found in foreseen])
    collect(db)
    costs = price_runs(study, specs, device)
    runs = [
        _planned_run(spec, manifest.predicted[spec.run_id], found) | cost.to_dict()
        for spec, found, cost in zip(specs, foreseen, costs, strict=True)
    ]
    if as_json:
        console.print_json({"sweep": name, "runs": runs})
    else:
        _print_plan(name, runs, len(manifest.predicted))
        for line in summary(costs):
            console.note(line)
    if warning:
        console.note(f"warning: {warning}")


def _foreseen(study: "Study", specs: "list[RunSpec]") -> "list[Foreseen | None]":
    """What the chosen form foresees, from the runs on the same text, else from the published study's."""
    from analysis.prediction.planned_loss import foreseen_losses
    from parcae.data.recipes import FINEWEB_EDU as PUBLISHED_TEXT
    from parcae.presets import preset
    from sweeps.store.collect import collect
    from sweeps.store.database import model_runs

    runs = None
    if study.db.exists():
        collect(study.db)
        runs = model_runs(study.db, specs[0].model_name)
        runs = runs[runs["corpus_hash"] == specs[0].corpus_hash]
    points = [(spec.training.mean_recurrence, spec.tokens) for spec in specs]
    found = foreseen_losses(
        specs[0].model_name,
        preset(specs[0].model_name).model,
        points,
        runs,
        published=specs[0].corpus == PUBLISHED_TEXT,
    )
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
        ("run", "model", "FLOPs", "recurrence", "tokens", "steps", "GPU-hours", "GiB", "predicted loss"),
        [
            (
                run["run_id"],
                run["model"],
                f"{run['flops']:.3g}",
                str(run["mean_recurrence"]),
                f"{run['tokens']:.4g}",
                f"{run['steps']:,}",
                "-" if run["gpu_hours"] is None else f"{run['gpu_hours']:.3g}",
                f"{run['memory_gib']:.3g}",
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
