"""What runs cost before they start, on a named device and on this machine."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.records import from_plain
from parcae.training.result import Result
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.local.supervisor import visible_gpus
from sweeps.plan import cost
from sweeps.plan.cost import GIB, Cost, Measured, Shape
from sweeps.store.database import model_runs

_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """Of one run: on the device that was named, and on one slot of this machine."""

    on_device: Cost
    here: Cost

    @property
    def memory_gib(self) -> float:
        """On the device."""
        return self.on_device.memory.total / GIB

    def to_dict(self) -> dict[str, Any]:
        """The keys of a run's cost in `plan --json`."""
        memory = self.on_device.memory
        return {
            "device": self.on_device.device,
            "gpu_hours": self.on_device.hours,
            "gpu_hours_from": self.on_device.hours_from,
            "memory_gib": self.memory_gib,
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
        total = sum(each.hours or 0.0 for each in here) / slots_here()
        sources = " or ".join(sorted({each.hours_from for each in here}))
        lines.append(f"on this machine, {slots_here()} at once: about {_in_words(total)} ({sources})")
    return lines


def _in_words(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.0f} hours" if hours >= 10 else f"{hours:,.1f} hours"
    return f"{hours * 60:,.0f} minutes" if hours >= 1 / 30 else f"{hours * 3600:.0f} seconds"


def price_runs(study: Study, specs: Sequence[RunSpec], device: str | None) -> list[RunCost]:
    """The cost of each run on `device`; by default, on this machine's GPU, or an H100 if it has none."""
    gpu = gpu_here()
    name = device or gpu or cost.DEVICE
    measured = _measured(study, {spec.model_name for spec in specs})
    memory = _machine_memory() // slots_here()
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


def slots_here() -> int:
    return len(visible_gpus()) or len(os.sched_getaffinity(0))


def _machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _measured(study: Study, models: Iterable[str]) -> dict[Shape, Measured]:
    """The throughput of ended runs, one of each shape."""
    found: dict[Shape, Measured] = {}
    if not study.db.is_file():
        return found
    for model in models:
        ended = {
            (run.variant, run.mean_recurrence, run.backward_depth): (run.spec, run.result)
            for run in model_runs(study.db, model)
            if run.spec and run.result
        }
        for spec, result in ended.values():
            values = from_plain(Result, json.loads(result), "a stored result")
            if values.environment and values.tokens_per_second:
                found[cost.shape(RunSpec.from_dict(json.loads(spec)))] = Measured(
                    device=str(values.environment.get("device")),
                    tokens_per_second=values.tokens_per_second / int(values.environment.get("processes", 1)),
                )
    return found
