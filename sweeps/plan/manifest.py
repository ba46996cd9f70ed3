"""The runs of each planned sweep: the manifests in runs/sweeps."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parcae.errors import InputError
from parcae.files import write_atomically
from sweeps.folders.paths import Study, check_sweep_name
from sweeps.folders.records import ManifestFile, read_record
from sweeps.folders.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A planned sweep. Both mappings are by run id, in the order planned."""

    name: str
    planned_at: float
    """Seconds since the epoch of the last plan that named this sweep."""
    specs: Mapping[str, RunSpec]
    predicted: Mapping[str, float | None]
    """Validation loss in nats per token, as predicted when the run was first planned."""


_known: dict[Path, tuple[tuple[int, int], Manifest]] = {}
"""The manifest that this process last wrote to or read from each file, with the file's signature: parsing
20,000 specifications takes seconds, and a command needs them more than once."""


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size


def read_manifest(study: Study, name: str) -> Manifest | None:
    """The sweep's manifest, or None. ``InputError`` for a file that is not a manifest."""
    path = study.manifest(name)
    signature = _signature(path)
    if signature is None:
        return None
    if path not in _known or _known[path][0] != signature:
        _known[path] = (signature, _parse(path, name))
    return _known[path][1]


def _parse(path: Path, name: str) -> Manifest:
    try:
        file = read_record(path, ManifestFile)
    except InputError as error:
        raise InputError(f"{error}; move the file away") from error
    if file is None:
        raise InputError(f"cannot read the sweep {path}: it is not whole JSON; move the file away")
    return Manifest(
        name=name,
        planned_at=file.planned_at,
        specs={run.spec.run_id: run.spec for run in file.runs},
        predicted={run.spec.run_id: run.predicted_loss for run in file.runs},
    )


def check_plannable(study: Study, name: str) -> None:
    """``InputError`` if no run can be planned into a sweep of this name."""
    check_sweep_name(name)
    if study.imported(name).exists():
        raise InputError(f"the sweep {name!r} was imported and cannot be planned into; choose another name")


def plan_sweep(
    study: Study, name: str, specs: Sequence[RunSpec], predicted: Sequence[float | None]
) -> Manifest:
    """Adds runs to the sweep `name`, which is created if necessary; existing runs are unchanged.

    The one file is written and then renamed: a plan that was interrupted has planned nothing.
    """
    check_plannable(study, name)
    with study.locked():
        before = read_manifest(study, name)
        study.sweeps.mkdir(parents=True, exist_ok=True)
        all_specs = dict(before.specs) if before else {}
        all_losses = dict(before.predicted) if before else {}
        for spec, loss in zip(specs, predicted, strict=True):
            all_specs.setdefault(spec.run_id, spec)
            all_losses.setdefault(spec.run_id, loss)
        manifest = Manifest(name=name, planned_at=time.time(), specs=all_specs, predicted=all_losses)
        rows = (
            f'{{"predicted_loss": {json.dumps(all_losses[run_id])}, "spec": {spec.json}}}'
            for run_id, spec in all_specs.items()
        )
        write_atomically(
            study.manifest(name),
            (
                f'{{"planned_at": {json.dumps(manifest.planned_at)}, "runs": [\n'
                + ",\n".join(rows)
                + "\n]}\n"
            ).encode(),
        )
        signature = _signature(study.manifest(name))
        assert signature is not None
        _known[study.manifest(name)] = (signature, manifest)
    return manifest


def find_sweep(study: Study, name: str | None) -> str:
    """The sweep called `name`, or the latest one. ``InputError`` names the existing ones."""
    files = {path.stem: path for path in study.sweeps.glob("[!.]*") if path.suffix in (".json", ".csv")}
    if not files:
        raise InputError(
            f"there is no sweep in {study.runs}; plan one with `parcae-sweep plan`, import one, "
            "or use --sweep published"
        )
    if name is None:
        return max(files, key=lambda sweep: (files[sweep].stat().st_mtime_ns, sweep))
    if name not in files:
        raise InputError(
            f"there is no sweep {name!r} beside {study.db}; there are {', '.join(sorted(files))}"
        )
    return name
