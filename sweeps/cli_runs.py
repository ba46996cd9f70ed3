"""The commands of `parcae-sweep` that start, watch, explain and stop runs: parse, call, print."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parcae.errors import InputError, WorkFailed
from sweeps import console
from sweeps.console import DEFAULT_DB, PUBLISHED, DbOption, JsonOption, SweepOption

if TYPE_CHECKING:
    from sweeps.launch import Launched
    from sweeps.paths import Study
    from sweeps.profile import Profiles
    from sweeps.store import StudyTables

SECOND_CTRL_C_SECONDS = 3.0

ClusterOption = Annotated[
    str, typer.Option("--cluster", help="auto, slurm or local; auto is SLURM where there is one.")
]
ProfileOption = Annotated[
    Path | None,
    typer.Option("--profile", help="What runs ask of SLURM; cluster.toml beside the database unless given."),
]
SlotsOption = Annotated[
    int | None,
    typer.Option(
        "--slots", help="Runs at once on this machine; unless given, a GPU or else a core each.", min=1
    ),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="On SLURM: stay until the runs have ended.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="On this machine: return at once.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or how it begins.")]
RunsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids of runs, or how they begin; all if none.")
]


def add_to(app: typer.Typer) -> None:
    for command in (submit, status, watch, logs, why, retry, cancel):
        app.command()(command)


def submit(
    cluster: ClusterOption = "auto",
    profile: ProfileOption = None,
    slots: SlotsOption = None,
    wait: WaitOption = False,
    detach: DetachOption = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be sent, sbatch's text included; send nothing."),
    ] = False,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Start what is planned and not yet done. Run again after a crash, it starts nothing twice."""
    from sweeps.launch import launch

    where = _cluster(cluster)
    study, name = _own_sweep(db, sweep)
    profiles = _profiles(study, profile)
    if dry_run:
        _rehearse(study, name, where, profiles)
        return
    launched = launch(study, name, where, profiles)
    _follow(study, name, launched, slots, wait=wait, detach=detach)


def retry(
    runs: RunsArgument = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            help="failed, timed-out, cancelled or unknown; repeatable. Failed and timed-out if none.",
        ),
    ] = None,
    cluster: ClusterOption = "auto",
    profile: ProfileOption = None,
    slots: SlotsOption = None,
    wait: WaitOption = False,
    detach: DetachOption = False,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Start again, from its checkpoint, what failed, ran out of time, was cancelled or is unknown.

    A run that is named is started whichever of these it is. What is done is never started again.
    """
    from sweeps.launch import launch
    from sweeps.states import RETRIABLE, State

    where = _cluster(cluster)
    study, name = _own_sweep(db, sweep)
    named = _find_runs(study, name, runs)
    for word in state or []:
        if word not in RETRIABLE:
            raise InputError(
                f"cannot retry runs that are {word!r}; --state takes {', '.join(sorted(RETRIABLE))}"
            )
    states = {State(word) for word in state} if state else {State.FAILED, State.TIMED_OUT}
    if named is not None and not state:
        states = set(RETRIABLE)
        for run_id, now in named.items():
            if now not in RETRIABLE:
                raise InputError(
                    f"cannot retry the run {run_id}, which is {now}; a run that is "
                    f"{', '.join(sorted(RETRIABLE))} can be"
                )
    launched = launch(
        study,
        name,
        where,
        _profiles(study, profile),
        states=states,
        run_ids=named,
    )
    _follow(study, name, launched, slots, wait=wait, detach=detach)


def status(sweep: SweepOption = None, db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """What every run of a sweep is doing."""
    from analysis.data.study import read_sweep
    from sweeps.arrays import Submissions
    from sweeps.paths import Study
    from sweeps.progress import last_metrics
    from sweeps.states import FINISHED, State

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
            | {"step": metrics["step"] if metrics else None, "job": handed_over[1] if handed_over else None}
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
    _print_counts(tables.name, tables)
    if any(run["job"] for run in runs):
        _print_age(study)


def watch(sweep: SweepOption = None, db: DbOption = DEFAULT_DB) -> None:
    """Show a sweep live until nothing in it is queued or running. Ctrl-C stops watching, not the runs."""
    study, name = _own_sweep(db, sweep)
    _watch(study, name, lambda: None)


def logs(
    run: RunArgument,
    lines: Annotated[int, typer.Option("--lines", help="How many of the last lines.", min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run ends.")] = False,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Print what a run's last worker wrote: on SLURM, its job's log, or the logs of its tasks."""
    from sweeps.explain import follow_log, log_files
    from sweeps.logs import tail

    study, name = _own_sweep(db, sweep)
    run_id = _find_run(study, name, run)
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
    from sweeps.collect import collect_sweep
    from sweeps.explain import explain
    from sweeps.states import RETRIABLE, State

    study, name = _own_sweep(db, sweep)
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
    told = explain(study, _find_run(study, name, run))
    if as_json:
        console.print_json(
            {
                "run_id": told.run_id,
                "state": told.status.state,
                "reason": told.status.reason,
                "next_step": told.next_step,
                "traceback": told.traceback,
                "job": told.job,
                "attempts": told.attempts,
                "logs": [str(path) for path in told.logs],
                "log_tail": told.log_tail,
            }
        )
        return
    print(f"{told.run_id} is {told.status.state}" + (f": {told.status.reason}" if told.status.reason else ""))
    for attempt in told.attempts:
        job = f", job {attempt['job']}" if attempt["job"] else ""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt["at"]))
        print(f"  {at}  {attempt['event']} on {attempt['host']}{job}")
    if told.traceback:
        print(told.traceback.rstrip())
    elif told.log_tail:
        print(f"the end of {told.logs[-1]}:")
        for line in told.log_tail:
            print(f"  {line}")
    if told.next_step:
        print(told.next_step)


def cancel(runs: RunsArgument = None, sweep: SweepOption = None, db: DbOption = DEFAULT_DB) -> None:
    """Call off the queued and running runs of a sweep, or those named. What they trained is kept."""
    from sweeps.launch import cancel as call_off
    from sweeps.states import ACTIVE, State

    study, name = _own_sweep(db, sweep)
    named = _find_runs(study, name, runs)
    for run_id, now in (named or {}).items():
        if now not in ACTIVE | {State.UNKNOWN}:
            raise InputError(
                f"cannot cancel the run {run_id}, which is {now}; queued and running runs can be"
            )
    stopped = call_off(study, name, named)
    console.note(
        f"sweep {name}: {len(stopped)} runs called off; `parcae-sweep retry --state cancelled` goes on"
    )


def _cluster(word: str) -> Any:
    from sweeps.launch import Cluster

    if word not in list(Cluster):
        raise InputError(f"cannot submit to {word!r}; --cluster takes auto, slurm or local")
    return Cluster(word)


def _profiles(study: "Study", path: Path | None) -> "Profiles":
    from sweeps.profile import read_profiles

    if path is not None and not path.exists():
        raise InputError(f"there is no profile {path}; see docs/clusters.md for how to write one")
    return read_profiles(study.profile if path is None else path)


def _rehearse(study: "Study", name: str, cluster: Any, profiles: "Profiles") -> None:
    from sweeps.launch import Cluster, rehearse, resolve

    arrays = rehearse(study, name, profiles)
    runs = sum(count for _, count, _ in arrays)
    if resolve(cluster) is Cluster.LOCAL:
        console.note(f"sweep {name}: {runs} runs would be started on this machine; nothing was")
        return
    for profile, count, script in arrays:
        hours = f"{count * profile.device_hours:,.6g} {profile.device}-hours"
        print(f"# {count} runs, at most {hours} before their first time limit")
        print(script)
    console.note(f"sweep {name}: {runs} runs in {len(arrays)} jobs would be sent to SLURM; nothing was")


def _follow(
    study: "Study", name: str, launched: "Launched", slots: int | None, *, wait: bool, detach: bool
) -> None:
    """Says what was handed over, and stays until it has ended where that is the way of the cluster."""
    from sweeps import local
    from sweeps.launch import Cluster

    on_slurm = launched.cluster is Cluster.SLURM
    where = "SLURM" if on_slurm else "this machine"
    console.note(f"sweep {name}: {launched.started} of {len(launched.tables.runs)} runs handed to {where}")
    wanted_slots = slots or local.default_slots()
    if not on_slurm:
        local.ensure_supervisor(study, wanted_slots)
    if detach or (on_slurm and not wait):
        return
    _watch(
        study, name, (lambda: None) if on_slurm else (lambda: local.ensure_supervisor(study, wanted_slots))
    )


def _watch(study: "Study", name: str, keep_alive: Callable[[], None]) -> None:
    from sweeps import progress
    from sweeps.launch import cancel as call_off
    from sweeps.states import FINISHED, State

    try:
        tables = progress.watch(study, name, keep_alive)
    except KeyboardInterrupt:
        try:
            console.note(
                "no longer watching; the runs go on (`parcae-sweep watch` shows them, `parcae-sweep cancel` "
                f"stops them, and so does Ctrl-C again within {SECOND_CTRL_C_SECONDS:.0f} s)"
            )
            time.sleep(SECOND_CTRL_C_SECONDS)
        except KeyboardInterrupt:
            stopped = call_off(study, name, None)
            console.note(f"{len(stopped)} runs called off; `parcae-sweep retry --state cancelled` goes on")
        raise
    _print_counts(name, tables)
    unfinished = [run for run in tables.runs.itertuples() if State(str(run.state)) not in FINISHED]
    if unfinished:
        first = unfinished[0]
        reason = f": {first.reason}" if isinstance(first.reason, str) else ""
        how_many = f"{len(unfinished)} of {len(tables.runs)} runs are not done"
        raise WorkFailed(f"{how_many}; {first.run_id} is {first.state}{reason}")


def _own_sweep(db: Path, sweep: str | None) -> "tuple[Study, str]":
    """A sweep that was planned here; the built-in and the imported ones have nothing to run."""
    from sweeps.paths import Study
    from sweeps.sweep import find_sweep

    study = Study(db)
    if sweep == PUBLISHED:
        raise InputError("the sweep 'published' is built in and has nothing to run; plan one of your own")
    name = find_sweep(study, sweep)
    if study.imported(name).exists():
        raise InputError(f"the sweep {name!r} was imported and has nothing to run; plan one of your own")
    return study, name


def _find_run(study: "Study", sweep: str, prefix: str) -> str:
    from sweeps.collect import collect_sweep
    from sweeps.launch import find_run

    return find_run(collect_sweep(study.db, sweep), prefix)


def _find_runs(study: "Study", sweep: str, prefixes: list[str] | None) -> dict[str, str] | None:
    """Run id -> state of the runs that are named; None where none is."""
    from sweeps.collect import collect_sweep
    from sweeps.launch import find_run

    if not prefixes:
        return None
    tables = collect_sweep(study.db, sweep)
    states = dict(zip(tables.runs["run_id"], tables.runs["state"], strict=True))
    return {(run_id := find_run(tables, prefix)): states[run_id] for prefix in prefixes}


def _print_counts(name: str, tables: "StudyTables") -> None:
    counts = Counter(str(state) for state in tables.runs["state"])
    console.note(f"sweep {name}: " + ", ".join(f"{n} {state}" for state, n in sorted(counts.items())))


def _print_age(study: "Study") -> None:
    from sweeps import scheduler

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
