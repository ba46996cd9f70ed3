"""The logs of a run's workers, in its folder or beside submitit's files, and its newest metrics."""

import json
import re
from itertools import count, takewhile
from pathlib import Path

from parcae.records import from_plain
from parcae.training.metrics import Metrics
from sweeps.folders.paths import RunFolder

_TAIL_BYTES = 65_536
_OUT_OF_MEMORY = re.compile(r"exceeded .*memory limit|oom[-_ ]kill|out of memory", re.IGNORECASE)
"""slurmstepd's messages, for when SLURM itself only reports that the job failed."""


def job_logs(slurm: Path, job: str) -> list[Path]:
    """The logs of a job's tasks in submitit's folder, by rank."""
    ranks = (slurm / f"{job}_{rank}_log.out" for rank in count())  # a folder too large to list
    return list(takewhile(Path.exists, ranks))


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a text file."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def tells_of_memory(logs: list[Path]) -> bool:
    """Whether one of the logs ends with a message of SLURM that the job used too much memory."""
    return any(_OUT_OF_MEMORY.search(line) for path in logs for line in tail(path, 30))


def last_metrics(folder: RunFolder) -> Metrics | None:
    """The newest complete line of a run's metrics; None if there is none yet."""
    try:
        lines = tail(folder.metrics, 2)
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            return from_plain(Metrics, json.loads(line), str(folder.metrics), more_keys=True)
        except ValueError:  # an incomplete line: it is being written
            continue
    return None
