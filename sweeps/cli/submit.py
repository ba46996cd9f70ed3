"""The commands that start and stop runs: submit, retry, cancel."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parcae.errors import InputError
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, SweepOption
from sweeps.cli.watching.session import watch_sweep
from sweeps.control.cluster import Cluster
from sweeps.runs.states import RETRIABLE, State

if TYPE_CHECKING:
    from sweeps.control.launch import Launched
    from sweeps.folders.paths import Study
    from sweeps.runs.profile import Profiles

ClusterOption = Annotated[
    Cluster, typer.Option("--cluster", help="auto is SLURM if there is one, else this machine.")
]
ProfileOption = Annotated[
    Path | None,
    typer.Option("--profile", help="Resources that runs request. Default: cluster.toml beside the database."),
]
SlotsOption = Annotated[
    int | None,
    typer.Option(
        "--slots", help="Runs at once on this machine. Default: one per GPU, or per core without GPUs.", min=1
    ),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="On SLURM: wait until the runs have ended.")]
YesOption = Annotated[
    bool, typer.Option("--yes", help="Do not ask about runs that take long or may not fit.")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="The GPU to price, as its driver names it.")
]
DetachOption = Annotated[bool, typer.Option("--detach", help="On this machine: return at once.")]
RunsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RUN]...", help="Run ids, or their first digits; all runs by default."),
]


def submit(
    cluster: ClusterOption = Cluster.AUTO,
    profile: ProfileOption = None,
    slots: SlotsOption = None,
    wait: WaitOption = False,
    detach: DetachOption = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be submitted, and submit nothing."),
    ] = False,
    yes: YesOption = False,
    device: DeviceOption = None,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Start all planned runs. It can be repeated after a crash: no run is started twice."""
    from sweeps.control.find import own_sweep
    from sweeps.control.launch import choose_profiles

    study, name = own_sweep(db, sweep)
    profiles = choose_profiles(study, profile)
    if dry_run:
        _rehearse(study, name, cluster, profiles, device)
        return
    launched = _launch(study, name, cluster, profiles, slots, device, yes)
    _follow(study, name, launched, slots, wait=wait, detach=detach)


def retry(
    runs: RunsArgument = None,
    state: Annotated[
        list[State] | None,
        typer.Option(
            "--state",
            metavar="|".join(sorted(RETRIABLE)),
            help="Repeatable. Default: failed and timed-out.",
        ),
    ] = None,
    cluster: ClusterOption = Cluster.AUTO,
    profile: ProfileOption = None,
    slots: SlotsOption = None,
    wait: WaitOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    device: DeviceOption = None,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Restart runs from their checkpoints: failed, timed-out, cancelled or unknown ones.

    A run that is named is restarted in any of these states. Finished runs are never restarted.
    """
    from sweeps.control.find import own_sweep
    from sweeps.control.launch import choose_profiles
    from sweeps.control.retry import runs_to_retry

    study, name = own_sweep(db, sweep)
    states, run_ids = runs_to_retry(study, name, runs or [], state or [])
    profiles = choose_profiles(study, profile)
    launched = _launch(study, name, cluster, profiles, slots, device, yes, states=states, run_ids=run_ids)
    _follow(study, name, launched, slots, wait=wait, detach=detach)


def cancel(runs: RunsArgument = None, sweep: SweepOption = None, db: DbOption = DEFAULT_DB) -> None:
    """Cancel the queued and running runs of a sweep, or the named ones. Their checkpoints are kept."""
    from sweeps.control.find import own_sweep
    from sweeps.control.launch import cancel as cancel_runs
    from sweeps.control.retry import runs_to_cancel

    study, name = own_sweep(db, sweep)
    cancelled = cancel_runs(study, name, runs_to_cancel(study, name, runs or []))
    console.note(
        f"sweep {name}: {len(cancelled)} runs cancelled; `parcae-sweep retry --state cancelled` resumes them"
    )


def _launch(
    study: "Study",
    name: str,
    cluster: Cluster,
    profiles: "Profiles",
    slots: int | None,
    device: str | None,
    yes: bool,
    **which: Any,
) -> "Launched":
    """Starts runs; asks first about what does not fit or takes long, and in a pipe refuses it."""
    from sweeps.control.launch import launch
    from sweeps.control.objections import Objection

    start = partial(
        launch, study, name, cluster, profiles, slots=slots, device=device, report=console.note, **which
    )
    try:
        return start(accepted=yes)
    except Objection as objection:
        _confirm(str(objection))
    return start(accepted=True)


def _confirm(against: str) -> None:
    if not sys.stdin.isatty():
        raise InputError(f"these runs {against}; give --yes to start them all the same")
    if not typer.confirm(f"These runs {against}. Start them?", err=True):
        raise InputError("nothing was started")


def _rehearse(study: "Study", name: str, cluster: Cluster, profiles: "Profiles", device: str | None) -> None:
    from sweeps.control.costs import price_runs, summary
    from sweeps.control.launch import planned_specs, rehearse, resolve

    if specs := planned_specs(study, name):
        for line in summary(price_runs(study, specs, device)):
            console.note(line)
    arrays = rehearse(study, specs, profiles)
    runs = sum(count for _, count, _ in arrays)
    if resolve(cluster) is Cluster.LOCAL:
        console.note(f"sweep {name}: {runs} runs would be started on this machine; none was")
        return
    for profile, count, script in arrays:
        hours = f"{count * profile.device_hours:,.6g} {profile.device}-hours"
        print(f"# {count} runs, at most {hours} before their first time limit")
        print(script)
    console.note(f"sweep {name}: {runs} runs in {len(arrays)} jobs would be submitted to SLURM; none was")


def _follow(
    study: "Study", name: str, launched: "Launched", slots: int | None, *, wait: bool, detach: bool
) -> None:
    """Reports what was started, and waits for it: by default on this machine, with `wait` on SLURM."""
    from sweeps.local import supervisor as local

    on_slurm = launched.cluster is Cluster.SLURM
    where = "SLURM" if on_slurm else "this machine"
    console.note(f"sweep {name}: {launched.started} of {len(launched.sweep.runs)} runs handed to {where}")
    keep_alive: Callable[[], None] = (
        (lambda: None) if on_slurm else local.Keeper(study, slots or local.default_slots())
    )
    keep_alive()
    if not (detach or (on_slurm and not wait)):
        watch_sweep(study, name, keep_alive)
