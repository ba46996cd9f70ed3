"""The commands that start and stop runs: submit, retry, cancel."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask about runs that take long or may not fit.")
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="The GPU to price, as its driver names it.")
    ] = None,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Start all planned runs. It can be repeated after a crash: no run is started twice."""
    from sweeps.control.find import own_sweep
    from sweeps.control.launch import choose_profiles, launch

    study, name = own_sweep(db, sweep)
    profiles = choose_profiles(study, profile)
    if dry_run:
        _rehearse(study, name, cluster, profiles, device)
        return
    _ask(study, name, cluster, profiles, slots, device, yes=yes)
    launched = launch(study, name, cluster, profiles)
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
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Restart runs from their checkpoints: failed, timed-out, cancelled or unknown ones.

    A run that is named is restarted in any of these states. Finished runs are never restarted.
    """
    from sweeps.control.find import own_sweep
    from sweeps.control.launch import choose_profiles, launch
    from sweeps.control.retry import runs_to_retry

    study, name = own_sweep(db, sweep)
    states, run_ids = runs_to_retry(study, name, runs or [], state or [])
    profiles = choose_profiles(study, profile)
    launched = launch(study, name, cluster, profiles, states=states, run_ids=run_ids)
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


def _ask(
    study: "Study",
    name: str,
    cluster: Cluster,
    profiles: "Profiles",
    slots: int | None,
    device: str | None,
    *,
    yes: bool,
) -> None:
    """Asks before it starts what does not fit or takes long; in a pipe, refuses it."""
    from sweeps.control.objections import consider

    outlook = consider(study, name, cluster, profiles, slots, device)
    if outlook.objection and not yes:
        _confirm(outlook.objection)
    if outlook.unread_bytes > 2**30:
        console.note(
            f"reading the whole text once, {outlook.unread_bytes / 2**30:,.1f} GiB, to pin its content"
        )


def _confirm(against: str) -> None:
    if not sys.stdin.isatty():
        raise InputError(f"these runs {against}; give --yes to start them all the same")
    if not typer.confirm(f"These runs {against}. Start them?", err=True):
        raise InputError("nothing was started")


def _rehearse(study: "Study", name: str, cluster: Cluster, profiles: "Profiles", device: str | None) -> None:
    from sweeps.control.costs import price_runs, summary
    from sweeps.control.launch import rehearse, resolve
    from sweeps.control.objections import startable

    if specs := startable(study, name):
        for line in summary(price_runs(study, specs, device)):
            console.note(line)
    arrays = rehearse(study, name, profiles)
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
