"""What became of a sweep's runs: their states, what they cost, and how they trained."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.frames import runs_frame
from analysis.data.points import Study
from sweeps.folders.paths import PUBLISHED
from sweeps.store.database import read_telemetry
from sweeps.store.rows import SweepRows

COLUMNS = (
    *("run_id", "model", "state", "reason", "flops", "realised_flops", "mean_recurrence", "tokens"),
    *("val_loss", "learning_rate", "injection", "seconds", "diverged_at"),
)
TELEMETRY = ("run_id", "step", "tokens", "loss", "state_norm", "injection_norm")


def _no_telemetry() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=object if name == "run_id" else float) for name in TELEMETRY})


@dataclass(frozen=True, kw_only=True, eq=False)
class Records:
    runs: pd.DataFrame
    """A row a run, with COLUMNS: seconds of training and the step it diverged at among them; NaN where
    nothing is known."""
    telemetry: pd.DataFrame = field(default_factory=_no_telemetry)
    """run_id, step, tokens, loss, state_norm, injection_norm (the spectral norm of Abar)."""
    last_result: str = ""
    """The day of the last result; empty where it is not known."""

    @property
    def states(self) -> dict[str, int]:
        """How many runs are in each state, the commonest first."""
        return {str(state): int(count) for state, count in self.runs["state"].value_counts().items()}

    def where(self, *states: str) -> pd.DataFrame:
        return self.runs[self.runs["state"].isin(states)]


def records_of(rows: SweepRows, db: Path | None) -> Records:
    """The records of a sweep's rows; telemetry comes from the database, unless the sweep is built in."""
    runs = runs_frame(rows.runs)
    for column in ("flops", "realised_flops", "mean_recurrence", "tokens", "val_loss"):
        runs[column] = pd.to_numeric(runs[column], errors="coerce").astype(float)
    specs, results = (runs[name].map(_plain) for name in ("spec", "result"))
    runs["learning_rate"] = [s.get("training", {}).get("learning_rate", np.nan) for s in specs]
    runs["injection"] = [s.get("model", {}).get("injection", "") for s in specs]
    runs["seconds"] = [result.get("seconds", np.nan) for result in results]
    runs["diverged_at"] = [(result.get("diverged_at") or {}).get("step", np.nan) for result in results]
    planned = db is not None and rows.name != PUBLISHED and rows.kind == "planned"
    return Records(
        runs=runs,
        telemetry=read_telemetry(db, rows.name) if planned and db else _no_telemetry(),
        last_result=_last_day(runs["signature"]),
    )


def records_of_study(study: Study) -> Records:
    """What a study alone tells: its runs are done, and how they trained is not known."""
    rows = [
        {
            "run_id": run_id,
            "model": name,
            "state": "done",
            "flops": points.flops[i],
            "val_loss": points.loss[i],
        }
        | {"mean_recurrence": points.mean_recurrence[i], "tokens": points.tokens[i]}
        for name, points in study.models.items()
        for i, run_id in enumerate(points.run_ids)
    ]
    return Records(runs=pd.DataFrame(rows, columns=list(COLUMNS)))


def _plain(text: object) -> dict[str, Any]:
    return json.loads(text) if isinstance(text, str) else {}


def _last_day(signatures: "pd.Series[str]") -> str:
    """Of the results that signatures (`nanoseconds:bytes` of result.json) tell of."""
    times = [int(s.partition(":")[0]) for s in signatures.dropna().astype(str) if s[:1].isdigit()]
    return datetime.fromtimestamp(max(times) / 1e9, tz=UTC).strftime("%-d %B %Y") if times else ""
