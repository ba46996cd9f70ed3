"""Watching a sweep until none of its runs is queued or running."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from parcae.errors import WorkFailed
from sweeps.cli import console

if TYPE_CHECKING:
    from sweeps.folders.paths import Study
    from sweeps.store.rows import SweepRows

SECOND_CTRL_C_SECONDS = 3.0


def watch_sweep(study: "Study", name: str, keep_alive: Callable[[], None]) -> None:
    from sweeps.cli.watching.look import watch
    from sweeps.control.launch import cancel
    from sweeps.runs.states import FINISHED

    try:
        rows = watch(study, name, keep_alive)
    except KeyboardInterrupt:
        try:
            console.note(
                "stopped watching; the runs go on (`parcae-sweep watch` shows them, `parcae-sweep cancel` "
                f"stops them, and so does a second Ctrl-C within {SECOND_CTRL_C_SECONDS:.0f} s)"
            )
            time.sleep(SECOND_CTRL_C_SECONDS)
        except KeyboardInterrupt:
            stopped = cancel(study, name, None)
            how = "`parcae-sweep retry --state cancelled` resumes them"
            console.note(f"{len(stopped)} runs cancelled; {how}")
        raise
    print_counts(rows)
    unfinished = [run for run in rows.runs if run.state not in FINISHED]
    if unfinished:
        first = unfinished[0]
        reason = f": {first.reason}" if first.reason else ""
        how_many = f"{len(unfinished)} of {len(rows.runs)} runs are not done"
        raise WorkFailed(f"{how_many}; {first.run_id} is {first.state}{reason}")


def print_counts(sweep: "SweepRows") -> None:
    from sweeps.control.overview import counts, unverified

    for sentence in sweep.damage:
        console.note(sentence)
    if count := len(unverified(sweep)):
        console.note(f"{count} results are from before checksums: they are consistent, but unverified")

    words = ", ".join(f"{count} {state}" for state, count in counts(sweep).items())
    console.note(f"sweep {sweep.name}: {words}")
