"""What a sweep costs before it starts, and what speaks against starting it."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.config import Precision
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.local.supervisor import visible_gpus
from sweeps.plan import cost
from sweeps.plan.cost import GIB, Cost, Measured, Shape
from sweeps.plan.manifest import read_manifest
from sweeps.runs.profile import Profiles
from sweeps.runs.states import State
from sweeps.store.collect import collect_sweep
from sweeps.store.database import model_runs

LONG_HOURS = 24.0
"""What would take longer on this machine is asked about."""
SHORT_HOURS = 1 / 60
"""A sweep whose runs all take less is started without a question."""
_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """Of one run: on the device that was named, and on one slot of this machine."""

    on_device: Cost
    here: Cost

    def to_dict(self) -> dict[str, Any]:
        """The keys of a run's cost in `plan --json`."""
        memory = self.on_device.memory
        return {
            "device": self.on_device.device,
            "gpu_hours": self.on_device.hours,
            "gpu_hours_from": self.on_device.hours_from,
            "memory_gib": memory.total / GIB,
            "memory_from": "estimated",
            "memory": {
                "weights_gib": memory.weights / GIB,
                "states_gib": memory.states / GIB,
                "activations_gib": memory.activations / GIB,
                "logits_gib": memory.logits / GIB,
                "sequences_at_once": memory.sequences,
            },
            "fits": self.on_device.fits,
            "hours_here": self.here.hours,
            "hours_here_from": self.here.hours_from,
        }


def summary(costs: Sequence[RunCost]) -> list[str]:
    """Two sentences: what all the runs take on the device, and on this machine."""
    device = costs[0].on_device.device
    hours = [each.on_device.hours for each in costs]
    known = [each for each in hours if each is not None]
    sources = " or ".join(sorted({each.on_device.hours_from for each in costs}))
    memory = max((each.on_device.memory for each in costs), key=lambda memory: memory.total)
    takes = f"{sum(known):,.3g} GPU-hours in all" if len(known) == len(hours) else "unknown GPU-hours"
    lines = [
        f"on one {device} each: {takes} ({sources}); at most {memory.total / GIB:,.3g} GiB, estimated for "
        f"{memory.sequences} sequences at once"
    ]
    here = [each.here for each in costs]
    if here[0].device != device:
        total = sum(each.hours or 0.0 for each in here) / _slots()
        sources = " or ".join(sorted({each.hours_from for each in here}))
        lines.append(f"on this machine, {_slots()} at once: about {_in_words(total)} ({sources})")
    return lines


def _in_words(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.0f} hours" if hours >= 10 else f"{hours:,.1f} hours"
    return f"{hours * 60:,.0f} minutes" if hours >= 1 / 30 else f"{hours * 3600:.0f} seconds"


def price_runs(study: Study, specs: Sequence[RunSpec], device: str | None) -> list[RunCost]:
    """The cost of each run; without a device on the GPU that is here, else on the usual one."""
    gpu = gpu_here()
    name = device or gpu or cost.DEVICE
    measured = _measured(study, {spec.model_name for spec in specs})
    memory = _machine_memory() // _slots()
    return [
        RunCost(
            on_device=(on_device := cost.price(spec, name, measured)),
            here=_on_gpu_here(spec, gpu, on_device, measured)
            if gpu
            else cost.price_here(spec, memory, measured),
        )
        for spec in specs
    ]


def _on_gpu_here(spec: RunSpec, gpu: str, on_device: Cost, measured: Mapping[Shape, Measured]) -> Cost:
    return on_device if on_device.device == gpu else cost.price(spec, gpu, measured)


def gpu_here() -> str | None:
    """The name that its driver gives the first GPU of this machine; None without one."""
    if not visible_gpus():
        return None
    for path in sorted(_GPUS.glob("*/information")):
        if found := re.search(r"^Model:\s*(.+?)\s*$", path.read_text(), re.MULTILINE):
            return found[1].removeprefix("NVIDIA ")
    return "a GPU of unknown name"


def _slots() -> int:
    return len(visible_gpus()) or len(os.sched_getaffinity(0))


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _measured(study: Study, models: Iterable[str]) -> dict[Shape, Measured]:
    """The throughput of ended runs, the latest of each shape."""
    found: dict[Shape, Measured] = {}
    if not study.db.is_file():
        return found
    for model in models:
        runs = model_runs(study.db, model)
        runs = runs[runs["spec"].notna() & runs["result"].notna()]
        runs = runs.drop_duplicates(["variant", "mean_recurrence", "backward_depth"], keep="last")
        for spec, result in zip(runs["spec"], runs["result"], strict=True):
            values = json.loads(result)
            environment, speed = values.get("environment"), values.get("tokens_per_second")
            if environment and speed:
                found[cost.shape(RunSpec.from_dict(json.loads(spec)))] = Measured(
                    device=str(environment.get("device")),
                    tokens_per_second=speed / environment.get("processes", 1),
                )
    return found


def startable(study: Study, sweep: str) -> list[RunSpec]:
    """The runs of a sweep that `submit` would start."""
    manifest = read_manifest(study, sweep)
    assert manifest is not None
    runs = collect_sweep(study.db, sweep).runs
    planned = runs.loc[runs["state"] == State.PLANNED.value, "run_id"]
    return [manifest.specs[run_id] for run_id in planned]


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
    return _here(specs, [each.here for each in costs], slots or _slots())


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
