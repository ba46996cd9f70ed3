"""The commands that start runs and call them off: submit, retry, cancel."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parcae.errors import InputError
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, SweepOption
from sweeps.cli.watching import watch_sweep

if TYPE_CHECKING:
    from sweeps.control.launch import Launched
    from sweeps.folders.paths import Study
    from sweeps.runs.profile import Profiles

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
RunsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN]...", help="Ids of runs, or how they begin; all if none.")
]


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
    yes: Annotated[
        bool, typer.Option("--yes", help="Start also what takes long here, or more memory than there is.")
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="The GPUs of the cluster, as their driver names them.")
    ] = None,
    sweep: SweepOption = None,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Start what is planned and not yet done. Run again after a crash, it starts nothing twice."""
    from sweeps.control.find import own_sweep
    from sweeps.control.launch import launch

    where = _cluster(cluster)
    study, name = own_sweep(db, sweep)
    profiles = _profiles(study, profile)
    if dry_run:
        _rehearse(study, name, where, profiles, device)
        return
    _ask(study, name, where, profiles, slots, device, yes=yes)
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
    from sweeps.control.find import named_runs, own_sweep
    from sweeps.control.launch import launch
    from sweeps.runs.states import RETRIABLE, State

    where = _cluster(cluster)
    study, name = own_sweep(db, sweep)
    named = named_runs(study, name, runs)
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


def cancel(runs: RunsArgument = None, sweep: SweepOption = None, db: DbOption = DEFAULT_DB) -> None:
    """Call off the queued and running runs of a sweep, or those named. What they trained is kept."""
    from sweeps.control.find import named_runs, own_sweep
    from sweeps.control.launch import cancel as call_off
    from sweeps.runs.states import ACTIVE, State

    study, name = own_sweep(db, sweep)
    named = named_runs(study, name, runs)
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
    from sweeps.control.launch import Cluster

    if word not in list(Cluster):
        raise InputError(f"cannot submit to {word!r}; --cluster takes auto, slurm or local")
    return Cluster(word)


def _profiles(study: "Study", path: Path | None) -> "Profiles":
    from sweeps.runs.profile import read_profiles

    if path is not None and not path.exists():
        raise InputError(f"there is no profile {path}; see docs/clusters.md for how to write one")
    return read_profiles(study.profile if path is None else path)


def _ask(
    study: "Study",
    name: str,
    cluster: Any,
    profiles: "Profiles",
    slots: int | None,
    device: str | None,
    *,
    yes: bool,
) -> None:
    """Lets the user think again about what is missing, does not fit or takes long; in a pipe, refuses it."""
    from sweeps.control.costs import objection, startable
    from sweeps.control.launch import Cluster, check_trainable, resolve
    from sweeps.plan.texts import missing_text, unread_bytes

    specs = startable(study, name)
    check_trainable(specs)
    here = resolve(cluster) is Cluster.LOCAL
    against = None if yes else objection(study, specs, None if here else profiles, slots, device)
    if missing := missing_text(study, specs):
        raise InputError(missing + (f"; besides, these runs {against}" if against else ""))
    if against is not None:
        _confirm(against)
    if (size := unread_bytes(study, specs)) > 2**30:
        console.note(f"reading all {size / 2**30:,.1f} GiB of the text once, to pin what it holds")


def _confirm(against: str) -> None:
    if not sys.stdin.isatty():
        raise InputError(f"these runs {against}; give --yes to start them all the same")
    if not typer.confirm(f"These runs {against}. Start them?", err=True):
        raise InputError("nothing was started")


def _rehearse(study: "Study", name: str, cluster: Any, profiles: "Profiles", device: str | None) -> None:
    from sweeps.control.costs import price_runs, startable, summary
    from sweeps.control.launch import Cluster, rehearse, resolve

    if specs := startable(study, name):
        for line in summary(price_runs(study, specs, device)):
            console.note(line)
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
    from sweeps.control.launch import Cluster
    from sweeps.local import supervisor as local

    on_slurm = launched.cluster is Cluster.SLURM
    where = "SLURM" if on_slurm else "this machine"
    console.note(f"sweep {name}: {launched.started} of {len(launched.tables.runs)} runs handed to {where}")
    wanted_slots = slots or local.default_slots()
    if not on_slurm:
        local.ensure_supervisor(study, wanted_slots)
    if detach or (on_slurm and not wait):
        return
    watch_sweep(
        study, name, (lambda: None) if on_slurm else (lambda: local.ensure_supervisor(study, wanted_slots))
    )
