"""Run folders and sweep files -> database, in one transaction; repeating it changes nothing."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from parcae.errors import InputError, WorkFailed
from parcae.files import set_aside
from parcae.training.result import read_result
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import json_or_none
from sweeps.folders.spec import RunSpec
from sweeps.plan.manifest import find_sweep, read_manifest, sweep_files
from sweeps.runs.states import FINISHED, State, Status, establish
from sweeps.slurm.arrays import Submissions
from sweeps.store import database
from sweeps.store.importing.study import read_imported
from sweeps.store.rows import LossRow, SweepRows, run_row
from sweeps.store.scores import score_rows
from sweeps.store.tables import Store


def collect(db: Path) -> Sequence[str]:
    """Updates the database from the folders beside it, and creates it if there are runs but no database.

    Only files that changed are read. Returns a sentence for each damaged line or file of a sweep: it concerns
    that run or sweep alone.
    """
    study = Study(db)
    if not database.exists(db) and study.sweeps.is_dir():
        database.create(db)
    submissions = Submissions(study)
    submissions.ask()  # SLURM may take its time: not while the database is held
    with database.open_store(db) as store:
        if not study.runs.is_dir():  # the database was copied without its folders
            return ()
        store.begin()
        planned, damage = _collect_sweeps(store, study)
        _collect_runs(store, study, planned, submissions)
        store.commit()
        return damage


def collect_sweep(db: Path, sweep: str | None) -> SweepRows:
    """The sweep called `sweep`, or the latest, as it stands now. A wrong name changes nothing."""
    study = Study(db)
    name = find_sweep(study, sweep) if study.runs.is_dir() or not db.exists() else sweep
    damage = collect(db)
    return replace(database.read_sweep(db, name), damage=tuple(damage))


def rebuild(db: Path) -> Path | None:
    """Makes a new database from the folders, and only then replaces the old one.

    An old file that cannot be read is kept; its new path is returned.
    """
    study = Study(db)
    if db.is_dir():
        raise InputError(f"cannot create the database {db}: it is a folder; name a file with --db")
    if not study.sweeps.is_dir():
        raise InputError(f"there are no runs beside {db} to rebuild it from; plan or import a sweep first")
    if not os.access(db.absolute().parent, os.W_OK):
        raise WorkFailed(f"cannot rebuild the database {db}: its folder cannot be written")
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
        except (InputError, WorkFailed):  # there is none, or it is not ours, or damaged
            if db.exists():
                kept = set_aside(db)
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


def _collect_runs(
    store: Store, study: Study, planned: Mapping[str, RunSpec], submissions: Submissions
) -> None:
    """Updates every run. `planned` holds the specifications just read from manifests."""
    known = store.run_states()
    folders = set(study.run_ids())
    members = store.planned_run_ids()
    changed: dict[str, tuple[Status, str]] = {}
    signatures = dict.fromkeys(members, "") | {run_id: _signature(study.run(run_id)) for run_id in folders}
    stale = [
        run_id
        for run_id, signature in signatures.items()
        if run_id not in known or known[run_id][1] not in FINISHED or known[run_id][0] != signature
    ]
    specs = _specs(store, study, [run_id for run_id in stale if signatures[run_id]], planned)
    for run_id in stale:
        before, signature = known.get(run_id), signatures[run_id]
        status = Status(State.PLANNED)
        if run_id in folders:
            status = establish(study, study.run(run_id), submissions, specs.get(run_id))
        if before != (signature, status.state, status.reason):
            changed[run_id] = (status, signature)
    gone = known.keys() - members - folders
    if not changed and not gone:
        return
    runs, losses, scores, metrics = [], [], [], []
    specs |= _specs(store, study, [run_id for run_id in changed if run_id not in specs], planned)
    for run_id, (status, signature) in changed.items():
        if run_id not in specs:
            continue
        folder = study.run(run_id)
        result = read_result(folder.path) if status.state in FINISHED else None
        runs.append(run_row(specs[run_id], status, signature, result))
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


def _collect_sweeps(store: Store, study: Study) -> tuple[dict[str, RunSpec], list[str]]:
    """Updates sweeps; returns the specifications in the manifests that were read, and what is damaged.

    What was known of a sweep whose file can no longer be read is kept.
    """
    known = store.sweep_signatures()
    planned: dict[str, RunSpec] = {}
    damage: list[str] = []
    files = sweep_files(study)
    for name, path in files.items():
        stat = path.stat()
        signature = f"{stat.st_mtime_ns}:{stat.st_size}"
        if known.get(name) == signature:
            continue
        try:
            if path.suffix == ".csv":
                table = read_imported(path, name)
                predicted: Mapping[str, float | None] = dict.fromkeys(row.run_id for row in table.runs)
                store.replace_sweep(name, "imported", stat.st_mtime_ns, signature, predicted)
                store.replace_runs([], table.runs, table.losses)
                continue
            manifest = read_manifest(study, name)
        except InputError as error:
            damage.append(str(error))
            continue
        assert manifest is not None
        planned.update(manifest.specs)
        damage += manifest.damage
        if manifest.damage:
            signature = ""  # it is read, and its damage told, every time
        store.replace_sweep(name, "planned", stat.st_mtime_ns, signature, manifest.predicted)
    store.forget_sweeps(list(known.keys() - files.keys()))
    return planned, damage
