"""Finding sweeps and runs by what users call them."""

from collections.abc import Sequence
from pathlib import Path

from parcae.errors import InputError
from sweeps.folders.paths import PUBLISHED, Study
from sweeps.plan.manifest import find_sweep
from sweeps.store.collect import collect_sweep
from sweeps.store.database import StudyTables


def own_sweep(db: Path, sweep: str | None) -> tuple[Study, str]:
    """A sweep that was planned here; the built-in and the imported ones have nothing to run."""
    study = Study(db)
    if sweep == PUBLISHED:
        raise InputError("the sweep 'published' is built in and has nothing to run; plan one of your own")
    name = find_sweep(study, sweep)
    if study.imported(name).exists():
        raise InputError(f"the sweep {name!r} was imported and has nothing to run; plan one of your own")
    return study, name


def named_runs(study: Study, sweep: str, prefixes: Sequence[str] | None) -> dict[str, str] | None:
    """Run id -> state of the runs that are named; None where none is."""
    if not prefixes:
        return None
    tables = collect_sweep(study.db, sweep)
    states = dict(zip(tables.runs["run_id"], tables.runs["state"], strict=True))
    return {(run_id := find_run(tables, prefix)): states[run_id] for prefix in prefixes}


def find_run(tables: StudyTables, prefix: str) -> str:
    """The run of the sweep whose id begins with `prefix`. ``InputError`` if there is none, or several."""
    found = [str(run_id) for run_id in tables.runs["run_id"] if str(run_id).startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            f"there is no run {prefix!r} in the sweep {tables.name}; `parcae-sweep status` lists its runs"
        )
    raise InputError(f"{len(found)} runs of the sweep {tables.name} begin with {prefix!r}; give more digits")
