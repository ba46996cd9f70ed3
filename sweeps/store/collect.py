"""Run folders and sweep files -> database, in one transaction, again and again with the same outcome."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parcae.errors import InputError
from parcae.flops import counted_parameters
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import read_json
from sweeps.folders.spec import RunSpec
from sweeps.plan.manifest import find_sweep, read_manifest
from sweeps.runs.states import FINISHED, State, Status, establish
from sweeps.slurm.arrays import Submissions
from sweeps.store import database as store
from sweeps.store.csv_import import read_csv

if TYPE_CHECKING:
    import duckdb


def collect(db: Path) -> None:
    """Brings the database up to date with the folders beside it; makes it where there are runs but no
    database. Only files that changed are read."""
    study = Study(db)
    if not db.exists() and study.sweeps.is_dir():
        store.create(db)
    with store.open_store(db) as connection:
        if not study.runs.is_dir():  # the database was taken elsewhere without its folders: all there is
            return
        connection.begin()
        planned = _collect_sweeps(connection, study)
        _collect_runs(connection, study, planned)
        connection.commit()


def collect_sweep(db: Path, sweep: str | None) -> store.StudyTables:
    """The sweep called `sweep`, or the latest, as it stands now. A wrong name changes nothing."""
    study = Study(db)
    name = find_sweep(study, sweep) if study.runs.is_dir() or not db.exists() else sweep
    collect(db)
    return store.read_study(db, name)


def rebuild(db: Path) -> Path | None:
    """Makes the database anew from the folders, and only then puts it in the old one's place.

    An old file that could not be read is kept; its new path comes back.
    """
    study = Study(db)
    if db.is_dir():
        raise InputError(f"cannot make the database {db}: it is a folder; name a file with --db")
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
    """Changes whenever the result does."""
    try:
        stat = os.stat(folder.result)  # noqa: PTH116 (half the time, over 20,000 folders)
    except FileNotFoundError:
        return ""
    return f"{stat.st_mtime_ns}:{stat.st_size}"


def _collect_runs(
    connection: "duckdb.DuckDBPyConnection", study: Study, planned: Mapping[str, RunSpec]
) -> None:
    """Brings every run up to date. `planned` holds the specifications read from manifests just now."""
    import pandas as pd

    known = store.known_runs(connection)
    folders = set(study.run_ids())
    members = store.planned_run_ids(connection)
    changed: dict[str, tuple[Status, str]] = {}
    unfinished = [run for run in folders if run not in known or known[run][1] not in FINISHED]
    submissions = Submissions(study, unfinished)
    for run_id in members | folders:
        before = known.get(run_id)
        folder = study.run(run_id)
        signature = _signature(folder) if run_id in folders else ""
        if before and before[0] == signature and before[1] in FINISHED:
            continue
        status = Status(State.PLANNED)
        if run_id in folders:
            status = establish(study, folder, submissions)
        if before != (signature, status.state, status.reason):
            changed[run_id] = (status, signature)
    gone = known.keys() - members - folders
    if not changed and not gone:
        return
    specs = _specs(connection, study, changed, planned)
    rows, losses, metrics = [], [], {}
    for run_id, spec in specs.items():
        status, signature = changed[run_id]
        folder = study.run(run_id)
        result = read_json(folder.result) if status.state in FINISHED else None
        rows.append(_run_row(spec, status, signature, result))
        if result is not None:
            metrics[run_id] = folder.metrics
            for recurrence, loss in (result["losses"] or {}).items():
                losses.append({"run_id": run_id, "test_recurrence": int(recurrence), "loss": loss})
    stale = [*changed, *gone]
    columns = list(store.RUN_COLUMNS)
    store.replace_rows(connection, "runs", "run_id", stale, pd.DataFrame(rows, columns=columns))
    store.replace_rows(connection, "losses", "run_id", stale, pd.DataFrame(losses))
    store.replace_rows(connection, "metrics", "run_id", stale, pd.DataFrame())
    store.read_metrics(connection, list(metrics.values()))


def _specs(
    connection: "duckdb.DuckDBPyConnection",
    study: Study,
    run_ids: Iterable[str],
    planned: Mapping[str, RunSpec],
) -> dict[str, RunSpec]:
    """The specification of each run: just planned, or in the database, or in a folder that no sweep names.

    A folder whose specification is not its own or cannot be read is left out.
    """
    stored = store.stored_specs(connection, [run_id for run_id in run_ids if run_id not in planned])
    specs = {}
    for run_id in run_ids:
        if run_id in planned:
            specs[run_id] = planned[run_id]
            continue
        plain = json.loads(stored[run_id]) if run_id in stored else read_json(study.run(run_id).spec)
        try:
            spec = RunSpec.from_dict(plain)
        except (AttributeError, TypeError, KeyError, ValueError):
            continue
        if spec.run_id == run_id:
            specs[run_id] = spec
    return specs


def _run_row(spec: RunSpec, status: Status, signature: str, result: dict[str, Any] | None) -> dict[str, Any]:
    """The run as a row of `runs`."""
    once, recurrent = counted_parameters(spec.model, spec.convention)
    return {
        "run_id": spec.run_id,
        "model": spec.model_name,
        "variant": spec.variant,
        "state": status.state.value,
        "reason": status.reason,
        "flops": spec.flops_budget,
        "realised_flops": result.get("realised_flops") if result else None,
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
        "hyperparameters": _hyperparameters(spec),
        "corpus": spec.corpus,
        "corpus_hash": spec.corpus_hash,
        "val_loss": result["val_loss"] if result and status.state is State.DONE else None,
        "spec": spec.json,
        "result": None if result is None else json.dumps(result, sort_keys=True),
        "signature": signature,
    }


def _hyperparameters(spec: RunSpec) -> str:
    """What a search would vary at one model, budget, mean recurrence and number of tokens, as JSON."""
    names = ("optimiser", "learning_rate", "adamw_learning_rate", "weight_decay", "cooldown", "gradient_clip")
    plain = spec.training.to_dict()
    return json.dumps({name: plain[name] for name in (*names, "batch_sequences")}, sort_keys=True)


def _collect_sweeps(connection: "duckdb.DuckDBPyConnection", study: Study) -> dict[str, RunSpec]:
    """Brings sweeps up to date; returns the specifications that manifests brought."""
    import pandas as pd

    known = store.known_sweeps(connection)
    files = {path: path.stat() for path in sorted(study.sweeps.glob("[!.]*"))}
    planned: dict[str, RunSpec] = {}
    for path, stat in files.items():
        name, signature = path.stem, f"{stat.st_mtime_ns}:{stat.st_size}"
        if known.get(name) == signature:
            continue
        if path.suffix == ".csv":
            table = read_csv(path, name)
            members = pd.DataFrame({"run_id": table.runs["run_id"], "predicted_loss": float("nan")})
            store.forget_imported(connection, [name])
            store.replace_rows(connection, "runs", "run_id", [], table.runs.assign(signature=""))
            store.replace_rows(connection, "losses", "run_id", [], table.losses)
        else:
            manifest = read_manifest(study, name)
            assert manifest is not None
            planned.update(manifest.specs)
            members = pd.DataFrame(
                {"run_id": list(manifest.predicted), "predicted_loss": list(manifest.predicted.values())}
            ).astype({"predicted_loss": float})
        members = members.assign(sweep=name, position=range(len(members)))
        store.replace_rows(connection, "sweep_runs", "sweep", [name], members)
        kind = "imported" if path.suffix == ".csv" else "planned"
        row = {"name": name, "kind": kind, "changed_ns": stat.st_mtime_ns, "signature": signature}
        store.replace_rows(connection, "sweeps", "name", [name], pd.DataFrame([row]))
    gone = list(known.keys() - {path.stem for path in files})
    if gone:
        store.forget_imported(connection, gone)
        store.replace_rows(connection, "sweep_runs", "sweep", gone, pd.DataFrame())
        store.replace_rows(connection, "sweeps", "name", gone, pd.DataFrame())
    return planned
