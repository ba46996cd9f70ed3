"""Run folders and sweep files -> database, in one transaction, again and again with the same outcome."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parcae.errors import InputError
from parcae.flops import counted_parameters
from sweeps import store
from sweeps.imported import read_csv
from sweeps.paths import RunFolder, Study, read_json
from sweeps.spec import RunSpec
from sweeps.states import FINISHED, State, Status, establish
from sweeps.sweep import read_manifest

if TYPE_CHECKING:
    import duckdb

_WATCHED = ("spec.json", "result.json")


def collect(db: Path) -> None:
    """Brings the database up to date with the folders beside it; makes it where there are runs but no
    database. Only folders that changed are read."""
    study = Study(db)
    if not db.exists() and study.sweeps.is_dir():
        store.create(db)
    with store.open_store(db) as connection:
        connection.begin()
        _collect_runs(connection, study)
        _collect_sweeps(connection, study)
        connection.commit()


def rebuild(db: Path) -> Path | None:
    """Makes the database anew from the folders, and only then puts it in the old one's place.

    An old file that could not be read is kept; its new path comes back.
    """
    study = Study(db)
    if not study.sweeps.is_dir():
        raise InputError(f"there are no runs beside {db} to rebuild it from; plan or import a sweep first")
    anew = db.with_name(f".{db.name}.{os.getpid()}.rebuilt")
    fresh = Study(anew)
    assert fresh.runs == study.runs
    try:
        store.create(anew)
        collect(anew)
        kept = None
        try:
            with store.open_store(db):  # nobody else has it open while it is replaced
                store.put_in_place(anew, db)
        except InputError:  # none, or none of ours
            if db.exists():
                kept = db.with_name(f"{db.name}.unreadable")
                db.replace(kept)
            store.put_in_place(anew, db)
    finally:
        store.remove(anew)
    return kept


def _signature(folder: RunFolder) -> str:
    """Changes whenever a watched file does."""
    parts = []
    for name in _WATCHED:
        try:
            stat = os.stat(f"{folder.path}/{name}")  # noqa: PTH116 (20,000 folders: half the time)
            parts.append(f"{stat.st_mtime_ns}:{stat.st_size}")
        except FileNotFoundError:
            parts.append("-")
    return " ".join(parts)


def _collect_runs(connection: "duckdb.DuckDBPyConnection", study: Study) -> None:
    import pandas as pd

    known = store.known_runs(connection)
    rows, losses, metrics, changed = [], [], {}, []
    present = set()
    scheduler: Mapping[str, Status] | None = None
    for run_id in study.run_ids():
        folder = study.run(run_id)
        signature = _signature(folder)
        present.add(run_id)
        before = known.get(run_id)
        if before and before[0] == signature and before[1] in FINISHED:
            continue
        if scheduler is None:
            scheduler = ask_scheduler(study)
        status = establish(study, folder, scheduler)
        if before == (signature, status.state, status.reason):
            continue
        row = _run_row(folder, status, signature)
        if row is None:
            present.discard(run_id)
            continue
        changed.append(run_id)
        rows.append(row)
        if status.state in FINISHED:
            metrics[run_id] = folder.metrics
            for recurrence, loss in (read_json(folder.result)["losses"] or {}).items():
                losses.append({"run_id": run_id, "test_recurrence": int(recurrence), "loss": loss})
    gone = [run_id for run_id in known if run_id not in present]
    if changed or gone:
        columns = list(store.RUN_COLUMNS)
        store.replace_rows(connection, "runs", "run_id", changed + gone, pd.DataFrame(rows, columns=columns))
        store.replace_rows(connection, "losses", "run_id", changed + gone, pd.DataFrame(losses))
        store.replace_metrics(connection, metrics)
        store.replace_rows(connection, "metrics", "run_id", gone, pd.DataFrame())


def ask_scheduler(study: Study) -> Mapping[str, Status]:
    """What SLURM says of this study's jobs; nothing where no job was ever sent."""
    if not study.slurm.is_dir():
        return {}
    from sweeps.slurm import job_states

    return job_states(study)


def _run_row(folder: RunFolder, status: Status, signature: str) -> dict[str, Any] | None:
    """The run as a row of `runs`; None for a folder whose specification cannot be read."""
    plain = read_json(folder.spec)
    try:
        spec = RunSpec.from_dict(plain)
    except (InputError, AttributeError, TypeError, KeyError, ValueError):
        return None
    once, recurrent = counted_parameters(spec.model, spec.convention)
    result = read_json(folder.result) if status.state in FINISHED else None
    return {
        "run_id": folder.run_id,
        "model": spec.model_name,
        "state": status.state.value,
        "reason": status.reason,
        "flops": spec.flops_budget,
        "convention": spec.convention.value,
        "mean_recurrence": float(spec.training.mean_recurrence),
        "backward_depth": float(spec.training.backward_depth),
        "tokens": float(spec.tokens),
        "steps": spec.training.steps,
        "flops_per_token": spec.flops_per_token,
        "parameters": float(spec.parameters),
        "once_parameters": float(once),
        "recurrent_parameters": float(recurrent),
        "seed": spec.training.seed,
        "corpus": spec.corpus,
        "corpus_hash": spec.corpus_hash,
        "val_loss": result["val_loss"] if result and status.state is State.DONE else None,
        "spec": spec.to_json(),
        "result": None if result is None else json.dumps(result, sort_keys=True),
        "signature": signature,
    }


def _collect_sweeps(connection: "duckdb.DuckDBPyConnection", study: Study) -> None:
    import pandas as pd

    known = store.known_sweeps(connection)
    files = {path: path.stat() for path in sorted(study.sweeps.glob("*")) if path.name[0] != "."}
    present = {path.stem for path in files}
    for path, stat in files.items():
        name, signature = path.stem, f"{stat.st_mtime_ns}:{stat.st_size}"
        if known.get(name) == signature:
            continue
        if path.suffix == ".csv":
            table = read_csv(path, name)
            ids = list(table.runs["run_id"])
            members = pd.DataFrame({"run_id": ids, "predicted_loss": None})
            store.forget_imported(connection, name)
            store.replace_rows(connection, "runs", "run_id", ids, table.runs.assign(signature=signature))
            store.replace_rows(connection, "losses", "run_id", ids, table.losses)
            kind, planned_at = "imported", stat.st_mtime
        else:
            manifest = read_manifest(study, name)
            assert manifest is not None
            members = pd.DataFrame(manifest.predicted.items(), columns=["run_id", "predicted_loss"])
            kind, planned_at = "planned", manifest.planned_at
        members = members.assign(sweep=name, position=range(len(members)))
        members["predicted_loss"] = members["predicted_loss"].astype(float)
        store.replace_rows(connection, "sweep_runs", "sweep", [name], members)
        sweep = pd.DataFrame([{"name": name, "kind": kind, "planned_at": planned_at, "signature": signature}])
        store.replace_rows(connection, "sweeps", "name", [name], sweep)
    gone = [name for name in known if name not in present]
    for name in gone:
        store.forget_imported(connection, name)
    if gone:
        store.replace_rows(connection, "sweep_runs", "sweep", gone, pd.DataFrame())
        store.replace_rows(connection, "sweeps", "name", gone, pd.DataFrame())
