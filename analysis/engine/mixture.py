"""Several forms of a law that can't be told apart: one estimate, and intervals that hold the spread of all.

Shapes: R draws of all forms together, B places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.engine.intervals import Interval, holding
from analysis.laws import Array, Law


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One form's draws (R, p), and what all of them together count."""

    law: Law
    draws: Array
    weight: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """The chosen form's parameters (1, p), and draws of the forms that cannot be distinguished from it."""

    law: Law
    vector: Array
    parts: tuple[Part, ...]

    def evaluate(self, quantity: Callable[[Law, Array], Array]) -> tuple[Array, Array, Array]:
        """A quantity (R, B) of a law and its rows: its estimate (B,), all draws (R, B) and weights (R,)."""
        value = quantity(self.law, self.vector)[0]
        draws = [quantity(part.law, part.draws) for part in self.parts]
        weights = [np.full(len(part.draws), part.weight / len(part.draws)) for part in self.parts]
        return value, np.concatenate(draws), np.concatenate(weights)

    def intervals(self, quantity: Callable[[Law, Array], Array]) -> list[Interval]:
        """One interval a column of the quantity; it holds the estimate."""
        value, draws, weights = self.evaluate(quantity)
        return [holding(float(v), draws[:, i], weights) for i, v in enumerate(value)]
