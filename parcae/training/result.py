"""result.json: the outcome of a run. It is read without torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from parcae.errors import InputError
from parcae.files import replacing
from parcae.records import CHECKSUM, from_plain, sealed, unsealed
from parcae.training.folder import RESULT


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """Where a run diverged: numbers that are not finite are None."""

    step: int
    loss: float | None
    state_norm: float | None
    injection_norm: float | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of one run. A diverged run is a result too."""

    status: Literal["done", "diverged"]
    steps: int
    """Steps completed."""
    tokens: int
    """Training tokens seen."""
    val_loss: float | None
    """Nats per token at T = mean_recurrence; None if diverged."""
    losses: dict[str, float]
    """Validation loss in nats per token, by T; empty if diverged."""
    validation_sequences: int
    parameters: int
    diverged_at: Divergence | None
    injection_norm: float | None
    """rho(Abar) at the end; None without a loop, or if it is not finite."""
    seconds: float
    """Training wall time."""
    tokens_per_second: float
    environment: dict[str, str | int]
    model_flops_utilisation: float | None = None
    """MFU against the bfloat16 peak of the devices; None on a CPU or a device of unknown peak."""
    realised_flops: float | None = None
    """Training FLOPs of the depths that were drawn, in the run's convention; planned FLOPs assume that each
    is the mean. None in results of an early version."""
    run_id: str | None = None
    """The name of the run's folder; None in results of an early version, which have no checksum either."""

    def write(self, folder: Path) -> None:
        with replacing(folder / RESULT) as file:
            file.write(json.dumps(sealed(self), indent=2, allow_nan=False).encode() + b"\n")


def read_result(folder: Path) -> Result | None:
    """The result in `folder`, or None if the run has not ended. ``InputError`` if it is not a result.

    A later version may have added keys to it.
    """
    path = folder / RESULT
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: it is not whole JSON") from error
    if isinstance(values, dict) and values.get("run_id") is not None and CHECKSUM not in values:
        raise InputError(f"{path} is damaged or was edited: its checksum is missing")
    return from_plain(Result, unsealed(values, str(path)), str(path), more_keys=True)
