"""`parcae-sweep plan`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parcae.flops import Convention
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption
from sweeps.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.prediction.planned_loss import Foreseen
    from sweeps.control.plan import Planned, PlannedRun
    from sweeps.folders.spec import RunSpec
    from sweeps.store.rows import RunRow


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
        Convention | None,
        typer.Option("--convention", help="What counts as a FLOP.  [paper]"),
    ] = None,
    learning_rate: Annotated[
        str | None, typer.Option("--learning-rate", help="Peak learning rate of Muon, or of AdamW alone.")
    ] = None,
    adamw_learning_rate: Annotated[
        str | None, typer.Option("--adamw-learning-rate", help="Peak learning rate of AdamW beside Muon.")
    ] = None,
    weight_decay: Annotated[
        str | None, typer.Option("--weight-decay", help="Initial weight decay of matrices.")
    ] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Sequences per optimiser step.")] = None,
    context: Annotated[str | None, typer.Option("--context", help="Tokens per sequence.")] = None,
    backward_depth: Annotated[
        str | None,
        typer.Option("--backward-depth", help="Recurrences with gradient.  [half the mean, rounded up]"),
    ] = None,
    cooldown: Annotated[
        str | None, typer.Option("--cooldown", help="Fraction of the run in which the rate falls to 0.")
    ] = None,
    sampling: Annotated[
        str | None,
        typer.Option("--sampling", help="How recurrences are drawn: per-sequence, per-batch, fixed, huginn."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Arithmetic: float32, bfloat16, float64.")
    ] = None,
    initial_weights: Annotated[
        str | None, typer.Option("--initial-weights", help="How weights are drawn: released or normal.")
    ] = None,
    discretisation: Annotated[
        str | None, typer.Option("--discretisation", help="Of the injection: euler or zero-order-hold.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="The text: a name in `data list`, or a folder that `data prepare` made.  [the preset's]",
        ),
    ] = None,
    epochs_allowed: Annotated[
        str | None, typer.Option("--epochs-allowed", help="How often a run may see the text.  [40]")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", help="The GPU to price, as its driver names it.  [this machine's, or an H100]"
        ),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="A TOML file of these options; options on the command line override it."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option("--sweep", help="The sweep to create or extend. Default: named after the plan."),
    ] = None,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Plan a grid of runs: their tokens, steps, cost and predicted loss.

    Each run spends a budget of FLOPs or reads a number of tokens. Most options take several values, separated
    by commas: one run is planned for each combination. Options left out take the preset's values.
    """
    from sweeps.control.plan import plan_runs
    from sweeps.folders.paths import Study
    from sweeps.plan.request import read_request

    request = read_request(
        from_file,
        {
            "flops": flops,
            "tokens": tokens,
            "model": model,
            "recurrences": recurrences,
            "seeds": seeds,
            "convention": convention.value if convention else None,
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
    planned = plan_runs(Study(db), request, device, _foresee)
    if as_json:
        console.print_json(planned.to_dict())
    else:
        _print_plan(planned)
    if planned.warning:
        console.note(f"warning: {planned.warning}")


def _foresee(
    specs: "Sequence[RunSpec]", runs: "Sequence[RunRow] | None", published: bool
) -> "list[Foreseen | None]":
    from analysis.prediction.planned_loss import foreseen_losses
    from parcae.presets import preset

    model = specs[0].model_name
    points = [(spec.training.mean_recurrence, spec.tokens) for spec in specs]
    return foreseen_losses(model, preset(model).model, points, runs, published=published)


_COLUMNS = ("run", "FLOPs", "recurrence", "tokens", "steps", "predicted loss", "GPU-hours", "GiB", "model")


def _cells(run: "PlannedRun") -> tuple[str, ...]:
    return (
        run.spec.run_id,
        f"{run.spec.flops_budget:.3g}",
        str(run.spec.training.mean_recurrence),
        f"{run.spec.tokens:.4g}",
        f"{run.spec.training.steps:,}",
        "-" if run.predicted_loss is None else f"{run.predicted_loss:.4f}",
        "-" if (hours := run.cost.on_device.hours) is None else f"{hours:.3g}",
        f"{run.cost.memory_gib:.3g}",
        run.spec.model_name,
    )


def _print_plan(planned: "Planned") -> None:
    from sweeps.control.costs import summary
    from sweeps.plan.grid import AXES
    from sweeps.plan.request import option_of

    runs = [(run, run.to_dict()) for run in planned.runs]
    recurrences = {plain["mean_recurrence"] for _, plain in runs}  # which decide the backward depth
    varied = [
        setting
        for setting in ("seed", *map(option_of, AXES))
        if len({(plain["mean_recurrence"], plain[setting]) for _, plain in runs}) > len(recurrences)
    ]
    print_table(
        (*_COLUMNS, *(setting.replace("_", " ") for setting in varied)),
        [(*_cells(run), *(f"{plain[setting]}" for setting in varied)) for run, plain in runs],
    )
    count = f"{len(planned.runs)} runs planned here, {planned.runs_in_sweep} in all"
    console.note(f"sweep {planned.sweep}: {count}; next: parcae-sweep submit")
    if forms := sorted({run.predicted_form for run in planned.runs if run.predicted_form}):
        console.note(f"predicted losses are those of the {' and '.join(forms)} law")
    if any(run.predicted_loss is None for run in planned.runs):
        console.note("no loss is predicted if too few runs of the model on this text are done to fit its law")
    for line in summary([run.cost for run in planned.runs]):
        console.note(line)
