"""Checkpoints of a run, from which it resumes to the bit. The last two are kept.

A checkpoint is one file, `checkpoint/step-<steps completed>.pt`, read as weights only: never as code.
One that cannot be used is set aside as `step-<steps completed>.pt.refused`, never deleted.
"""

import errno
import os
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parcae.errors import InputError
from parcae.files import clear_leftovers, replacing, set_aside
from parcae.training.distributed import Processes
from parcae.training.folder import CHECKPOINTS

FORMAT = 4
KEPT = 2
_DROPPED = {3: {"metrics_bytes", "layers_bytes"}}
"""Keys of older formats that this one no longer has; the older formats are still read."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything that a run needs to continue. The step determines the next data and random numbers."""

    format: int = FORMAT
    identity: str
    """Hash of model, training and corpus: a checkpoint of another run is refused."""
    step: int
    """Steps completed. Lines of later steps in the run's logs are cut off when it resumes."""
    model: dict[str, Any]
    optimisers: list[dict[str, Any]]
    spikes: list[list[float]]
    """States of the counters of spikes in loss and gradient."""
    threads: int
    """CPU threads of the run: with another number, sums would be taken in another order."""
    seconds: float
    """Training wall time so far."""


def map_tensors(values: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """`values` with `change` applied to each tensor in its dictionaries and lists, in their order."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, dict):
        return {key: map_tensors(value, change) for key, value in values.items()}
    if isinstance(values, list):
        return [map_tensors(value, change) for value in values]
    return values


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint` under the run folder `folder`. It and the newest other one are kept."""
    place = folder / CHECKPOINTS
    place.mkdir(exist_ok=True)
    path = place / f"step-{checkpoint.step:09d}.pt"
    with replacing(path) as file:  # no `asdict`: it would copy every tensor once more
        torch.save({field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}, file)
    others = [other for other in newest_first(folder) if other != path]
    for old in others[KEPT - 1 :]:
        old.unlink()


def resume(folder: Path, identity: str, processes: Processes) -> Checkpoint | None:
    """The newest complete checkpoint of this run in `folder`, or None if it never had one.

    ``InputError`` if it had some and none can be used: to begin again at step 0 is for the user to decide.

    The first process chooses it, and each process reads the file. The tensors are memory-mapped: copy those
    that are kept, because the file may be deleted during training.
    """
    chosen = processes.from_first(_choose(folder, identity) if processes.is_first else None)
    return None if chosen is None else _read(folder / CHECKPOINTS / chosen, identity)


def newest_first(folder: Path) -> list[Path]:
    """The files of the checkpoints under a run folder."""
    return sorted((path for path in _files(folder) if path.match("step-*.pt")), reverse=True)


def step_of(path: Path) -> int:
    """Steps completed at a checkpoint, by its name."""
    return int(path.stem.removeprefix("step-"))


def _files(folder: Path) -> list[Path]:
    """All files of checkpoints. A glob would hide errors of the disk."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / CHECKPOINTS) as entries:
        return [Path(entry.path) for entry in entries if entry.is_file()]
    return []


class _Refused(InputError):
    """Why a checkpoint cannot be used."""


def _choose(folder: Path, identity: str) -> str | None:
    """The name of the newest usable checkpoint; others are set aside, each with a sentence on stderr."""
    clear_leftovers(folder / CHECKPOINTS / "step-*.pt")
    for path in newest_first(folder):
        try:
            _check_sums(path)
            _read(path, identity)
            return path.name
        except _Refused as refusal:
            aside = set_aside(path)
            print(f"checkpoint {path} is refused and set aside as {aside.name}: {refusal}", file=sys.stderr)
    if refused := sum(".pt.refused" in path.name for path in _files(folder)):
        raise InputError(
            f"none of the {refused} checkpoints in {folder / CHECKPOINTS} can be used, as its log says; "
            "move that folder away to begin again at step 0"
        )
    return None


def _check_sums(path: Path) -> None:
    """Reads the whole file in small parts: torch writes check sums but does not verify them."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:
        _raise_unless_damage(error)
        raise _Refused(f"it is truncated or not a checkpoint ({type(error).__name__})") from error
    if damaged:
        raise _Refused(f"its part {damaged} is damaged")


def _read(path: Path, identity: str) -> Checkpoint:
    try:
        values = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(
            f"the checkpoint {path} does not exist here; all processes of a run need the same folder"
        ) from error
    except Exception as error:  # torch raises at least five types for a file that is not its own
        _raise_unless_damage(error)
        raise _Refused(f"it is not a checkpoint of this program ({type(error).__name__})") from error
    names = {field.name for field in fields(Checkpoint)}
    written_as = values.get("format") if isinstance(values, dict) else None
    if not isinstance(written_as, int):
        raise _Refused("it is not a checkpoint of this program")
    if written_as != FORMAT and written_as not in _DROPPED:
        raise _Refused(f"its format is {written_as}, not {FORMAT}")
    if values.keys() != names | _DROPPED.get(written_as, set()):
        raise _Refused("it is not a checkpoint of this program")
    checkpoint = Checkpoint(**{**{name: values[name] for name in names}, "format": FORMAT})
    if checkpoint.identity != identity:
        raise _Refused("it belongs to a run with another model, training or corpus")
    if path.name != f"step-{checkpoint.step:09d}.pt":
        raise _Refused(f"it holds step {checkpoint.step}, unlike its name")
    return checkpoint


def _raise_unless_damage(error: Exception) -> None:
    """Raises `error` if memory or disk failed: the file may be complete, and is to be tried again."""
    damaged = (None, errno.EINVAL)  # from following the offsets in a damaged file
    if isinstance(error, OSError) and error.errno not in damaged:
        raise error
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        raise error
