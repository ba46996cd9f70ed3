"""metrics.jsonl and layers.jsonl: one line per logged step, appended and flushed."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINES_PER_RUN = 200


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """A line of metrics.jsonl. None: not finite, or not measured for this model or by an early version."""

    step: int
    """Steps completed."""
    tokens: int | None = None
    loss: float | None = None
    """Training loss, nats per token."""
    learning_rate: float | None = None
    gradient_norm: float | None = None
    """Before clipping."""
    state_norm: float | None = None
    """Root mean square of h_T."""
    recurrent_residual: float | None = None
    injection_norm: float | None = None
    input_norm: float | None = None
    readout_norm: float | None = None
    loss_spikes: int | None = None
    """Spikes since the run began."""
    gradient_spikes: int | None = None
    seconds: float | None = None
    """Training wall time."""


def log_interval(steps: int) -> int:
    """Steps between two lines: the run folder of a long run stays small, too."""
    return max(1, steps // LINES_PER_RUN)


class JsonLines:
    """Appends to a file of lines, one per logged `step`."""

    def __init__(self, path: Path, steps: int) -> None:
        """Opens the log of a run of which `steps` steps are done, and cuts off lines of later steps.
        Earlier lines are kept, complete or not."""
        kept, self.last_step = _leading(path, steps)
        self._file = path.open("ab")
        self._file.truncate(kept)

    def append(self, line: dict[str, Any]) -> None:
        """Adds one line. All numbers in it must be finite."""
        self._file.write((json.dumps(line, allow_nan=False) + "\n").encode())
        self._file.flush()

    def sync(self) -> None:
        """Flushes the appended lines to the disk. Another thread may call it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _leading(path: Path, steps: int) -> tuple[int, int]:
    """Bytes of the complete lines before the first of a later step than `steps`, and their last step or 0."""
    kept = last = 0
    if steps and path.exists():
        with path.open("rb") as file:
            for line in file:
                step = _step(line)
                if not line.endswith(b"\n") or step > steps:
                    break
                kept, last = kept + len(line), max(last, step)
    return kept, last


def _step(line: bytes) -> int:
    """The step of a line; 0 if it is damaged: the lines after it are still good."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return 0
    step = values.get("step") if isinstance(values, dict) else None
    return step if isinstance(step, int) else 0
