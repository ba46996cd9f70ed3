"""Starting what is planned and not yet done, on SLURM or on this machine, exactly once; calling it off."""

import signal
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from parcae.config import DepthSampling, Precision
from parcae.errors import InputError
from parcae.files import write_atomically
from sweeps.folders.paths import RunFolder, Study, read_json, write_json
from sweeps.folders.spec import RunSpec
from sweeps.local import supervisor as local
from sweeps.plan.manifest import read_manifest
from sweeps.plan.texts import pin_texts
from sweeps.runs.profile import Profile, Profiles
from sweeps.runs.states import ACTIVE, FINISHED, State
from sweeps.slurm import submit as slurm
from sweeps.slurm.arrays import Submissions
from sweeps.store.collect import collect_sweep
from sweeps.store.database import StudyTables, read_study


class Cluster(StrEnum):
    AUTO = "auto"
    SLURM = "slurm"
    LOCAL = "local"


@dataclass(frozen=True)
class Launched:
    cluster: Cluster
    started: int
    """Runs handed over now."""
    tables: StudyTables
    """The sweep as it stood just before."""


def resolve(cluster: Cluster) -> Cluster:
    """SLURM where there is one, else this machine."""
    if cluster is Cluster.AUTO:
        return Cluster.SLURM if slurm.is_available() else Cluster.LOCAL
    return cluster


def launch(
    study: Study,
    sweep: str,
    cluster: Cluster,
    profiles: Profiles,
    *,
    states: Collection[State] = (State.PLANNED,),
    run_ids: Collection[str] | None = None,
) -> Launched:
    """Hands the sweep's runs in `states`, of `run_ids` if given, to the cluster. All others stay as they are:
    what has its result is never started again.
    """
    cluster = resolve(cluster)
    with study.locked() as lock:  # two submissions at once would both find the same runs planned
        slurm.settle(study)
        wanted = _in_states(study, sweep, set(states) - FINISHED - ACTIVE, run_ids)
        groups = _by_profile(study, sweep, wanted, profiles)
        if cluster is Cluster.SLURM:
            slurm.check_cap(groups)
        manifest = read_manifest(study, sweep)
        assert manifest is not None
        check_trainable([manifest.specs[run_id] for run_id in wanted])
        pin_texts(study, [manifest.specs[run_id] for run_id in wanted])
        _end_jobs(study, wanted)
        for run_id in wanted:
            folder = study.run(run_id)
            _make_folder(folder, manifest.specs[run_id])
            if folder.result.exists():  # one that was found wrong: the run is not finished
                folder.result.replace(folder.result.with_suffix(".refused"))
        if cluster is Cluster.SLURM:
            slurm.submit(study, groups, lock)
        else:
            local.enqueue(study, groups)
    return Launched(cluster, len(wanted), read_study(study.db, sweep))


def rehearse(study: Study, sweep: str, profiles: Profiles) -> list[tuple[Profile, int, str]]:
    """What `launch` would send to SLURM, array by array: its shape, its runs and sbatch's text."""
    groups = _by_profile(study, sweep, _in_states(study, sweep, {State.PLANNED}, None), profiles)
    slurm.check_cap(groups)
    size = slurm.array_size()
    sizes = [
        (profile, min(size, len(run_ids) - start))
        for profile, run_ids in groups.items()
        for start in range(0, len(run_ids), size)
    ]
    return [(profile, runs, slurm.script(study, profile, runs)) for profile, runs in sizes]


def cancel(study: Study, sweep: str, run_ids: Collection[str] | None) -> list[str]:
    """Calls off what is queued or running of the sweep, or of `run_ids`. What they trained stays."""
    with study.locked():
        slurm.settle(study)
        wanted = _in_states(study, sweep, ACTIVE | {State.UNKNOWN}, run_ids)
        for run_id in wanted:
            write_json(study.run(run_id).cancelled, {"at": time.time()}, durable=False)
        try:
            _end_jobs(study, wanted)
        except BaseException:
            for run_id in wanted:
                study.run(run_id).cancelled.unlink(missing_ok=True)
            raise
        for run_id in wanted:
            (study.queue / run_id).unlink(missing_ok=True)
            local.signal_holder(study.run(run_id).lock, signal.SIGTERM)
    return wanted


def check_trainable(specs: Sequence[RunSpec]) -> None:
    """``InputError`` if any run was planned for what is no longer trained; none is started then."""
    for what, old in (
        ("weights in bfloat16", lambda t: t.precision is Precision.BFLOAT16_WEIGHTS),
        ("the sampling log-normal-poisson", lambda t: t.sampling is DepthSampling.LOG_NORMAL_POISSON),
    ):
        if count := sum(old(spec.training) for spec in specs):
            raise InputError(
                f"{count} of these runs were planned by an early version for {what}, which is no longer "
                "trained; plan the sweep anew under another name (finished runs stay as they are)"
            )


def _end_jobs(study: Study, run_ids: Sequence[str]) -> None:
    """Ends whatever SLURM may still have for these runs."""
    submissions = Submissions(study, run_ids)
    jobs = []
    for run_id in run_ids:
        handed_over = submissions.job(study.run(run_id))
        jobs += [handed_over[1]] if handed_over else submissions.jobs_ever(run_id)
    slurm.cancel_jobs([job for job in jobs if job])


def _make_folder(folder: RunFolder, spec: RunSpec) -> None:
    folder.path.mkdir(exist_ok=True)
    if read_json(folder.spec) != spec.to_dict():
        write_atomically(folder.spec, (spec.json + "\n").encode(), durable=False)  # the manifest has it too


def _in_states(
    study: Study, sweep: str, states: Collection[State], run_ids: Collection[str] | None
) -> list[str]:
    """Runs of the sweep in these states, as they are now, in the order planned."""
    runs = collect_sweep(study.db, sweep).runs
    found = runs["state"].isin([state.value for state in states])
    if run_ids is not None:
        found &= runs["run_id"].isin(list(run_ids))
    return list(runs.loc[found, "run_id"])


def _by_profile(
    study: Study, sweep: str, run_ids: Sequence[str], profiles: Profiles
) -> dict[Profile, list[str]]:
    manifest = read_manifest(study, sweep)
    assert manifest is not None
    groups: dict[Profile, list[str]] = {}
    for run_id in run_ids:
        groups.setdefault(profiles.of(manifest.specs[run_id].model_name), []).append(run_id)
    return groups
