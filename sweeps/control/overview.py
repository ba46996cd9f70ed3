"""The state of a sweep's runs, and which of them went wrong."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sweeps.folders.paths import Study
from sweeps.runs.logs import last_metrics
from sweeps.runs.states import FINISHED, RETRIABLE, State
from sweeps.slurm import scheduler
from sweeps.slurm.arrays import Submissions
from sweeps.store.rows import RunRow, SweepRows


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """A run, with its progress if it has not ended."""

    row: RunRow
    predicted_loss: float | None
    step: int | None
    """The last logged step of a running run."""
    job: str | None
    """The SLURM job to which it was submitted."""

    def to_dict(self) -> dict[str, Any]:
        """The keys of `status --json`."""
        shown = ("run_id", "state", "val_loss", "reason", "model", "flops", "mean_recurrence", "tokens")
        return {
            **{name: getattr(self.row, name) for name in (*shown, "steps", "seed")},
            "predicted_loss": self.predicted_loss,
            "step": self.step,
            "job": self.job,
            "verified": is_verified(self.row),
        }


def overview(study: Study, sweep: SweepRows) -> list[RunOverview]:
    """Every run of the sweep, in the order planned."""
    submissions = Submissions(study, [])
    runs = []
    for row in sweep.runs:
        folder = study.run(row.run_id)
        metrics = last_metrics(folder) if row.state is State.RUNNING else None
        handed_over = None if row.state in FINISHED | {State.PLANNED} else submissions.job(folder)
        runs.append(
            RunOverview(
                row=row,
                predicted_loss=sweep.predicted.get(row.run_id),
                step=metrics.step if metrics else None,
                job=handed_over[1] if handed_over else None,
            )
        )
    return runs


def is_verified(run: RunRow) -> bool | None:
    """Whether the run's result was confirmed by a checksum; None without a result."""
    return '"run_id": "' in run.result if run.result else None


def unverified(sweep: SweepRows) -> list[RunRow]:
    """Finished runs whose results are from before checksums: nothing contradicts them."""
    return [run for run in sweep.runs if is_verified(run) is False]


def counts(sweep: SweepRows) -> dict[str, int]:
    """Name of a state -> number of runs in it."""
    return dict(sorted(Counter(run.state.value for run in sweep.runs).items()))


def went_wrong(sweep: SweepRows) -> list[RunRow]:
    """The runs that failed, diverged, timed out, were cancelled or are unknown."""
    return [run for run in sweep.runs if run.state in RETRIABLE | {State.DIVERGED}]


def slurm_was_asked(study: Study) -> str | None:
    """A sentence on the age of SLURM's last answer; None if it was never asked."""
    answer = scheduler.remembered(study)
    if answer is scheduler.NEVER_ASKED:
        return None
    age = f"{max(0.0, time.time() - answer.asked_at):.0f} s ago"
    return f"SLURM did not answer {age}" if answer.is_silent else f"SLURM was last asked {age}"
