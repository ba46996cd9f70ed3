"""What runs wrote while they trained, as the database holds it."""

from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.store.database import open_store

if TYPE_CHECKING:
    import pandas as pd

STEPS_SHOWN = 200
"""Steps of a run that are read, at even distances: more than a figure can show."""


def read_telemetry(db: Path, sweep: str) -> "pd.DataFrame":
    """run_id, step, tokens, loss, state_norm and injection_norm (spectral norm of Abar) of a sweep's runs.

    About ``STEPS_SHOWN`` rows a run, the first and last among them, in order of step.
    """
    with open_store(db) as connection:
        return connection.execute(
            """SELECT run_id, step, metrics.tokens, loss, state_norm, injection_norm
               FROM metrics JOIN sweep_runs USING (run_id) WHERE sweep = $1
               QUALIFY (row_number() OVER (PARTITION BY run_id ORDER BY step) - 1)
                           % greatest(1, count(*) OVER (PARTITION BY run_id) // $2) = 0
                       OR step = max(step) OVER (PARTITION BY run_id)
               ORDER BY position, step""",
            [sweep, STEPS_SHOWN],
        ).df()
