"""A sweep's rows as data frames, which only the fits need."""

from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd

from analysis.published import published_sweep
from sweeps.store.rows import LossRow, RunRow, SweepRows

COLUMNS = [field.name for field in fields(RunRow)]


def frames(sweep: SweepRows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, losses): a row for each run, as RunRow has it, and a row for each run and test recurrence."""
    losses = pd.DataFrame(
        [asdict(row) for row in sweep.losses], columns=[field.name for field in fields(LossRow)]
    )
    return runs_frame(sweep.runs), losses


def runs_frame(runs: Sequence[RunRow]) -> pd.DataFrame:
    """A row for each run; what is unknown is missing."""
    return pd.DataFrame([[getattr(run, name) for name in COLUMNS] for run in runs], columns=COLUMNS)


def published_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, losses) of the published study."""
    return frames(published_sweep())
