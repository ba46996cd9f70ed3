"""What speaks against starting a sweep: texts that are missing, runs that do not fit or take long."""

from collections.abc import Sequence

from parcae.config import DepthSampling, Precision
from parcae.errors import InputError
from sweeps.control.costs import RunCost, price_runs, slots_here
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.local.supervisor import visible_gpus
from sweeps.plan.cost import GIB, Cost
from sweeps.plan.texts import missing_text
from sweeps.runs.profile import Profiles

LONG_HOURS = 24.0
"""What would take longer on this machine is asked about."""
SHORT_HOURS = 1 / 60
"""A sweep whose runs all take less is started without a question."""


class Objection(InputError):
    """What speaks against starting runs that can be started, in words that follow "these runs"."""


def check_startable(
    study: Study,
    specs: Sequence[RunSpec],
    profiles: Profiles | None,
    slots: int | None,
    device: str | None,
    *,
    accepted: bool,
) -> None:
    """``InputError`` if one of the runs cannot be trained; ``Objection`` if something speaks against them and
    that was not `accepted`. With `profiles` they would start on SLURM, else in `slots` of this machine.
    """
    _check_trainable(specs)
    missing = missing_text(study, specs)
    against = None if accepted and not missing else objection(study, specs, profiles, slots, device)
    if missing:
        raise InputError(missing + (f"; besides, these runs {against}" if against else ""))
    if against:
        raise Objection(against)


def _check_trainable(specs: Sequence[RunSpec]) -> None:
    """``InputError`` if any run was planned with a setting that is no longer trained."""
    for what, field, old in (
        ("weights in bfloat16", "precision", Precision.BFLOAT16_WEIGHTS),
        ("the sampling log-normal-poisson", "sampling", DepthSampling.LOG_NORMAL_POISSON),
    ):
        if count := sum(getattr(spec.training, field) is old for spec in specs):
            raise InputError(
                f"{count} of these runs were planned by an early version with {what}, which is no longer "
                "trained; plan them again under another sweep name (finished runs are kept)"
            )


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
