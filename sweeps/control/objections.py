"""What speaks against starting a sweep: texts that are missing, runs that do not fit or take long."""

from collections.abc import Sequence
from dataclasses import dataclass

from parcae.config import Precision
from parcae.errors import InputError
from sweeps.control.cluster import Cluster
from sweeps.control.costs import RunCost, price_runs, slots_here
from sweeps.control.launch import check_trainable, resolve
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.local.supervisor import visible_gpus
from sweeps.plan.cost import GIB, Cost
from sweeps.plan.manifest import read_manifest
from sweeps.plan.texts import missing_text, unread_bytes
from sweeps.runs.profile import Profiles
from sweeps.runs.states import State
from sweeps.store.collect import collect_sweep

LONG_HOURS = 24.0
"""What would take longer on this machine is asked about."""
SHORT_HOURS = 1 / 60
"""A sweep whose runs all take less is started without a question."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the start of a sweep would bring."""

    objection: str | None
    """Why not to start its runs, in words that follow "these runs"."""
    unread_bytes: int
    """Of texts, which are read once before the first run starts."""


def consider(
    study: Study, sweep: str, cluster: Cluster, profiles: Profiles, slots: int | None, device: str | None
) -> Outlook:
    """The outlook of the runs that `submit` would start. ``InputError`` if one of them cannot be trained."""
    specs = startable(study, sweep)
    check_trainable(specs)
    here = resolve(cluster) is Cluster.LOCAL
    against = objection(study, specs, None if here else profiles, slots, device)
    if missing := missing_text(study, specs):
        raise InputError(missing + (f"; besides, these runs {against}" if against else ""))
    return Outlook(objection=against, unread_bytes=unread_bytes(study, specs))


def startable(study: Study, sweep: str) -> list[RunSpec]:
    """The runs of a sweep that `submit` would start."""
    manifest = read_manifest(study, sweep)
    assert manifest is not None
    runs = collect_sweep(study.db, sweep).runs
    return [manifest.specs[run.run_id] for run in runs if run.state is State.PLANNED]


def objection(
    study: Study,
    specs: Sequence[RunSpec],
    profiles: Profiles | None,
    slots: int | None,
    device: str | None,
) -> str | None:
    """Why not to start runs, in words that follow "these runs"; None if nothing is in the way.

    With `profiles` they would start on SLURM, else in `slots` of this machine.
    """
    if not specs:
        return None
    costs = price_runs(study, specs, device)
    if profiles is not None:
        return _on_slurm(specs, costs, profiles, device)
    return _here(specs, [each.here for each in costs], slots or slots_here())


def _here(specs: Sequence[RunSpec], costs: Sequence[Cost], slots: int) -> str | None:
    fit = all(each.fits is not False for each in costs)
    if fit and all(each.hours is not None and each.hours < SHORT_HOURS for each in costs):
        return None
    on_cpu = costs[0].device == "cpu"
    why = []
    if on_cpu and any(spec.training.precision is Precision.BFLOAT16 for spec in specs):
        why.append("want bfloat16 matrices, which a CPU multiplies slowly")
    if not fit:
        most = max(each.memory.total for each in costs if each.fits is False)
        why.append(f"take {most / GIB:,.0f} GiB of memory, which is not here")
    hours = sum(each.hours or 0.0 for each in costs) / slots
    if hours > LONG_HOURS:
        has = "has no GPU" if on_cpu else f"has {len(visible_gpus())} x {costs[0].device}"
        why.append(f"take about {hours:,.0f} hours on this machine, which {has} ({costs[0].hours_from})")
    return ", ".join(why) or None


def _on_slurm(
    specs: Sequence[RunSpec], costs: Sequence[RunCost], profiles: Profiles, device: str | None
) -> str | None:
    without = [spec for spec in specs if not profiles.of(spec.model_name).gpus_per_node]
    if any(spec.training.precision is Precision.BFLOAT16 for spec in without):
        return "want bfloat16 matrices, which a CPU multiplies slowly, and cluster.toml asks for no GPU"
    if device is None:  # nobody says which GPUs a cluster has
        return None
    sizes = [each.on_device.memory.total for each in costs if each.on_device.fits is False]
    return f"take {max(sizes) / GIB:,.0f} GiB of memory, more than one {device} has" if sizes else None
