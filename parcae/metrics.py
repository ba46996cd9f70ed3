"""metrics.jsonl, and layers.jsonl beside it: one line a logged step, appended and flushed."""

import json
import os
from pathlib import Path
from typing import Any

FILE_NAME = "metrics.jsonl"
LAYERS_FILE_NAME = "layers.jsonl"
LINES_A_RUN = 200


def log_interval(steps: int) -> int:
    """Steps between two lines, so that a run folder stays small however long the run."""
    return max(1, steps // LINES_A_RUN)


class JsonLines:
    """Appends to a file of lines, after cutting off what a resumed run is about to repeat."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        self._file = path.open("ab")
        self._file.truncate(min(keep_bytes, self.bytes))

    @property
    def bytes(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def append(self, line: dict[str, Any]) -> None:
        """Adds one line. No number in it may be other than finite."""
        self._file.write((json.dumps(line, allow_nan=False) + "\n").encode())
        self._file.flush()

    def sync(self) -> int:
        """Flushes to the disk; returns the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.bytes

    def close(self) -> None:
        self._file.close()
