"""Which runs a retry starts again, and which a cancellation ends."""

from collections.abc import Collection, Sequence

from parcae.errors import InputError
from sweeps.control.find import find_run
from sweeps.folders.paths import Study
from sweeps.runs.states import ACTIVE, RETRIABLE, State
from sweeps.store.collect import collect_sweep

USUAL = frozenset({State.FAILED, State.TIMED_OUT})
"""What is retried if neither runs nor states are named."""
CANCELLABLE = ACTIVE | {State.UNKNOWN}


def runs_to_retry(
    study: Study, sweep: str, named: Sequence[str], states: Collection[State]
) -> tuple[Collection[State], list[str] | None]:
    """The states of the runs to start again, and their ids; None for all of the sweep.

    `named` are ids, or how they begin. ``InputError`` for a state, or without `states` for a run, that cannot
    be retried: what is done or may still run is never started again.
    """
    for state in states:
        if state not in RETRIABLE:
            raise InputError(
                f"cannot retry runs that are {state.value!r}; --state takes {_listed(RETRIABLE)}"
            )
    if not named:
        return states or USUAL, None
    found = _states(study, sweep, named)
    if not states:
        _check(found, RETRIABLE, "retry")
    return states or RETRIABLE, list(found)


def runs_to_cancel(study: Study, sweep: str, named: Sequence[str]) -> list[str] | None:
    """The runs to cancel; None for all of the sweep. ``InputError`` for one that neither waits nor runs."""
    if not named:
        return None
    found = _states(study, sweep, named)
    _check(found, CANCELLABLE, "cancel")
    return list(found)


def _states(study: Study, sweep: str, named: Sequence[str]) -> dict[str, State]:
    """Run id -> state of the runs that are named."""
    rows = collect_sweep(study.db, sweep)
    states = {run.run_id: run.state for run in rows.runs}
    return {(run_id := find_run(rows, prefix)): states[run_id] for prefix in named}


def _check(found: dict[str, State], allowed: Collection[State], verb: str) -> None:
    for run_id, state in found.items():
        if state not in allowed:
            raise InputError(
                f"cannot {verb} the run {run_id}, which is {state}; it can be if it is {_listed(allowed)}"
            )


def _listed(states: Collection[State]) -> str:
    *others, last = sorted(states)
    return f"{', '.join(others)} or {last}"
