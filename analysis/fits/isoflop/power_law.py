"""Power laws of the optimum in FLOPs: straight lines in logs, their exponents with intervals.

Parcae section 5, figure 5. Shapes: B budgets, R replicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.engine.formatting import brief, number, spell
from analysis.engine.intervals import NOTHING, Interval, finite, holding
from analysis.engine.verdict import FitStatus
from analysis.laws import Array

FEWEST_OPTIMA = 3
"""Optima of a power law: two always lie on one."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PowerLaw:
    """v*(C) = k C^exponent through the interior optima, least squares in logs."""

    exponent: Interval
    k: float
    status: FitStatus
    message: str
    optima: int
    budgets: tuple[float, ...]
    """FLOPs of the optima that it goes through."""

    def __repr__(self) -> str:
        return brief(self, "exponent", "k", "status", "optima")

    def summary(self) -> str:
        return f"gamma = {spell(self.exponent)}, k = {number(self.k, 3)}; {self.message}"

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.exponent.to_dict(),
            "k": finite(self.k),
            "status": self.status.value,
            "message": self.message,
            "budgets": list(self.budgets),
        }

    def __call__(self, flops: ArrayLike) -> Array:
        return np.asarray(self.k * np.asarray(flops, dtype=float) ** self.exponent.value)


def power_law(
    of: str, flops: Sequence[float], values: Sequence[float], log_draws: Array, budgets: int
) -> PowerLaw:
    """Through B optima `values` `of` a quantity, with `log_draws` (R, B) for the interval, which holds the
    exponent too: draws without the parabolas' bias need not.

    A verdict where fewer than ``FEWEST_OPTIMA`` of the study's `budgets` have one.
    """
    if len(flops) < FEWEST_OPTIMA:
        return no_power_law(
            f"{len(flops)} of {budgets} budgets with an interior optimum in {of}; "
            f"a power law needs at least {FEWEST_OPTIMA}",
            flops,
        )
    log_c = np.log(flops)
    exponent, intercept = slope(log_c, np.log(values)[None, :])
    draws, _ = slope(log_c, log_draws)
    return PowerLaw(
        exponent=holding(float(exponent[0]), draws),
        k=float(np.exp(intercept[0])),
        status=FitStatus.CONVERGED,
        message=f"through {len(flops)} interior optima of {budgets} budgets"
        + (f", {flops[0]:.3g} to {flops[-1]:.3g} FLOPs" if len(flops) < budgets else ""),
        optima=len(flops),
        budgets=tuple(flops),
    )


def no_power_law(message: str, flops: Sequence[float] = ()) -> PowerLaw:
    """The verdict where too few budgets, `flops`, have an optimum."""
    return PowerLaw(
        exponent=NOTHING,
        k=float("nan"),
        status=FitStatus.TOO_FEW_POINTS,
        message=message,
        optima=len(flops),
        budgets=tuple(flops),
    )


def slope(x: Array, y: Array) -> tuple[Array, Array]:
    """Slope and intercept (R,) of least-squares lines through rows y (R, B); NaN in y is left out."""
    use = np.isfinite(y)
    count = use.sum(1)
    enough = count >= 2
    safe = np.maximum(count, 1)
    filled = np.where(use, y, 0.0)
    mean_x, mean_y = (use * x).sum(1) / safe, filled.sum(1) / safe
    dx = np.where(use, x - mean_x[:, None], 0.0)
    spread = (dx**2).sum(1)
    gradient = np.where(enough, (dx * filled).sum(1) / np.where(spread > 0, spread, 1.0), np.nan)
    return gradient, mean_y - gradient * mean_x
