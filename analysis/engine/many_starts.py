"""The search for the best of many starts: drawn in the exponents alone, thinned out as they go.

For given exponents the coefficients follow from a weighted linear problem (variable projection, Golub and
Pereyra 1973), so a start is a point in the few exponents; the best are then stepped and polished in all
parameters by `analysis.engine.solver`. Several sets of losses at the same points race side by side.
Shapes: m sets of losses, R rows (m times the starts still in the race), n points, p parameters, q exponents.
"""

import numpy as np

from analysis.engine.solver import Problem, minimise
from analysis.laws import Array, Law

MOST_POINTS = 600
"""Points that the early rounds look at: of more, so many are drawn, and the finalists run on all."""


def race(problem: Problem, log_loss: Array, weights: Array, starts: int, seed: int) -> tuple[Array, Array]:
    """Best parameters (m, p) and objectives (m,) of `starts` for losses and weights (m, n).

    Reweighted steps first: far from a minimum the exact curvature leads into the nearest basin. How many
    are kept is a matter of work, so few points, whose minima are many, keep more; a single exponent, where
    minima are few, keeps less.
    """
    sets, points = log_loss.shape
    n = min(points, MOST_POINTS)
    heats, short_loss, short_weights = problem, log_loss, weights
    if points > MOST_POINTS:
        drawn = np.sort(np.random.default_rng(seed).choice(points, MOST_POINTS, replace=False))
        heats = problem.at(drawn)
        short_loss, short_weights = log_loss[:, drawn], weights[:, drawn]
    theta = np.tile(draw_starts(problem.law, starts, seed), (sets, 1))
    losses, shares = (np.repeat(a, starts, axis=0) for a in (short_loss, short_weights))
    entrants = eliminate(heats, theta, losses, shares)
    objective = heats.objective(heats.residuals(entrants, losses), shares)
    rounds = [(max(starts // 3, 25_000 // n), 12), (max(48, 8_000 // n), 30)]
    finalists = max(16, 2_500 // n)
    if len(problem.law.exponents) == 1:
        rounds, finalists = [(starts // 3, 12)], 4
    for kept, steps in rounds:
        entrants = _best(entrants, objective, sets, max(kept, 1))
        losses, shares = (np.repeat(a, len(entrants) // sets, axis=0) for a in (short_loss, short_weights))
        entrants, objective = minimise(heats, entrants, losses, shares, steps=steps, second_order=False)
    entrants = _best(entrants, objective, sets, finalists if heats is problem else 4)
    losses, shares = (np.repeat(a, len(entrants) // sets, axis=0) for a in (log_loss, weights))
    if heats is not problem:  # already near its minimum, and few are far from the best
        entrants, _ = minimise(problem, entrants, losses, shares, steps=12, second_order=False)
    polished, objective = minimise(problem, entrants, losses, shares, steps=200, second_order=True)
    winners = _best(polished, objective, sets, 1)
    return winners, objective.reshape(sets, -1).min(1)


def _best(parameters: Array, objective: Array, sets: int, kept: int) -> Array:
    """The `kept` best rows of each set, (sets * kept, p), sets in order."""
    by_set = objective.reshape(sets, -1)
    order = np.argsort(by_set, axis=1, kind="stable")[:, :kept]
    rows = np.arange(sets)[:, None] * by_set.shape[1] + order
    return np.asarray(parameters[rows.ravel()])


def draw_starts(law: Law, starts: int, seed: int) -> Array:
    """Exponents (starts, q): log-uniform within each one's start range."""
    unit = np.random.default_rng(seed).random((starts, len(law.exponents)))
    low = np.log([e.start_low for e in law.exponents])
    high = np.log([e.start_high for e in law.exponents])
    return np.asarray(np.exp(low + unit * (high - low)))


def eliminate(problem: Problem, theta: Array, log_loss: Array, weights: Array) -> Array:
    """Parameters (R, p): for exponents (R, q), the coefficients >= 0 that nearly minimise the objective.

    Solves min_c sum_i w_i huber(sum_k c_k column_ik / loss_i - 1), which is linear in c and agrees with the
    residual of the logarithm to first order, by reweighted least squares; negative coefficients are set to
    zero, the worst first. Coupled terms are c_k dF/dc_k, whose derivatives follow the coefficients.
    """
    columns, fixed = problem.columns(theta)
    loss = np.exp(log_loss)[..., None, :]
    ratio = columns / loss
    target = 1.0 - fixed / loss[..., 0, :]
    rows, count, n = ratio.shape
    target = np.broadcast_to(target, (rows, n))
    base = np.broadcast_to(weights, (rows, n))
    reweighted = base
    repeats = 4 if np.isfinite(problem.delta) or problem.law.coupling else 1
    for _ in range(repeats):  # reweightings; the polish does the rest
        normal = np.matmul(ratio * reweighted[:, None, :], ratio.transpose(0, 2, 1))
        right = np.matmul(ratio, (reweighted * target)[:, :, None])[:, :, 0]
        scale = np.sqrt(np.maximum(np.einsum("rkk->rk", normal), 1e-300))
        normal = normal / scale[:, :, None] / scale[:, None, :]
        right = right / scale
        free = np.ones((rows, count), dtype=bool)
        for _ in range(count):
            system = np.where(free[:, :, None] & free[:, None, :], normal, 0.0)
            diagonal = np.einsum("rkk->rk", system)
            diagonal += np.where(free, 1e-12, 1.0)
            scaled = np.linalg.solve(system, np.where(free, right, 0.0)[:, :, None])[:, :, 0]
            negative = (free & (scaled < 0)).any(-1)
            if not negative.any():
                break
            free[negative, np.argmin(np.where(free, scaled, np.inf), axis=1)[negative]] = False
        coefficients = np.maximum(scaled, 0.0) / scale
        ratio = _lifted(problem.law, columns, coefficients, theta) / loss
        error = np.abs((coefficients[:, :, None] * ratio).sum(1) - target)
        reweighted = base * np.minimum(1.0, problem.delta / np.maximum(error, 1e-12))
    return np.concatenate([coefficients, theta], axis=1)


def _lifted(law: Law, columns: Array, coefficients: Array, theta: Array) -> Array:
    """Derivatives (R, K, n) of the prediction by each coefficient: the columns, unless terms are coupled.

    A coefficient of zero counts as a small one, or its term could not come back.
    """
    if not law.coupling:
        return columns
    largest = coefficients.max(1, keepdims=True)
    held = np.maximum(coefficients, 1e-3 * largest + 1e-30)
    values = held[:, :, None] * columns
    coupled = law.couple([values[:, i] for i in range(values.shape[1])], theta)
    lifted = columns.copy()
    for place, i in enumerate(law.members):
        lifted[:, i] = coupled.value * coupled.shares[:, place] / held[:, i, None]
    return lifted
