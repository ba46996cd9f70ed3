"""How a law's own optimum grows with the budget: slopes in logs, over budgets that are named beside them.

Shapes: R draws, B budgets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.data.budgets import places_of
from analysis.engine.formatting import over_budgets
from analysis.engine.intervals import NOTHING, Interval, holding
from analysis.fits.isoflop.power_law import slope
from analysis.laws import Array


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """Of the optimum, over `flops`."""

    on_axis: Interval
    """Of the mean recurrence, or of the parameters without a loop."""
    tokens: Interval
    flops: tuple[float, ...]

    @property
    def over_budgets(self) -> str:
        return over_budgets(self.flops)


@dataclass(frozen=True, kw_only=True, eq=False)
class Optima:
    """The continuous optimum of each budget, by the estimate (row 0) and by its draws."""

    flops: Array
    """(B,)."""
    on_axis: Array
    """(1 + R, B): the mean recurrence, or the parameters without a loop."""
    tokens: Array
    """(1 + R, B): what the budget buys there."""
    weights: Array
    """(R,): how much each draw counts."""

    def exponents(self, budgets: Sequence[float]) -> Exponents:
        """Least-squares slopes over exactly these `budgets`; none if there are fewer than two, or one has no
        optimum."""
        at = places_of(budgets, self.flops)
        if len(at) < 2 or (at < 0).any():
            return Exponents(on_axis=NOTHING, tokens=NOTHING, flops=tuple(budgets))
        found = [self._slope(rows[:, at], self.flops[at]) for rows in (self.on_axis, self.tokens)]
        return Exponents(on_axis=found[0], tokens=found[1], flops=tuple(float(c) for c in self.flops[at]))

    def _slope(self, rows: Array, flops: Array) -> Interval:
        if not np.isfinite(rows[0]).all():
            return NOTHING
        slopes = slope(np.log(flops), np.log(rows))[0]
        return holding(float(slopes[0]), slopes[1:], self.weights)
