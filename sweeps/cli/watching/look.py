"""Looking at a sweep again and again, until none of its runs is queued or running."""

import sys
import time
from collections.abc import Callable

from rich.console import Console

from sweeps.cli.watching.dashboard import Dashboard
from sweeps.cli.watching.lines import Lines
from sweeps.folders.paths import Study
from sweeps.runs.states import ACTIVE, FINISHED, State, Status, establish
from sweeps.slurm.arrays import Submissions
from sweeps.store.collect import collect_sweep
from sweeps.store.rows import SweepRows

POLL_SECONDS = 0.5


def watch(study: Study, sweep: str, keep_alive: Callable[[], None]) -> SweepRows:
    """Shows the sweep until none of its runs is queued or running. `keep_alive` is called at every poll.

    While SLURM does not answer, the state of a run may be unknown: such runs are waited for.
    """
    console = Console(file=sys.stderr)
    show = Dashboard(study, console) if console.is_terminal else Lines()
    rows, before, was_silent = collect_sweep(study.db, sweep), None, False
    said: set[str] = set()
    with show:
        while True:
            started = time.monotonic()
            keep_alive()
            now, silent = _look(study, rows)
            if now != before:  # polling files is cheap, updating the database is not
                rows, before = collect_sweep(study.db, sweep), now
            show.update(rows)
            for reason in {run.reason for run in rows.runs if run.state in ACTIVE and run.reason} - said:
                console.print(f"waiting: {reason}", style="dim", highlight=False, soft_wrap=True)
                said.add(reason)
            if silent and not was_silent:
                console.print("SLURM does not answer; waiting for it", style="dim")
            was_silent = silent
            waited_for = ACTIVE | {State.UNKNOWN} if silent else ACTIVE
            if not any(run.state in waited_for for run in rows.runs):
                return rows
            time.sleep(max(POLL_SECONDS, 4 * (time.monotonic() - started)))


def _look(study: Study, sweep: SweepRows) -> tuple[dict[str, Status], bool]:
    """The state of every run that has no result, and whether SLURM was needed but did not answer."""
    unfinished = [run.run_id for run in sweep.runs if run.state not in FINISHED]
    submissions = Submissions(study, unfinished)
    states = {run_id: establish(study, study.run(run_id), submissions) for run_id in unfinished}
    return states, submissions.answer is not None and submissions.answer.is_silent
