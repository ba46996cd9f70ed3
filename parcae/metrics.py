"""metrics.jsonl: one line a logged step, appended and flushed."""

import json
import os
from pathlib import Path

FILE_NAME = "metrics.jsonl"
LINES_A_RUN = 200


def log_interval(steps: int) -> int:
    """Steps between two lines, so that a run folder stays small however long the run."""
    return max(1, steps // LINES_A_RUN)


class MetricsLog:
    """Appends to the folder's metrics, after cutting off what a resumed run is about to repeat."""

    def __init__(self, folder: Path, keep_bytes: int) -> None:
        self._file = (folder / FILE_NAME).open("ab")
        self._file.truncate(keep_bytes)

    def append(self, line: dict[str, float | int | None]) -> None:
        """Adds one line; a number that is not finite is written as null."""
        self._file.write((json.dumps(line, allow_nan=False) + "\n").encode())
        self._file.flush()

    def sync(self) -> int:
        """Flushes to the disk; returns the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        self._file.close()
