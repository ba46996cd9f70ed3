"""Which runs a sweep holds: the manifests in runs/sweeps, made by planning."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from parcae.errors import InputError
from sweeps.paths import Study, check_sweep_name, read_json, write_atomically, write_json
from sweeps.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A planned sweep: its runs in the order planned, each with the loss foreseen for it, if any."""

    name: str
    planned_at: float
    """Seconds since the epoch of the last plan that named this sweep."""
    predicted: Mapping[str, float | None]
    """run_id -> predicted validation loss, nats a token, as it was when the run was first planned."""


def read_manifest(study: Study, name: str) -> Manifest | None:
    """The sweep's manifest; None where there is none. ``InputError`` for a file that is not one."""
    plain: Any = read_json(study.manifest(name))
    if plain is None and not study.manifest(name).exists():
        return None
    try:
        predicted = {row["run_id"]: row["predicted_loss"] for row in plain["runs"]}
        return Manifest(name=name, planned_at=plain["planned_at"], predicted=predicted)
    except (TypeError, KeyError) as error:
        raise InputError(
            f"cannot read the sweep {study.manifest(name)}: it is damaged; plan it again under another name"
        ) from error


def plan_sweep(
    study: Study, name: str, specs: Sequence[RunSpec], predicted: Sequence[float | None]
) -> Manifest:
    """Adds runs to the sweep `name`, which it makes where there is none; what is there stays as it is.

    Run folders come first and the manifest last, in one rename: a plan that was cut short has planned
    nothing, and planned again is whole.
    """
    check_sweep_name(name)
    if study.imported(name).exists():
        raise InputError(f"the sweep {name!r} was imported and cannot be planned into; choose another name")
    with study.locked():
        before = read_manifest(study, name)
        study.sweeps.mkdir(parents=True, exist_ok=True)
        known = dict(before.predicted) if before else {}
        for spec, loss in zip(specs, predicted, strict=True):
            folder = study.run(spec.run_id)
            if read_json(folder.spec) != spec.to_dict():
                folder.path.mkdir(exist_ok=True)
                write_atomically(folder.spec, spec.to_json() + "\n", durable=False)
            known.setdefault(spec.run_id, loss)
        manifest = Manifest(name=name, planned_at=time.time(), predicted=known)
        write_json(
            study.manifest(name),
            {
                "name": name,
                "planned_at": manifest.planned_at,
                "runs": [{"run_id": run_id, "predicted_loss": loss} for run_id, loss in known.items()],
            },
        )
        return manifest


def find_sweep(study: Study, name: str | None) -> str:
    """The sweep called `name`, or the latest one. ``InputError`` names those there are."""
    planned: dict[str, float] = {}
    for path in study.sweeps.glob("[!.]*"):
        if path.suffix == ".json":
            manifest = read_manifest(study, path.stem)
            planned[path.stem] = manifest.planned_at if manifest else 0.0
        elif path.suffix == ".csv":
            planned[path.stem] = path.stat().st_mtime
    if not planned:
        raise InputError(
            f"there is no sweep beside {study.db}; plan one with `parcae-sweep plan`, import one, "
            "or use --sweep published"
        )
    if name is None:
        return max(planned, key=lambda sweep: (planned[sweep], sweep))
    if name not in planned:
        raise InputError(
            f"there is no sweep {name!r} beside {study.db}; there are {', '.join(sorted(planned))}"
        )
    return name
