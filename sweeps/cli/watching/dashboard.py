"""What a terminal shows of a sweep: bars with losses, speed and time left, curves, and what failed."""

import time
from collections import Counter

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from sweeps.cli.watching.curves import curves
from sweeps.folders.paths import Study
from sweeps.runs.logs import last_metrics
from sweeps.runs.states import FINISHED, State
from sweeps.store.rows import RunRow, SweepRows

SETTLED_SECONDS = 5.0
"""A pace measured over less is no guide to the time left."""
TALLEST = 16
"""Lines of the curves."""
MOST_FAILURES = 3


class Dashboard:
    """Fits the terminal at every look: bars first, then what failed, then curves where there is room."""

    def __init__(self, study: Study, console: Console) -> None:
        self.study, self.console = study, console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self.live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self.whole = self.progress.add_task("sweep", total=None, note="")
        self.bars: dict[str, TaskID] = {}
        self.began = time.monotonic()
        self.spent_before: float | None = None
        self.shares: dict[str, float] = {}
        """How much of each running run is trained."""

    def __enter__(self) -> "Dashboard":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def update(self, sweep: SweepRows) -> None:
        self._runs(sweep)
        self._whole(sweep)
        self.live.update(self._shown(sweep), refresh=True)

    def _runs(self, sweep: SweepRows) -> None:
        running = {run.run_id: run for run in sweep.runs if run.state is State.RUNNING}
        several = len({run.model for run in sweep.runs}) > 1
        for run_id in self.bars.keys() - running.keys():
            self.progress.remove_task(self.bars.pop(run_id))
        self.shares.clear()
        room = max(self.console.height - 4, 1)
        for position, (run_id, run) in enumerate(running.items()):
            metrics = last_metrics(self.study.run(run_id))
            if metrics and run.steps:
                self.shares[run_id] = metrics.step / run.steps
            if run_id not in self.bars:
                words = f"{run.model} " * several + f"{run.flops:.3g}, recurrence {run.mean_recurrence:g}"
                self.bars[run_id] = self.progress.add_task(words, total=run.steps, note="")
            bar = self.bars[run_id]
            self.progress.update(bar, visible=position < room)
            if metrics is None:
                continue
            notes = [f"loss {metrics.loss:.4f}"] if metrics.loss is not None else []
            if metrics.seconds and metrics.tokens:
                pace = metrics.tokens / metrics.seconds
                notes.append(f"{_short(pace)} tokens/s")
                if run.tokens:
                    notes.insert(0, f"{_clock((run.tokens - metrics.tokens) / pace)} left")
            self.progress.update(bar, completed=metrics.step, note=", ".join(notes))

    def _whole(self, sweep: SweepRows) -> None:
        counts = Counter(run.state for run in sweep.runs)
        words = [f"{n} {state}" for state, n in sorted(counts.items())]
        spent = sum(self._spent(run) for run in sweep.runs)
        total = sum(run.flops or 0.0 for run in sweep.runs)
        if self.spent_before is None:
            self.began, self.spent_before = time.monotonic(), spent
        elapsed, gained = time.monotonic() - self.began, spent - self.spent_before
        if elapsed > SETTLED_SECONDS and gained > 0 and spent < total:
            words.insert(0, f"{_clock((total - spent) * elapsed / gained)} left")
        self.progress.update(self.whole, total=total or 1.0, completed=spent, note=", ".join(words))

    def _spent(self, run: RunRow) -> float:
        share = 1.0 if run.state in FINISHED else self.shares.get(run.run_id, 0.0)
        return share * (run.flops or 0.0)

    def _shown(self, sweep: SweepRows) -> RenderableType:
        width, height = self.console.size
        shown: list[RenderableType] = [self.progress]
        used = 1 + sum(task.visible for task in self.progress.tasks)
        failed = [run for run in sweep.runs if run.state in (State.FAILED, State.DIVERGED, State.TIMED_OUT)]
        for run in failed[-MOST_FAILURES:]:
            words = f"{run.run_id} {run.state}: {run.reason or 'no reason recorded'}"
            shown.append(Text(words, style="red", no_wrap=True, overflow="ellipsis"))
            used += 1
        shown += [Text(line, no_wrap=True) for line in curves(sweep.runs, width, min(height - used, TALLEST))]
        return Group(*shown)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _clock(seconds: float) -> str:
    """1:02:03, or 2 d 3 h where it takes days."""
    hours, rest = divmod(round(max(seconds, 0.0)), 3600)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
