"""Checkpoints of a run, from which it resumes to the bit. The last two are kept.

A checkpoint is one file, `checkpoint/step-<steps completed>.pt`, read as weights only: never as code.
"""

import sys
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from parcae.files import replacing
from parcae.metrics import FILE_NAME

FORMAT = 3
KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a run needs to go on. Its step is data cursor and random state in one."""

    format: int = FORMAT
    identity: str
    """Names model, training and corpus: a checkpoint of another run is foreign."""
    step: int
    """Steps completed."""
    model: dict[str, Any]
    optimisers: list[dict[str, Any]]
    metrics_bytes: int
    """Length of metrics.jsonl when this was written."""
    layers_bytes: int
    """Length of layers.jsonl; 0 where there is none."""
    spikes: list[list[float]]
    """What the counters of spikes in loss and gradient know."""
    threads: int
    """CPU threads of the run: another number would sum in another order."""
    seconds: float
    """Training wall time so far."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint` under the run folder `folder` and removes all but the last two."""
    place = folder / "checkpoint"
    place.mkdir(exist_ok=True)
    with replacing(place / f"step-{checkpoint.step:09d}.pt") as file:
        torch.save(asdict(checkpoint), file)
    for old in newest_first(folder)[KEPT:]:
        old.unlink()


def load_checkpoint(folder: Path, identity: str) -> Checkpoint | None:
    """The newest checkpoint that is whole and this run's own, on the CPU; None where there is none.

    One that is refused is named on stderr, in a sentence, and the one before it is tried.
    """
    for path in newest_first(folder):
        try:
            return _read(path, identity, folder / FILE_NAME)
        except _Refused as refusal:
            print(f"checkpoint {path} is refused: {refusal}", file=sys.stderr)
    return None


class _Refused(Exception):
    """Why a checkpoint cannot be used."""


def _read(path: Path, identity: str, metrics: Path) -> Checkpoint:
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes check sums but does not read them
            damaged = archive.testzip()
        values = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises at least five types for what is not its file
        raise _Refused(f"it is truncated or no checkpoint ({type(error).__name__})") from error
    if damaged:
        raise _Refused(f"its part {damaged} is damaged")
    if not isinstance(values, dict) or values.keys() != {field.name for field in fields(Checkpoint)}:
        raise _Refused("it is not a checkpoint of this program")
    checkpoint = Checkpoint(**values)
    if checkpoint.format != FORMAT:
        raise _Refused(f"its format is {checkpoint.format}, not {FORMAT}")
    if checkpoint.identity != identity:
        raise _Refused("it belongs to a run with another model, training or corpus")
    length = metrics.stat().st_size if metrics.exists() else 0
    if length < checkpoint.metrics_bytes:
        raise _Refused(f"it expects {checkpoint.metrics_bytes} bytes of metrics and there are {length}")
    return checkpoint


def newest_first(folder: Path) -> list[Path]:
    """The files of the checkpoints under a run folder."""
    return sorted((folder / "checkpoint").glob("step-*.pt"), reverse=True)
