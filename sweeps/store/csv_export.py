"""A sweep's losses as CSV, in the columns that `sweeps.store.importing` reads."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

from parcae.errors import InputError
from parcae.files import write_atomically
from sweeps.store.rows import SweepRows

_COLUMNS = (
    *("run_id", "model", "flops", "convention", "mean_recurrence", "tokens", "seed"),
    *("parameters", "once_parameters", "recurrent_parameters", "test_recurrence", "val_loss"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(sweep: SweepRows, path: Path) -> int:
    """Writes one line per finished run and test recurrence; returns the number of lines.

    A run whose loss is known only at its mean recurrence has one line, with test_recurrence empty. Columns
    without any value are left out; those of an imported file that no fit uses are kept.
    """
    at: dict[str, list[dict[str, Any]]] = {}
    for loss in sweep.losses:
        at.setdefault(loss.run_id, []).append(
            {"test_recurrence": loss.test_recurrence, "val_loss": loss.loss}
        )
    lines = [
        {name: _as_text(value) for name, value in json.loads(run.extra or "{}").items()}
        | {name: _as_text(getattr(run, name, None)) for name in _COLUMNS}
        | loss
        for run in sweep.runs
        if run.val_loss is not None
        for loss in at.get(run.run_id, [{}])
    ]
    if not lines:
        raise InputError(f"the sweep {sweep.name!r} has no finished run to export; see `parcae-sweep status`")
    text = StringIO()
    known = [name for name in _COLUMNS if any(line[name] is not None for line in lines)]
    known += dict.fromkeys(name for line in lines for name in line if name not in _COLUMNS)
    writer = csv.DictWriter(text, known, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_atomically(path, text.getvalue().encode())
    return len(lines)


def _as_text(value: Any) -> Any:
    """`value`, or a text that no spreadsheet takes for a formula; numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
