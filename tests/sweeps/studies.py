"""Planned studies on disk, and what a finished run leaves in its folder."""

import json
from typing import Any

from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import Text, isoflop_grid
from sweeps.plan.manifest import plan_sweep

TEXT = {"text": Text("text", "0", "bytes", "0")}


def plan(study: Study, name: str = "s", budgets: tuple[float, ...] = (1e10, 2e10)) -> list[RunSpec]:
    """Four runs of nano at recurrences 1 and 4."""
    specs = isoflop_grid("nano", budgets, [1, 4], **TEXT)
    plan_sweep(study, name, specs, [None] * len(specs))
    return specs


def finish(study: Study, spec: RunSpec, loss: float = 2.0, **changes: Any) -> None:
    """Writes the files that a finished run leaves."""
    folder = study.run(spec.run_id)
    folder.path.mkdir(exist_ok=True)
    folder.spec.write_text(spec.json)
    result = {
        "status": "done",
        "steps": spec.training.steps,
        "tokens": spec.tokens,
        "val_loss": loss,
        "losses": {str(spec.training.mean_recurrence): loss, "24": loss - 0.01},
        "validation_sequences": 8,
        "parameters": spec.parameters,
        "diverged_at": None,
        "injection_norm": 0.5,
        "seconds": 1.0,
        "tokens_per_second": 1e3,
        "environment": {},
        **changes,
    }
    result = {key: value for key, value in result.items() if value is not ...}
    folder.metrics.write_text('{"step": 1, "loss": 5.0}\n{"step": 2, "loss": 4.0}\n{"step": 3, "lo')
    folder.result.write_text(json.dumps(result))
