"""The commands that say what runs are doing: status, watch, logs, why."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parcae.errors import WorkFailed
from parcae.records import to_plain
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption, SweepOption
from sweeps.cli.watching import print_counts, watch_sweep

if TYPE_CHECKING:
    from sweeps.folders.paths import Study

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or how it begins.")]


def status(sweep: SweepOption = None, db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """What every run of a sweep is doing."""
    from analysis.data.study import read_sweep
    from sweeps.cli.progress import last_metrics
    from sweeps.folders.paths import Study
    from sweeps.runs.states import FINISHED, State
    from sweeps.slurm.arrays import Submissions

    tables = read_sweep(db, sweep)
    study = Study(db)
    submissions = Submissions(study, [])
    shown = ("run_id", "state", "val_loss", "reason", "model", "flops", "mean_recurrence", "tokens", "steps")
    runs = []
    for run in tables.runs.to_dict("records"):
        plain = _plain(run)
        state, folder = State(plain["state"]), study.run(plain["run_id"])
        metrics = last_metrics(folder) if state is State.RUNNING else None
        handed_over = None if state in FINISHED | {State.PLANNED} else submissions.job(folder)
        runs.append(
            {key: plain.get(key) for key in (*shown, "seed", "predicted_loss")}
            | {"step": metrics.step if metrics else None, "job": handed_over[1] if handed_over else None}
        )
    if as_json:
        counts = Counter(str(run["state"]) for run in runs)
        console.print_json({"sweep": tables.name, "counts": dict(sorted(counts.items())), "runs": runs})
        return
    console.print_table(
        ("run", "model", "FLOPs", "recurrence", "state", "loss", "step", "job", "reason"),
        [
            (
                str(run["run_id"]),
                str(run["model"]),
                _short(run["flops"], ".3g"),
                _short(run["mean_recurrence"], "g"),
                str(run["state"]),
                _short(run["val_loss"], ".4f"),
                f"{run['step']}/{run['steps']}" if run["step"] is not None else "-",
                run["job"] or "-",
                run["reason"] or "",
            )
            for run in runs
        ],
    )
    print_counts(tables.name, tables)
    if any(run["job"] for run in runs):
        _print_age(study)


def watch(sweep: SweepOption = None, db: DbOption = DEFAULT_DB) -> None:
    """Show a sweep live until nothing in it is queued or running. Ctrl-C stops watching, not the runs."""
    from sweeps.control.find import own_sweep

    study, name = own_sweep(db, sweep)
    watch_sweep(study, name, lambda: None)


def logs(
    run: RunArgument,
    lines: Annotated[int, typer.Option("--lines", help="How many of the last lines.", min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run ends.")] = False,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print what a run's last worker wrote: on SLURM, its job's log, or the logs of its tasks."""
    from sweeps.control.explain import follow_log, log_files
    from sweeps.control.find import find_run, own_sweep
    from sweeps.runs.logs import tail
    from sweeps.store.collect import collect_sweep

    study, name = own_sweep(db, sweep)
    run_id = find_run(collect_sweep(study.db, name), run)
    files = log_files(study, run_id)
    if not files:
        raise WorkFailed(f"the run {run_id} has no log yet")
    for path in files:
        if len(files) > 1:
            print(f"==> {path} <==")
        for line in tail(path, lines):
            print(line)
    if follow:
        for line in follow_log(study, run_id, files[-1]):
            print(line, end="", flush=True)


def why(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="A run's id, or how it begins; all that failed if none."),
    ] = None,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
    as_json: JsonOption = False,
) -> None:
    """Say what happened to a run: its state, the reason, its last traceback, its attempts, its log's end."""
    from sweeps.control.explain import explain
    from sweeps.control.find import find_run, own_sweep
    from sweeps.runs.states import RETRIABLE, State
    from sweeps.store.collect import collect_sweep

    study, name = own_sweep(db, sweep)
    if run is None:
        tables = collect_sweep(study.db, name)
        bad = [r for r in tables.runs.to_dict("records") if r["state"] in RETRIABLE | {State.DIVERGED}]
        rows = [{key: _plain(r)[key] for key in ("run_id", "state", "reason")} for r in bad]
        if as_json:
            console.print_json({"sweep": name, "runs": rows})
            return
        if not rows:
            console.note(f"sweep {name}: nothing has failed")
        for row in rows:
            print(f"{row['run_id']} is {row['state']}" + (f": {row['reason']}" if row["reason"] else ""))
        return
    told = explain(study, find_run(collect_sweep(study.db, name), run))
    if as_json:
        console.print_json(
            {
                "run_id": told.run_id,
                "state": told.status.state,
                "reason": told.status.reason,
                "next_step": told.next_step,
                "traceback": told.traceback,
                "job": told.job,
                "attempts": to_plain(told.attempts),
                "logs": [str(path) for path in told.logs],
                "log_tail": told.log_tail,
            }
        )
        return
    print(f"{told.run_id} is {told.status.state}" + (f": {told.status.reason}" if told.status.reason else ""))
    for attempt in told.attempts:
        job = f", job {attempt.job}" if attempt.job else ""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.at))
        print(f"  {at}  {attempt.event} on {attempt.host}{job}")
    if told.traceback:
        print(told.traceback.rstrip())
    elif told.log_tail:
        print(f"the end of {told.logs[-1]}:")
        for line in told.log_tail:
            print(f"  {line}")
    if told.next_step:
        print(told.next_step)


def _print_age(study: "Study") -> None:
    from sweeps.slurm import scheduler

    answer = scheduler.remembered(study)
    if answer is scheduler.NEVER_ASKED:
        return
    age = f"{max(0.0, time.time() - answer.asked_at):.0f} s ago"
    console.note(f"SLURM did not answer {age}" if answer.is_silent else f"SLURM was last asked {age}")


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """A table's row with None for what is missing."""
    return {str(key): None if value != value or value is None else value for key, value in row.items()}


def _short(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
