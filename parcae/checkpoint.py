"""Checkpoints: atomic, the last two kept, a damaged one refused for the one before it."""

import io
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

from parcae.files import write_atomically

KEPT = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Writes `state` as the checkpoint of `step` and deletes all but the last two."""
    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"step": step, **state}, buffer)
    write_atomically(folder / f"{step:012d}.pt", buffer.getvalue())
    for old in _saved(folder)[:-KEPT]:
        old.unlink()


def load_latest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, as weights and plain data only; None if there is none."""
    for path in reversed(_saved(folder)):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            if state["step"] == int(path.stem):
                return state
            reason = f"it holds step {state['step']}"
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(f"checkpoint {path} is refused ({reason}); trying the one before it", file=sys.stderr)
    return None


def _saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.pt"))
