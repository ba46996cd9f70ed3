"""Starting what is planned and not yet done, on SLURM or on this machine, exactly once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from parcae.files import write_atomically
from sweeps import local, slurm
from sweeps.collect import collect_sweep
from sweeps.paths import RunFolder, Study, read_json
from sweeps.spec import RunSpec
from sweeps.states import State
from sweeps.store import StudyTables, read_study
from sweeps.sweep import read_manifest


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
    """SLURM where it answers, else this machine."""
    if cluster is Cluster.AUTO:
        return Cluster.SLURM if slurm.is_available() else Cluster.LOCAL
    return cluster


def launch(
    study: Study, sweep: str, cluster: Cluster, states: Sequence[State] = (State.PLANNED,)
) -> Launched:
    """Hands the sweep's runs in `states` to the cluster. Runs that are queued, running or ended stay."""
    cluster = resolve(cluster)
    with study.locked():  # two submissions at once would both find the same runs planned
        slurm.settle(study, _runs(study, sweep, (State.UNKNOWN,)))
        wanted = _runs(study, sweep, states)
        manifest = read_manifest(study, sweep)
        assert manifest is not None
        for run_id in wanted:
            _make_folder(study.run(run_id), manifest.specs[run_id])
        if cluster is Cluster.SLURM:
            slurm.submit(study, wanted)
        else:
            local.enqueue(study, wanted)
    return Launched(cluster, len(wanted), read_study(study.db, sweep))


def _make_folder(folder: RunFolder, spec: RunSpec) -> None:
    folder.path.mkdir(exist_ok=True)
    if read_json(folder.spec) != spec.to_dict():
        write_atomically(folder.spec, (spec.json + "\n").encode())


def _runs(study: Study, sweep: str, states: Sequence[State]) -> list[str]:
    runs = collect_sweep(study.db, sweep).runs
    return list(runs.loc[runs["state"].isin([state.value for state in states]), "run_id"])
