"""Studies with a known truth, for the tests of the laws."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.data.frames import published_tables
from analysis.data.points import Study
from analysis.data.study import build_study

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Runs of one looped model on a grid of budgets and recurrences, with the losses of a known law."""

    flops: Array
    mean_recurrence: Array
    parameters: Array
    tokens: Array
    loss: Array
    E: float = 2.67
    X: float = 4.1e6
    x: float = 0.928
    Y: float = 3.06e4
    y: float = 0.516

    def noisy(self, noise: float, seed: int) -> Array:
        return self.loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(self.loss)))


ONCE, RECURRENT = 4.2e7, 1.4e7


def grid(
    budgets: tuple[float, ...] = (1e18, 2e18, 4e18, 8e18, 1.6e19, 6.4e19),
    recurrences: tuple[float, ...] = (2, 4, 6, 8, 10, 12),
) -> Grid:
    """36 runs of a model like small-140m, noiseless."""
    flops, mean_recurrence = (
        a.ravel().astype(float) for a in np.meshgrid(budgets, recurrences, indexing="ij")
    )
    parameters = ONCE + RECURRENT * mean_recurrence
    tokens = flops / (6 * ONCE + 4 * RECURRENT * mean_recurrence)
    return Grid(
        flops=flops,
        mean_recurrence=mean_recurrence,
        parameters=parameters,
        tokens=tokens,
        loss=2.67 + 4.1e6 * parameters**-0.928 + 3.06e4 * tokens**-0.516,
    )


def published_study() -> Study:
    return build_study("published", "imported", *published_tables())
