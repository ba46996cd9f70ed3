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

from analysis.engine.fit import LawFit, raw_parameters
from analysis.engine.solver import Problem, Shared, minimise
from analysis.engine.verdict import noise
from analysis.laws import Array, Whole

RATIOS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2])
"""Deviation shared within a budget over a run's own."""
SHARED_SCALE = 2.0
"""Median of its prior. With 1, intervals are too narrow where budgets share noise of a run's size: E of
unequal coverage is held by 89 % of them instead of 93 % (`bench/coverage.py`)."""
RUN_RATIOS = np.array([0.0, 0.3, 0.6, 1.0, 1.6, 2.5, 4.0, 6.5, 10.0, 16.0, 25.0])
"""Deviation shared by the losses of one run at several test recurrences over a loss's own."""
WILD = 5.0
"""Residuals beyond this many (robust) deviations count as this many: a wild run says nothing of the noise."""
MOST_CELLS = 1_000_000
"""Draws times runs that are refitted at once, a matter of memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Uncertainty:
    """Draws of a law's parameters, and how well the law explains its runs."""

    draws: Array
    """(R, p) in raw units."""
    scatter: Array
    """(R,): each draw's deviation of a single run's log loss, shared part included."""
    ratio: float
    """Mean of the deviation shared within a budget over a run's own."""
    aicc: float
    """Akaike's criterion, corrected for few runs (Hurvich and Tsai 1989)."""


def uncertainty(
    fit: LawFit, budgets: ArrayLike, *, draws: int, runs: ArrayLike | None = None, seed: int = 0
) -> Uncertainty:
    """`draws` refits of simulated studies; `budgets` are n labels, alike for runs that may share noise.

    `runs` (n labels) where a run has several losses, which share its noise; a budget is made of runs.
    """
    points, count = fit.points, len(fit.law.parameters)
    n = len(points.log_loss)
    groups = _numbers(budgets, points.order)
    problem, log_loss = tamed(fit)
    grid, prior = _grid(groups, None if runs is None else _numbers(runs, points.order), points.weights)
    start = np.tile(fit.best, (len(prior), 1))
    centres, squares = least_squares(problem, start, log_loss, grid, 1e-10)
    weights = _ratio_weights(problem, centres, squares, grid, prior)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(prior), size=draws, p=weights)
    deviation = np.sqrt(squares[chosen] / generator.chisquare(max(n - count, 1), size=draws))
    smooth = problem.residuals(centres, np.zeros(n))
    together, found = max(MOST_CELLS // n, 1), []
    for first in range(0, draws, together):
        rows = chosen[first : first + together]
        at = grid.at(rows)
        simulated = smooth[rows] + deviation[first : first + together, None] * at.draw(generator)
        found.append(least_squares(problem, centres[rows], simulated, at, 1e-7)[0])
    return Uncertainty(
        draws=raw_parameters(problem, np.concatenate(found), points.log_unit),
        scatter=deviation * np.sqrt(grid.variances[chosen]),
        ratio=float(weights @ _relative(grid)),
        aicc=_aicc(squares, grid, n, count),
    )


def _numbers(labels: ArrayLike, order: Whole) -> Whole:
    """Labels (n,) as numbers from 0, in the fit's order."""
    return np.unique(np.asarray(labels)[order], return_inverse=True)[1]


def _grid(budgets: Whole, runs: Whole | None, weights: Array) -> tuple[Shared, Array]:
    """Every ratio to be considered, and its prior (G,); what stands alone shares nothing."""
    several = runs is not None and runs.max() + 1 < len(runs)
    units = runs.max() + 1 if runs is not None and several else len(budgets)
    ratios = RATIOS if budgets.max() + 1 < units else RATIOS[:1]
    prior = _half_cauchy(ratios, SHARED_SCALE)
    if runs is None or not several:
        return Shared(groups=budgets, ratios=ratios, weights=weights), prior
    inner = np.repeat(RUN_RATIOS, len(ratios))
    outer = np.tile(ratios, len(RUN_RATIOS)) * np.hypot(1.0, inner)
    within = Shared(groups=runs, ratios=inner, weights=weights)
    grid = Shared(groups=budgets, ratios=outer, weights=weights, inner=within)
    return grid, np.outer(_half_cauchy(RUN_RATIOS, 1.0), prior).ravel()


def _half_cauchy(ratios: Array, scale: float) -> Array:
    """Prior of each ratio of a grid, not normalised; `scale` is its median."""
    width = np.gradient(ratios) if len(ratios) > 1 else np.ones(1)
    return np.asarray(width / (scale**2 + ratios**2))


def _relative(grid: Shared) -> Array:
    """What a budget shares over a run's own deviation (G,)."""
    own = grid.inner.variances if grid.inner else np.ones(len(grid.ratios))
    return np.asarray(grid.ratios / np.sqrt(own))


def tamed(fit: LawFit) -> tuple[Problem, Array]:
    """The fit's problem for least squares, and its log losses (n,) with wild residuals cut to size."""
    points = fit.points
    problem = Problem(law=fit.law, data=points.problem.data, delta=np.inf)
    residuals = problem.residuals(fit.best[None, :], points.log_loss)[0]  # of prediction over loss
    scale = np.sqrt(points.weights)
    limit = WILD * noise(residuals * scale, len(fit.law.parameters)) / scale
    return problem, points.log_loss + residuals - np.clip(residuals, -limit, limit)


def least_squares(
    problem: Problem, start: Array, log_loss: Array, shared: Shared, tolerance: float
) -> tuple[Array, Array]:
    """Parameters (R, p) by generalised least squares, and their sums of squares (R,)."""
    weights = np.ones(log_loss.shape[-1])
    found, objective = minimise(
        problem,
        start,
        log_loss,
        weights,
        steps=60,
        second_order=False,
        tolerance=tolerance,
        shared=shared,
    )
    return found, np.maximum(2 * objective, 1e-300)


def _ratio_weights(problem: Problem, centres: Array, squares: Array, grid: Shared, prior: Array) -> Array:
    """(G,): restricted likelihood times prior of each ratio of the grid."""
    freedom = max(problem.points - centres.shape[1], 1)
    slopes = grid.whiten(problem.jacobian(centres, np.zeros((len(centres), problem.points)))[1])
    scale = np.maximum(np.linalg.norm(slopes[:1], axis=2, keepdims=True), 1e-300)
    information = np.matmul(slopes / scale, (slopes / scale).transpose(0, 2, 1))
    determinant = np.linalg.slogdet(information + 1e-12 * np.eye(centres.shape[1]))[1]
    likelihood = -0.5 * (freedom * np.log(squares) + grid.log_determinant + determinant)
    weights = np.exp(likelihood - likelihood.max()) * prior
    return np.asarray(weights / weights.sum())


def _aicc(squares: Array, grid: Shared, n: int, count: int) -> float:
    """At the likeliest ratio; the variance and the ratio count as parameters."""
    parameters = count + 2
    deviance = float((n * np.log(squares / n) + grid.log_determinant).min())
    spare = n - parameters - 1
    return deviance + 2 * parameters * (1 + (parameters + 1) / spare if spare > 0 else np.inf)
