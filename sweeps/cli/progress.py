"""Showing a sweep while it runs: bars on a terminal, a line for each change of state in a pipe."""

import sys
import time
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sweeps.folders.paths import Study
from sweeps.runs.logs import last_metrics
from sweeps.runs.states import ACTIVE, FINISHED, State, Status, establish
from sweeps.slurm.arrays import Submissions
from sweeps.store.collect import collect_sweep
from sweeps.store.rows import RunRow, SweepRows

POLL_SECONDS = 0.5


def watch(study: Study, sweep: str, keep_alive: Callable[[], None]) -> SweepRows:
    """Shows the sweep until none of its runs is queued or running. `keep_alive` is called at every poll.

    While SLURM does not answer, the state of a run may be unknown: such runs are waited for.
    """
    console = Console(file=sys.stderr)
    show = _Bars(study, console) if console.is_terminal else _Lines()
    rows, before, was_silent = collect_sweep(study.db, sweep), None, False
    with show:
        while True:
            started = time.monotonic()
            keep_alive()
            now, silent = _look(study, rows)
            if now != before:  # polling files is cheap, updating the database is not
                rows, before = collect_sweep(study.db, sweep), now
            show.update(rows)
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


def label(run: RunRow) -> str:
    """A short description of a run."""
    return f"{run.model} {run.flops:.3g} FLOPs, recurrence {run.mean_recurrence:g}"


class _Lines:
    def __init__(self) -> None:
        self.states: dict[str, State] = {}

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, sweep: SweepRows) -> None:
        total, first = len(sweep.runs), not self.states
        finished = sum(run.state in FINISHED for run in sweep.runs)
        for run in sweep.runs:
            if self.states.get(run.run_id) is run.state:
                continue
            self.states[run.run_id] = run.state
            if not first or run.state is State.RUNNING:
                loss = f", loss {run.val_loss:.4f}" if run.state is State.DONE else ""
                print(f"{finished}/{total}  {run.run_id}  {label(run)}: {run.state}{loss}", file=sys.stderr)


class _Bars:
    def __init__(self, study: Study, console: Console) -> None:
        self.study = study
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self.whole = self.progress.add_task("sweep", total=None, note="")
        self.bars: dict[str, TaskID] = {}

    def __enter__(self) -> "_Bars":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def update(self, sweep: SweepRows) -> None:
        counts = Counter(run.state for run in sweep.runs)
        words = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
        finished = sum(counts[state] for state in FINISHED)
        self.progress.update(self.whole, total=len(sweep.runs), completed=finished, note=words)
        running = {run.run_id: run for run in sweep.runs if run.state is State.RUNNING}
        for run_id in self.bars.keys() - running.keys():
            self.progress.remove_task(self.bars.pop(run_id))
        for run_id, run in running.items():
            if run_id not in self.bars:
                self.bars[run_id] = self.progress.add_task(label(run), total=run.steps, note="")
            metrics = last_metrics(self.study.run(run_id))
            if metrics:
                note = f"loss {metrics.loss:.4f}" if metrics.loss is not None else ""
                self.progress.update(self.bars[run_id], completed=metrics.step, note=note)
