"""How much the training law depends on choices that a reader might have made otherwise.

The law is refitted under other Huber deltas, under squared error and without each budget (of many, some) in
turn; the spread of each column is what those choices are worth, to be read beside the bootstrap interval.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.data.points import ModelPoints, spaced
from analysis.engine.fit import DELTA
from analysis.engine.formatting import number, table
from analysis.engine.intervals import finite
from analysis.engine.verdict import FitStatus
from analysis.fits.isoflop.fit import fit_isoflop
from analysis.fits.isoflop.power_law import slope
from analysis.fits.training import TrainingFit, fit_training_law
from analysis.prediction.frontier import best_recurrence, deepest_supported
from analysis.prediction.shape import Shape

MOST_LEFT_OUT = 12
"""Budgets left out in turn; of more, so many are taken at even distances."""
PANEL_STARTS = 50
"""Starts of a refit: fifty end where five hundred do, and a study may have many budgets."""
COLUMNS = ("E", "x", "y", "gamma_mean_recurrence", "gamma_parabolas")
DELTAS = (1e-4, 3e-4, DELTA, 3e-3, 1e-2, np.inf)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One refit; NaN where it decides nothing."""

    setting: str
    status: FitStatus
    E: float
    x: float
    y: float
    gamma_mean_recurrence: float
    """From the law's own minimum over the study's budgets."""
    gamma_parabolas: float
    """From the isoFLOP parabolas, which have no delta."""


@dataclass(frozen=True, kw_only=True)
class Robustness:
    variants: tuple[Variant, ...]

    def to_list(self) -> list[dict[str, Any]]:
        return [
            {
                "setting": v.setting,
                "status": v.status.value,
                **{column: finite(getattr(v, column)) for column in COLUMNS},
            }
            for v in self.variants
        ]

    def summary(self) -> str:
        """The refits, below the spread of each column."""
        rows = [
            (v.setting, v.status.value, *(number(getattr(v, column)) for column in COLUMNS))
            for v in self.variants
        ]
        spreads = [self.spread(column) for column in COLUMNS]
        spread = (
            "spread",
            "",
            *(f"{low:.3g} to {high:.3g}" if math.isfinite(low) else "–" for low, high in spreads),
        )
        return table(("setting", "status", "E", "x", "y", "gamma, law", "gamma, parabolas"), [spread, *rows])

    def spread(self, column: str) -> tuple[float, float]:
        """(lowest, highest) finite value of a column; NaN if there is none."""
        values = np.array([getattr(variant, column) for variant in self.variants])
        values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if len(values) else (float("nan"),) * 2


def robustness(points: ModelPoints, shape: Shape | None) -> Robustness:
    """The panel for one model's runs; a `shape` is needed for the exponent of the optimum."""
    points = points.select(points.sized)
    variants = [
        _variant(
            "squared error" if np.isinf(delta) else f"delta {delta:g}",
            fit_training_law(
                points.effective_parameters, points.tokens, points.loss, starts=PANEL_STARTS, delta=delta
            ),
            points,
            shape,
            parabolas=float("nan"),
        )
        for delta in DELTAS
    ]
    budgets = spaced(points.budgets.tolist(), MOST_LEFT_OUT) if len(points.budgets) > 1 else []
    for budget in budgets:
        rest = points.select(points.budget != budget)
        law = fit_training_law(rest.effective_parameters, rest.tokens, rest.loss, starts=PANEL_STARTS)
        variants.append(_variant(f"without {budget:.3g} FLOPs", law, points, shape, parabolas=_gamma(rest)))
    return Robustness(variants=tuple(variants))


def _variant(
    setting: str, law: TrainingFit, points: ModelPoints, shape: Shape | None, *, parabolas: float
) -> Variant:
    gamma = float("nan")
    if law.usable and shape is not None and len(points.budgets) > 1:
        gamma = law_exponent(law, shape, points)
    return Variant(
        setting=setting,
        status=law.status,
        E=law.E,
        x=law.x,
        y=law.y,
        gamma_mean_recurrence=gamma,
        gamma_parabolas=parabolas,
    )


def law_exponent(law: TrainingFit, shape: Shape, points: ModelPoints) -> float:
    """Slope of ln mu_rec*(C) over the budgets whose optimum has a loop and is supported by the runs.

    NaN with fewer than two.
    """
    best = best_recurrence(law.fit.vector, shape, points.budgets)
    logs = np.where((best > 1.001) & (best <= deepest_supported(points)), np.log(best), np.nan)
    return float(slope(np.log(points.budgets), logs)[0][0])


def _gamma(points: ModelPoints) -> float:
    grid = points.select(points.on_grid)
    fit = fit_isoflop(
        grid.flops, grid.mean_recurrence, None, grid.loss, seeds=grid.seeds, laws=(), resamples=1
    )
    return fit.gamma_mean_recurrence.exponent.value
