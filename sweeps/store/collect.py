"""Run folders and sweep files -> database, in one transaction; repeating it changes nothing."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from parcae.errors import InputError
from parcae.training.result import read_result
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import json_or_none
from sweeps.folders.spec import RunSpec
from sweeps.plan.manifest import find_sweep, read_manifest
from sweeps.runs.states import FINISHED, State, Status, establish
from sweeps.slurm.arrays import Submissions
from sweeps.store import database
from sweeps.store.csv_import import read_csv
from sweeps.store.rows import LossRow, SweepRows, run_row
from sweeps.store.scores import score_rows
from sweeps.store.tables import Store


def collect(db: Path) -> None:
    """Updates the database from the folders beside it, and creates it if there are runs but no database.

    Only files that changed are read.
    """
    study = Study(db)
    if not db.exists() and study.sweeps.is_dir():
        database.create(db)
    with database.open_store(db) as store:
        if not study.runs.is_dir():  # the database was copied without its folders
            return
        store.begin()
        planned = _collect_sweeps(store, study)
        _collect_runs(store, study, planned)
        store.commit()


def collect_sweep(db: Path, sweep: str | None) -> SweepRows:
    """The sweep called `sweep`, or the latest, as it stands now. A wrong name changes nothing."""
    study = Study(db)
    name = find_sweep(study, sweep) if study.runs.is_dir() or not db.exists() else sweep
    collect(db)
    return database.read_sweep(db, name)


def rebuild(db: Path) -> Path | None:
    """Makes a new database from the folders, and only then replaces the old one.

    An old file that cannot be read is kept; its new path is returned.
    """
    study = Study(db)
    if db.is_dir():
        raise InputError(f"cannot create the database {db}: it is a folder; name a file with --db")
    if not study.sweeps.is_dir():
        raise InputError(f"there are no runs beside {db} to rebuild it from; plan or import a sweep first")
    anew = db.with_name(f".{db.name}.{os.getpid()}.rebuilt")
    fresh = Study(anew)
    assert fresh.runs == study.runs
    try:
        database.create(anew)
        collect(anew)
        kept = None
        try:
            with database.open_store(db):  # no other process has it open while it is replaced
                database.put_in_place(anew, db)
        except InputError:  # there is none, or it is not ours
            if db.exists():
                kept = db.with_name(f"{db.name}.unreadable")
                db.replace(kept)
            database.put_in_place(anew, db)
    finally:
        database.remove(anew)
    return kept


def _signature(folder: RunFolder) -> str:
    """Changes whenever the result or the scores do."""
    scores = _state(folder.scores)
    return _state(folder.result) + (f" scores {scores}" if scores else "")


def _state(path: Path) -> str:
    try:
        stat = os.stat(path)  # noqa: PTH116 (half the time, over 20,000 folders)
    except FileNotFoundError:
        return ""
    return f"{stat.st_mtime_ns}:{stat.st_size}"


def _collect_runs(store: Store, study: Study, planned: Mapping[str, RunSpec]) -> None:
    """Updates every run. `planned` holds the specifications just read from manifests."""
    known = store.run_states()
    folders = set(study.run_ids())
    members = store.planned_run_ids()
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
    runs, losses, scores, metrics = [], [], [], []
    for run_id, spec in _specs(store, study, changed, planned).items():
        status, signature = changed[run_id]
        folder = study.run(run_id)
        result = read_result(folder.path) if status.state in FINISHED else None
        runs.append(run_row(spec, status, signature, result))
        scores += score_rows(folder)
        if result is not None:
            metrics.append(folder.metrics)
            losses += [
                LossRow(run_id=run_id, test_recurrence=int(recurrence), loss=loss)
                for recurrence, loss in result.losses.items()
            ]
    store.replace_runs([*changed, *gone], runs, losses, metrics, scores)


def _specs(
    store: Store, study: Study, run_ids: Iterable[str], planned: Mapping[str, RunSpec]
) -> dict[str, RunSpec]:
    """The specification of each run: from `planned`, from the database, or from a folder in no sweep.

    A folder whose specification cannot be read, or is another run's, is left out.
    """
    stored = store.specs([run_id for run_id in run_ids if run_id not in planned])
    specs = {}
    for run_id in run_ids:
        if run_id in planned:
            specs[run_id] = planned[run_id]
            continue
        plain = json.loads(stored[run_id]) if run_id in stored else json_or_none(study.run(run_id).spec)
        try:
            spec = RunSpec.from_dict(plain)
        except InputError:
            continue
        if spec.run_id == run_id:
            specs[run_id] = spec
    return specs


def _collect_sweeps(store: Store, study: Study) -> dict[str, RunSpec]:
    """Updates sweeps; returns the specifications in the manifests that were read."""
    known = store.sweep_signatures()
    files = {path: path.stat() for path in sorted(study.sweeps.glob("[!.]*"))}
    planned: dict[str, RunSpec] = {}
    for path, stat in files.items():
        name, signature = path.stem, f"{stat.st_mtime_ns}:{stat.st_size}"
        if known.get(name) == signature:
            continue
        if path.suffix == ".csv":
            table = read_csv(path, name)
            predicted: Mapping[str, float | None] = dict.fromkeys(row.run_id for row in table.runs)
            store.replace_sweep(name, "imported", stat.st_mtime_ns, signature, predicted)
            store.replace_runs([], table.runs, table.losses)
        else:
            manifest = read_manifest(study, name)
            assert manifest is not None
            planned.update(manifest.specs)
            store.replace_sweep(name, "planned", stat.st_mtime_ns, signature, manifest.predicted)
    store.forget_sweeps(list(known.keys() - {path.stem for path in files}))
    return planned
