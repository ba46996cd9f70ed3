"""What a pipe sees of a sweep: a line for each change of state."""

import sys

from sweeps.runs.states import FINISHED, State
from sweeps.store.rows import RunRow, SweepRows


def label(run: RunRow) -> str:
    """A short description of a run."""
    return f"{run.model} {run.flops:.3g} FLOPs, recurrence {run.mean_recurrence:g}"


class Lines:
    """Nothing of the runs that are only queued when the watch begins."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}

    def __enter__(self) -> "Lines":
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
