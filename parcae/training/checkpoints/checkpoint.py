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
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parcae.errors import InputError
from parcae.files import clear_leftovers, replacing
from parcae.training.distributed import Processes

FORMAT = 4
KEPT = 2
_DROPPED = {3: {"metrics_bytes", "layers_bytes"}}
"""What older formats hold and this one does without; they are read all the same."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything a run needs to go on. Its step is data cursor and random state in one."""

    format: int = FORMAT
    identity: str
    """Names model, training and corpus: a checkpoint of another run is foreign."""
    step: int
    """Steps completed. Lines of later steps in the run's logs are cut off when it resumes."""
    model: dict[str, Any]
    optimisers: list[dict[str, Any]]
    spikes: list[list[float]]
    """What the counters of spikes in loss and gradient know."""
    threads: int
    """CPU threads of the run: another number would sum in another order."""
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
    place = folder / "checkpoint"
    place.mkdir(exist_ok=True)
    path = place / f"step-{checkpoint.step:09d}.pt"
    with replacing(path) as file:  # no `asdict`: it would copy every tensor once more
        torch.save({field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)}, file)
    others = [other for other in newest_first(folder) if other != path]
    for old in others[KEPT - 1 :]:
        old.unlink()


def resume(folder: Path, identity: str, processes: Processes) -> Checkpoint | None:
    """The newest checkpoint in `folder` that is whole and this run's own; None where there is none.

    The first process chooses it, and each reads the file for itself. The tensors are memory-mapped: copy what
    is kept, for the file may be deleted once training goes on.
    """
    chosen = processes.from_first(_choose(folder, identity) if processes.is_first else None)
    return None if chosen is None else _read(folder / "checkpoint" / chosen, identity)


def newest_first(folder: Path) -> list[Path]:
    """The files of the checkpoints under a run folder."""
    return sorted((path for path in _files(folder) if path.match("step-*.pt")), reverse=True)


def _files(folder: Path) -> list[Path]:
    """Of the checkpoints. A glob would find nothing where the disk fails."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / "checkpoint") as entries:
        return [Path(entry.path) for entry in entries if entry.is_file()]
    return []


class _Refused(InputError):
    """Why a checkpoint cannot be used."""


def _choose(folder: Path, identity: str) -> str | None:
    """The name of the newest checkpoint that can be used; those that are refused are set aside, each with a
    sentence on stderr."""
    clear_leftovers(folder / "checkpoint" / "step-*.pt")
    for path in newest_first(folder):
        try:
            _check_sums(path)
            _read(path, identity)
            return path.name
        except _Refused as refusal:
            aside = _set_aside(path)
            print(f"checkpoint {path} is refused and set aside as {aside.name}: {refusal}", file=sys.stderr)
    if refused := sum(".pt.refused" in path.name for path in _files(folder)):
        print(
            f"the run in {folder} begins again at step 0: of its checkpoints only {refused} refused are left",
            file=sys.stderr,
        )
    return None


def _set_aside(path: Path) -> Path:
    """Renames `path` to a name that no checkpoint has, and that is free."""
    names = (path.with_name(f"{path.name}.refused{number or ''}") for number in count())
    aside = next(name for name in names if not name.exists())
    return path.rename(aside)


def _check_sums(path: Path) -> None:
    """Reads the file once through, in small parts: torch writes check sums but does not read them."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:
        _raise_unless_damage(error)
        raise _Refused(f"it is truncated or no checkpoint ({type(error).__name__})") from error
    if damaged:
        raise _Refused(f"its part {damaged} is damaged")


def _read(path: Path, identity: str) -> Checkpoint:
    try:
        values = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except FileNotFoundError as error:
        raise InputError(
            f"the checkpoint {path} cannot be seen here; all processes of a run need the same folder"
        ) from error
    except Exception as error:  # torch raises at least five types for what is not its file
        _raise_unless_damage(error)
        raise _Refused(f"it is no checkpoint of this program ({type(error).__name__})") from error
    names = {field.name for field in fields(Checkpoint)}
    written_as = values.get("format") if isinstance(values, dict) else None
    if not isinstance(written_as, int):
        raise _Refused("it is no checkpoint of this program")
    if written_as != FORMAT and written_as not in _DROPPED:
        raise _Refused(f"its format is {written_as}, not {FORMAT}")
    if values.keys() != names | _DROPPED.get(written_as, set()):
        raise _Refused("it is no checkpoint of this program")
    checkpoint = Checkpoint(**{**{name: values[name] for name in names}, "format": FORMAT})
    if checkpoint.identity != identity:
        raise _Refused("it belongs to a run with another model, training or corpus")
    if path.name != f"step-{checkpoint.step:09d}.pt":
        raise _Refused(f"it holds step {checkpoint.step}, not that of its name")
    return checkpoint


def _raise_unless_damage(error: Exception) -> None:
    """Raises `error` if memory or disk failed: the file may be whole, and is to be tried again."""
    damaged = (None, errno.EINVAL)  # what it takes to follow a damaged file's offsets
    if isinstance(error, OSError) and error.errno not in damaged:
        raise error
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        raise error
