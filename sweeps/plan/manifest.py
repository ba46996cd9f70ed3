"""The runs of each planned sweep: the manifests in runs/sweeps.

A manifest has a line for each run. A line that is damaged concerns its run alone: the run is taken from its
folder if that has it, and else it is left out, in a sentence.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.errors import InputError
from parcae.files import keep_aside, write_atomically
from parcae.records import checksum, from_plain
from sweeps.folders.paths import Study, check_sweep_name, is_sweep_name
from sweeps.folders.records import ManifestEntry, read_spec
from sweeps.folders.spec import RunSpec

_HEAD = re.compile(r'\{"planned_at": [^\[\n]*\[|[^\n]*\n')
"""What comes before the line of the first run."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A planned sweep. Both mappings are by run id, in the order planned."""

    name: str
    planned_at: float
    """Seconds since the epoch of the last plan that named this sweep."""
    specs: Mapping[str, RunSpec]
    predicted: Mapping[str, float | None]
    """Validation loss in nats per token, as predicted when the run was first planned."""
    damage: Sequence[str] = ()
    """A sentence for each damaged line of the file."""


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
        _known[path] = (signature, _parse(study, name))
    return _known[path][1]


def _parse(study: Study, name: str) -> Manifest:
    path = study.manifest(name)
    text = path.read_bytes().decode(errors="replace")
    if '"predicted_loss": ' not in text and '"runs": [' not in text:
        raise InputError(f"cannot read the sweep {path}: it is not a manifest of runs; move the file away")
    specs: dict[str, RunSpec] = {}
    predicted: dict[str, float | None] = {}
    damage = []
    for number, values in enumerate(_lines(text), 1):
        try:
            spec, loss, is_whole = _checked(study, values)
        except InputError as error:
            damage.append(f"run {number} of the sweep {name} is left out: {error}; plan it again")
            continue
        specs[spec.run_id], predicted[spec.run_id] = spec, loss
        if not is_whole:
            lost = "" if loss is not None else ", without a predicted loss"
            damage.append(f"the line of run {spec.run_id} in {path} is damaged; the run is kept{lost}")
    planned_at = re.search(r'"planned_at": ([0-9]+(?:[.][0-9]+)?)', text)
    return Manifest(
        name=name,
        planned_at=float(planned_at[1]) if planned_at else path.stat().st_mtime,
        specs=specs,
        predicted=predicted,
        damage=damage,
    )


def check_plannable(study: Study, name: str) -> None:
    """``InputError`` if no run can be planned into a sweep of this name."""
    check_sweep_name(name)
    if study.imported(name).exists():
        raise InputError(f"the sweep {name!r} was imported and cannot be planned into; choose another name")


def _lines(text: str) -> Iterator[Any]:
    """The parsed lines of a manifest; the text of a line that is not JSON."""
    try:
        whole = json.loads(text)
        if isinstance(whole, dict) and isinstance(whole.get("runs"), list):
            yield from whole["runs"]
            return
    except (ValueError, RecursionError):
        pass
    head = _HEAD.match(text)
    for line in text[head.end() if head else 0 :].split("\n"):
        while len(line := line.lstrip(", ")) > len("]}") + 1:
            line = line[line.startswith('{"', 1) :]  # after what was the end of a line
            try:
                values, end = json.JSONDecoder().raw_decode(line)
            except (ValueError, RecursionError):
                yield line
                break
            yield values
            line = line[end:]


def _checked(study: Study, values: Any) -> tuple[RunSpec, float | None, bool]:
    """A run as it was planned, its predicted loss if that is known, and whether its line was whole.

    ``InputError`` if the run cannot be known.
    """
    plain = values if isinstance(values, dict) else {}
    if plain and not plain.keys() & {"run_id", "checksum"}:  # of an early version
        entry = from_plain(ManifestEntry, plain, "its line")
        return entry.spec, entry.predicted_loss, True
    loss, run_id = plain.get("predicted_loss"), plain.get("run_id")
    try:
        spec = RunSpec.from_dict(plain.get("spec"))
    except InputError:
        spec = None
    if spec is None or (plain.get("checksum") != _checksum(spec.run_id, loss) and spec.run_id != run_id):
        start = values[:60] if isinstance(values, str) else str(run_id)
        named = (study.run(match[1]) for match in re.finditer("(?=([0-9a-f]{16}))", start))
        folder = next((folder for folder in named if folder.spec.exists()), None)
        if folder is None:
            raise InputError("its line in the manifest is damaged, and its folder is not there")
        spec = read_spec(folder)
    if plain.get("checksum") == _checksum(spec.run_id, loss):
        return spec, loss, run_id == spec.run_id
    return spec, None, False


def _checksum(run_id: str, loss: Any) -> str:
    return checksum({"run_id": run_id, "predicted_loss": loss})


def plan_sweep(
    study: Study, name: str, specs: Sequence[RunSpec], predicted: Sequence[float | None]
) -> Manifest:
    """Adds runs to the sweep `name`, which is created if necessary; existing runs are unchanged.
    A file with damaged lines is kept beside the new one.

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
            f'{{"run_id": "{run_id}", "predicted_loss": {json.dumps(all_losses[run_id])}, '
            f'"checksum": "{_checksum(run_id, all_losses[run_id])}", "spec": {spec.json}}}'
            for run_id, spec in all_specs.items()
        )
        if before and before.damage:
            keep_aside(study.manifest(name))
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


def sweep_files(study: Study) -> dict[str, Path]:
    """name -> file of each sweep, planned or imported. Other files in the folder are none."""
    return {
        path.stem: path
        for path in sorted(study.sweeps.glob("*"))
        if path.suffix in (".json", ".csv") and is_sweep_name(path.stem) and path.is_file()
    }


def find_sweep(study: Study, name: str | None) -> str:
    """The sweep called `name`, or the latest one. ``InputError`` names the existing ones."""
    files = sweep_files(study)
    if not files:
        raise InputError(
            f"there is no sweep in {study.runs}; plan one with `parcae-sweep plan`, import one, "
            "or use --sweep published"
        )
    if name is None:
        candidates = [sweep for sweep in files if _looks_whole(files[sweep])] or list(files)
        return max(candidates, key=lambda sweep: (files[sweep].stat().st_mtime_ns, sweep))
    if name not in files:
        raise InputError(
            f"there is no sweep {name!r} beside {study.db}; there are {', '.join(sorted(files))}"
        )
    return name


def _looks_whole(path: Path) -> bool:
    """False for a file of somebody else's that only has the name of a sweep."""
    if path.suffix == ".csv":
        return True
    with path.open("rb") as file:
        return b'"predicted_loss"' in file.read(200)
