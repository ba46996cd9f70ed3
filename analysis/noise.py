"""The uncertainty of a law fitted to runs whose noise may be shared within a budget.

A run's log loss is off the law by budget effect + run effect, both normal. How large the shared part is
cannot be known from a few budgets, so no single value is chosen: each draw takes a ratio of the two
deviations from a grid, by its restricted likelihood (Patterson and Thompson 1971) times a half-Cauchy prior
(Gelman 2006), a variance from its scaled inverse chi-square, simulates a study and refits it by generalised
least squares. `bench/coverage.py` measures what such draws cover.
Shapes: n runs, p parameters, G ratios of the grid, R draws.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.fit import LawFit, raw_parameters
from analysis.laws import Array
from analysis.solver import Problem, Shared, minimise
from analysis.verdict import noise

RATIOS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2])
"""Deviation shared within a budget over a run's own."""
WILD = 5.0
"""Residuals beyond this many (robust) deviations count as this many: a wild run says nothing of the noise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """Draws of a law's parameters, and how well the law explains its runs."""

    draws: Array
    """(R, p) in raw units."""
    ratio_weights: Array
    """(G,): what the runs say of the ratio."""
    aicc: float
    """Akaike's criterion corrected for few runs (Hurvich and Tsai 1989)."""

    @property
    def ratio(self) -> float:
        """Mean ratio of shared to own deviation."""
        return float(self.ratio_weights @ RATIOS)


def uncertainty(fit: LawFit, strata: ArrayLike, *, draws: int, seed: int = 0) -> Uncertainty:
    """`draws` refits of simulated studies; `strata` are n labels of what may share noise, in fit's order."""
    points = fit.points
    count = len(fit.law.parameters)
    n = len(points.log_loss)
    groups = np.unique(np.asarray(strata)[points.order], return_inverse=True)[1]
    problem = Problem(law=fit.law, data=points.problem.data, delta=np.inf)
    residuals = problem.residuals(fit.best[None, :], points.log_loss)[0]
    limit = WILD * noise(residuals, count)
    log_loss = points.log_loss + np.clip(residuals, -limit, limit) * -1 + residuals
    grid = Shared(groups=groups, ratios=RATIOS)
    centres, squares = _least_squares(problem, np.tile(fit.best, (len(RATIOS), 1)), log_loss, grid)
    weights = _ratio_weights(problem, centres, log_loss, squares, grid)
    aicc = _aicc(squares, grid, n, count)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(RATIOS), size=draws, p=weights)
    variance = squares[chosen] / generator.chisquare(max(n - count, 1), size=draws)
    own = generator.standard_normal((draws, n))
    common = generator.standard_normal((draws, groups.max() + 1))[:, groups]
    scatter = np.sqrt(variance)[:, None] * (own + RATIOS[chosen][:, None] * common)
    smooth = problem.residuals(centres, np.zeros(n))[chosen]
    shared = Shared(groups=groups, ratios=RATIOS[chosen])
    found, _ = _least_squares(problem, centres[chosen], smooth + scatter, shared, tolerance=1e-7)
    return Uncertainty(
        draws=raw_parameters(problem, found, points.log_unit), ratio_weights=weights, aicc=aicc
    )


def _least_squares(
    problem: Problem, start: Array, log_loss: Array, shared: Shared, tolerance: float = 1e-10
) -> tuple[Array, Array]:
    """Parameters (R, p) of the generalised least squares, and their squares (R,)."""
    found, objective = minimise(
        problem,
        start,
        log_loss,
        np.ones(log_loss.shape[-1]),
        steps=60,
        second_order=False,
        tolerance=tolerance,
        shared=shared,
    )
    return found, 2 * objective


def _ratio_weights(problem: Problem, centres: Array, log_loss: Array, squares: Array, grid: Shared) -> Array:
    n, count = problem.points, centres.shape[1]
    _, slopes, _ = problem.jacobian(centres, np.broadcast_to(log_loss, (len(centres), n)))
    slopes = grid.whiten(slopes)
    scale = np.linalg.norm(slopes, axis=2, keepdims=True)
    scale = np.maximum(scale, 1e-300)
    information = np.matmul(slopes / scale[:1], (slopes / scale[:1]).transpose(0, 2, 1))
    determinant = np.linalg.slogdet(information + 1e-12 * np.eye(count))[1]
    likelihood = -0.5 * (
        max(n - count, 1) * np.log(np.maximum(squares, 1e-300)) + grid.log_determinant + determinant
    )
    prior = np.gradient(RATIOS) / (1 + RATIOS**2)
    weights = np.exp(likelihood - likelihood.max()) * prior
    return np.asarray(weights / weights.sum())


def _aicc(squares: Array, grid: Shared, n: int, count: int) -> float:
    """At the likeliest ratio; the variance and the ratio count as parameters."""
    parameters = count + 2
    deviance = float((n * np.log(np.maximum(squares, 1e-300) / n) + grid.log_determinant).min())
    spare = n - parameters - 1
    return deviance + 2 * parameters + (2 * parameters * (parameters + 1) / spare if spare > 0 else np.inf)
