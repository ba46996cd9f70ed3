"""Finds sweeps and runs by their names on the command line."""

from pathlib import Path

from parcae.errors import InputError
from sweeps.folders.paths import PUBLISHED, Study
from sweeps.plan.manifest import find_sweep
from sweeps.store.rows import SweepRows


def own_sweep(db: Path, sweep: str | None) -> tuple[Study, str]:
    """A sweep that was planned here: the built-in one and imported ones have nothing to run."""
    study = Study(db)
    if sweep == PUBLISHED:
        raise InputError("the sweep 'published' is built in and has nothing to run; plan one of your own")
    name = find_sweep(study, sweep)
    if study.imported(name).exists():
        raise InputError(f"the sweep {name!r} was imported and has nothing to run; plan one of your own")
    return study, name


def find_run(sweep: SweepRows, prefix: str) -> str:
    """The run of the sweep whose id begins with `prefix`. ``InputError`` if there is none, or several."""
    found = [run.run_id for run in sweep.runs if run.run_id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            f"there is no run {prefix!r} in the sweep {sweep.name}; `parcae-sweep status` lists its runs"
        )
    raise InputError(f"{len(found)} runs of the sweep {sweep.name} begin with {prefix!r}; give more digits")
