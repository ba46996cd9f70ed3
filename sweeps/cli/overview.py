"""The commands that show what runs are doing: status, watch, logs, why."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption, SweepOption
from sweeps.cli.tables import print_table
from sweeps.cli.watching.session import print_counts, watch_sweep

if TYPE_CHECKING:
    from sweeps.control.explain import Explanation
    from sweeps.control.overview import RunOverview
    from sweeps.store.rows import SweepRows

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run id, or its first digits.")]


def status(sweep: SweepOption = None, db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """Show the state of every run of a sweep."""
    from analysis.data.study import read_sweep
    from sweeps.control.overview import counts, overview, slurm_was_asked
    from sweeps.folders.paths import Study

    rows = read_sweep(db, sweep)
    runs = overview(Study(db), rows)
    if as_json:
        plain = [run.to_dict() for run in runs]
        damage = list(rows.damage)
        console.print_json({"sweep": rows.name, "counts": counts(rows), "damage": damage, "runs": plain})
        return
    print_table(_STATUS_COLUMNS, map(_status_cells, runs))
    print_counts(rows)
    if any(run.job for run in runs) and (asked := slurm_was_asked(Study(db))):
        console.note(asked)


_STATUS_COLUMNS = ("run", "model", "FLOPs", "recurrence", "state", "loss", "step", "job", "reason")


def _status_cells(run: "RunOverview") -> tuple[str, ...]:
    row = run.row
    return (
        row.run_id,
        str(row.model),
        _short(row.flops, ".3g"),
        _short(row.mean_recurrence, "g"),
        row.state.value,
        _short(row.val_loss, ".4f"),
        "-" if run.step is None else f"{run.step}/{row.steps}",
        run.job or "-",
        row.reason or "",
    )


def watch(sweep: SweepOption = None, db: DbOption = DEFAULT_DB) -> None:
    """Show a sweep live until none of its runs is queued or running. Ctrl-C does not stop the runs."""
    from sweeps.control.find import own_sweep

    study, name = own_sweep(db, sweep)
    watch_sweep(study, name, lambda: None)


def logs(
    run: RunArgument,
    lines: Annotated[int, typer.Option("--lines", help="How many lines.", min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Keep printing until the run ends.")] = False,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print the end of a run's logs: on SLURM, one per task of its job."""
    from sweeps.control.explain import follow_log, log_lines
    from sweeps.control.find import find_run, own_sweep
    from sweeps.store.collect import collect_sweep

    study, name = own_sweep(db, sweep)
    run_id = find_run(collect_sweep(study.db, name), run)
    for line in log_lines(study, run_id, lines):
        print(line)
    if follow:
        for line in follow_log(study, run_id):
            print(line, end="", flush=True)


def why(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run id, or its first digits. Default: all that went wrong."),
    ] = None,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Explain what happened to a run: state, reason, attempts, last traceback, end of its log."""
    from sweeps.control.explain import explain
    from sweeps.control.find import find_run, own_sweep
    from sweeps.store.collect import collect_sweep

    study, name = own_sweep(db, sweep)
    rows = collect_sweep(study.db, name)
    if run is None:
        _print_went_wrong(rows, as_json)
        return
    explanation = explain(study, find_run(rows, run))
    if as_json:
        console.print_json(explanation.to_dict())
    else:
        _print_explanation(explanation)


def _print_went_wrong(sweep: "SweepRows", as_json: bool) -> None:
    from sweeps.control.overview import went_wrong

    runs = went_wrong(sweep)
    if as_json:
        plain = [{"run_id": run.run_id, "state": run.state, "reason": run.reason} for run in runs]
        console.print_json({"sweep": sweep.name, "runs": plain})
        return
    if not runs:
        console.note(f"sweep {sweep.name}: nothing has failed")
    for run in runs:
        print(f"{run.run_id} is {run.state}" + (f": {run.reason}" if run.reason else ""))


def _print_explanation(explanation: "Explanation") -> None:
    status = explanation.status
    print(f"{explanation.run_id} is {status.state}" + (f": {status.reason}" if status.reason else ""))
    for attempt in explanation.attempts:
        job = f", job {attempt.job}" if attempt.job else ""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.at))
        print(f"  {at}  {attempt.event} on {attempt.host}{job}")
    if explanation.traceback:
        print(explanation.traceback.rstrip())
    elif explanation.log_tail:
        print(f"the end of {explanation.logs[-1]}:")
        for line in explanation.log_tail:
            print(f"  {line}")
    if explanation.next_step:
        print(explanation.next_step)


def _short(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
