"""Chooses the runs that `retry` restarts and that `cancel` cancels."""

from collections.abc import Collection, Sequence

from parcae.errors import InputError
from sweeps.control.find import find_run
from sweeps.folders.paths import Study
from sweeps.runs.states import ACTIVE, RETRIABLE, State
from sweeps.store.collect import collect_sweep

USUAL = frozenset({State.FAILED, State.TIMED_OUT})
"""The states that are retried if neither runs nor states are named."""
CANCELLABLE = ACTIVE | {State.UNKNOWN}


def runs_to_retry(
    study: Study, sweep: str, named: Sequence[str], states: Collection[State]
) -> tuple[Collection[State], list[str] | None]:
    """The states of the runs to restart, and their ids; None for all runs of the sweep.

    `named` are run ids or their first digits. ``InputError`` for a state that cannot be retried and, without
    `states`, for a run in one: runs that are finished or may still be running are never restarted.
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
    """The runs to cancel; None for all runs of the sweep. ``InputError`` for one that is not active."""
    if not named:
        return None
    found = _states(study, sweep, named)
    _check(found, CANCELLABLE, "cancel")
    return list(found)


def _states(study: Study, sweep: str, named: Sequence[str]) -> dict[str, State]:
    """Run id -> state of the named runs."""
    rows = collect_sweep(study.db, sweep)
    states = {run.run_id: run.state for run in rows.runs}
    return {(run_id := find_run(rows, prefix)): states[run_id] for prefix in named}


def _check(found: dict[str, State], allowed: Collection[State], verb: str) -> None:
    for run_id, state in found.items():
        if state not in allowed:
            raise InputError(
                f"cannot {verb} the run {run_id}, which is {state}; it must be {_listed(allowed)}"
            )


def _listed(states: Collection[State]) -> str:
    *others, last = sorted(states)
    return f"{', '.join(others)} or {last}"
