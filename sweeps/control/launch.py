"""Starts planned runs on SLURM or on this machine, each exactly once, and cancels them."""

import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from parcae.errors import InputError
from parcae.files import clear_old_leftovers, set_aside, write_atomically
from sweeps.control.cluster import Cluster
from sweeps.control.objections import check_startable
from sweeps.folders.locks import signal_owner
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import Cancellation, json_or_none, write_record
from sweeps.folders.spec import RunSpec
from sweeps.local import supervisor as local
from sweeps.plan.manifest import read_manifest
from sweeps.plan.texts import pin_texts, unread_bytes
from sweeps.runs.profile import Profile, Profiles, read_profiles
from sweeps.runs.states import ACTIVE, FINISHED, State
from sweeps.slurm import submit as slurm
from sweeps.slurm.arrays import Submissions
from sweeps.store.collect import collect_sweep
from sweeps.store.database import read_sweep
from sweeps.store.rows import SweepRows

LONG_BYTES = 2**30
"""Reading more of a text than this before the first run starts takes long enough to say so."""


@dataclass(frozen=True)
class Launched:
    cluster: Cluster
    started: int
    """Runs started by this call."""
    sweep: SweepRows
    """The sweep just before."""


def resolve(cluster: Cluster) -> Cluster:
    """SLURM if it is available, else this machine."""
    if cluster is Cluster.AUTO:
        return Cluster.SLURM if slurm.is_available() else Cluster.LOCAL
    return cluster


def choose_profiles(study: Study, path: Path | None) -> Profiles:
    """The profiles in `path`, or in cluster.toml beside the database."""
    if path is not None and not path.exists():
        raise InputError(f"there is no profile {path}; docs/clusters.md says how to write one")
    return read_profiles(study.profile if path is None else path)


def launch(
    study: Study,
    sweep: str,
    cluster: Cluster,
    profiles: Profiles,
    *,
    states: Collection[State] = (State.PLANNED,),
    run_ids: Collection[str] | None = None,
    slots: int | None = None,
    device: str | None = None,
    accepted: bool = False,
    report: Callable[[str], None],
) -> Launched:
    """Starts the sweep's runs that are in `states`, or those of `run_ids` that are.

    All others are left alone: a finished run is never restarted. ``Objection`` where runs do not fit or take
    long, unless that was `accepted`; nothing is started then. What takes long is said to `report`.
    """
    cluster = resolve(cluster)
    on_slurm = cluster is Cluster.SLURM
    with study.locked() as lock:  # two concurrent submissions would both find the same runs planned
        slurm.settle(study)
        for place in (study.sweeps, study.queue, study.slurm):
            clear_old_leftovers(place)
        wanted = _in_states(study, sweep, set(states) - FINISHED - ACTIVE, run_ids)
        specs = _specs(study, sweep, wanted)
        check_startable(study, specs, profiles if on_slurm else None, slots, device, accepted=accepted)
        groups = _by_profile(specs, profiles)
        if on_slurm:
            slurm.check_cap(groups)
        if (unread := unread_bytes(study, specs)) > LONG_BYTES:
            report(f"reading the whole text once, {unread / 2**30:,.1f} GiB, to pin its content")
        pin_texts(study, specs)
        _end_jobs(study, wanted)
        for spec in specs:
            folder = study.run(spec.run_id)
            _make_folder(folder, spec)
            clear_old_leftovers(folder.path)
            if folder.result.exists():  # it was found wrong: the run is not finished
                set_aside(folder.result)
        if on_slurm:
            slurm.submit(study, groups, lock)
        else:
            local.enqueue(study, groups)
    return Launched(cluster, len(wanted), read_sweep(study.db, sweep))


def planned_specs(study: Study, sweep: str) -> list[RunSpec]:
    """The runs of a sweep that `submit` would start."""
    return _specs(study, sweep, _in_states(study, sweep, {State.PLANNED}, None))


def rehearse(study: Study, specs: Sequence[RunSpec], profiles: Profiles) -> list[tuple[Profile, int, str]]:
    """What `launch` would submit to SLURM, per array: its profile, number of runs and sbatch script."""
    groups = _by_profile(specs, profiles)
    slurm.check_cap(groups)
    size = slurm.array_size()
    sizes = [
        (profile, min(size, len(run_ids) - start))
        for profile, run_ids in groups.items()
        for start in range(0, len(run_ids), size)
    ]
    return [(profile, runs, slurm.script(study, profile, runs)) for profile, runs in sizes]


def cancel(study: Study, sweep: str, run_ids: Collection[str] | None) -> list[str]:
    """Cancels the queued and running runs of the sweep, or of `run_ids`. Their checkpoints stay."""
    with study.locked():
        slurm.settle(study)
        wanted = _in_states(study, sweep, ACTIVE | {State.UNKNOWN}, run_ids)
        for run_id in wanted:
            write_record(study.run(run_id).cancelled, Cancellation(at=time.time()), durable=False)
        try:
            _end_jobs(study, wanted)
        except BaseException:
            for run_id in wanted:
                study.run(run_id).cancelled.unlink(missing_ok=True)
            raise
        for run_id in wanted:
            (study.queue / run_id).unlink(missing_ok=True)
            signal_owner(study.run(run_id).lock, signal.SIGTERM)
    return wanted


def _end_jobs(study: Study, run_ids: Sequence[str]) -> None:
    """Cancels all jobs that SLURM may still have for these runs."""
    submissions = Submissions(study, run_ids)
    jobs = []
    for run_id in run_ids:
        handed_over = submissions.job(study.run(run_id))
        jobs += [handed_over[1]] if handed_over else submissions.jobs_ever(run_id)
    slurm.cancel_jobs([job for job in jobs if job])


def _make_folder(folder: RunFolder, spec: RunSpec) -> None:
    folder.path.mkdir(exist_ok=True)
    if json_or_none(folder.spec) != spec.to_dict():
        if folder.spec.exists():
            set_aside(folder.spec)
        write_atomically(folder.spec, (spec.json + "\n").encode(), durable=False)  # the manifest holds it too


def _in_states(
    study: Study, sweep: str, states: Collection[State], run_ids: Collection[str] | None
) -> list[str]:
    """The sweep's runs that are in these states now, in the order planned."""
    wanted = None if run_ids is None else set(run_ids)
    return [
        run.run_id
        for run in collect_sweep(study.db, sweep).runs
        if run.state in states and (wanted is None or run.run_id in wanted)
    ]


def _specs(study: Study, sweep: str, run_ids: Sequence[str]) -> list[RunSpec]:
    manifest = read_manifest(study, sweep)
    assert manifest is not None
    return [manifest.specs[run_id] for run_id in run_ids]


def _by_profile(specs: Sequence[RunSpec], profiles: Profiles) -> dict[Profile, list[str]]:
    groups: dict[Profile, list[str]] = {}
    for spec in specs:
        groups.setdefault(profiles.of(spec.model_name), []).append(spec.run_id)
    return groups
