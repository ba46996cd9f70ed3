"""One law fitted to points: many starts, elimination, polish, verdict.

The objective is the summed Huber loss of log(prediction) - log(loss) (delta 1e-3: paper section 5; summed,
not averaged: Besiroglu et al. arXiv 2404.10102). For given exponents the coefficients follow from a weighted
linear problem (variable projection, Golub and Pereyra 1973), so random starts are drawn in the exponents
alone; the best of them are then polished in all parameters by `analysis.solver`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from analysis.laws import Array, Law
from analysis.solver import Problem, minimise
from parcae.errors import InputError

DELTA = 1e-3
"""Where Huber's loss turns from squares to absolute values, in log loss (paper section 5)."""
STARTS = 500
"""Random starts (paper section 5)."""
SAME_LOSS = 1e-9
"""Losses that differ by less than this fraction are equal."""
SINGULAR = 1e-9
"""A normalised Jacobian with a smaller singular value than this is rank-deficient in floating point."""


ZERO = 1e-9
"""A coefficient below this fraction of the largest one is zero."""
NORMAL_LIMIT = 1.96
"""Half width of a normal distribution's 95 % interval, in standard deviations."""


class Status(StrEnum):
    """The verdict on a fit. Only `converged` and `at a bound` carry parameters."""

    CONVERGED = "converged"
    AT_A_BOUND = "at a bound"
    NOT_IDENTIFIED = "not identified"
    TOO_FEW_POINTS = "too few points"


@dataclass(frozen=True, kw_only=True, eq=False)
class LawFit:
    """A law's best parameters, and everything a refit needs."""

    law: Law
    status: Status
    message: str
    """One sentence on the status."""
    values: Mapping[str, float]
    """Parameters by name, in raw units; NaN where the data say nothing."""
    huber: float
    """Summed Huber loss; NaN when nothing was fitted."""
    residuals: Array
    """log(prediction) - log(loss) of each point, in the order given; NaN when nothing was fitted."""
    problem: Problem
    log_loss: Array
    weights: Array
    order: Array
    """The points' order inside `problem`, which does not depend on the order given."""
    log_unit: float
    """Mean log loss, taken off inside."""
    best: Array
    """Parameters (p,) in the problem's units."""

    @property
    def usable(self) -> bool:
        """Whether every exponent means something (a floor at zero does no harm)."""
        return self.status in (Status.CONVERGED, Status.AT_A_BOUND) and not any(
            np.isnan(value) for value in self.values.values()
        )

    @property
    def vector(self) -> Array:
        """Parameters (1, p) in raw units, for ``law.predict``."""
        return np.array([[self.values[name] for name in self.law.parameters]])

    @property
    def mean_error(self) -> float:
        """Mean of |prediction / loss - 1|; NaN when nothing was fitted."""
        if not len(self.residuals):
            return float("nan")
        return float(np.abs(np.expm1(self.residuals)).mean())


def fit_law(
    law: Law,
    data: Mapping[str, ArrayLike],
    loss: ArrayLike,
    *,
    starts: int = STARTS,
    seed: int = 0,
    delta: float = DELTA,
    weights: ArrayLike | None = None,
) -> LawFit:
    """Fits `law` to n points: `data` holds n values a variable, `loss` n losses in nats.

    ``InputError`` for values that are missing, not positive or of unequal number; data that cannot decide
    the law give a verdict instead.
    """
    columns, losses = checked(law, data, loss)
    if starts < 1:
        raise InputError(f"starts is {starts}; it must be at least 1")
    if not delta > 0:
        raise InputError(f"delta is {delta}; it must be positive")
    n, count = len(losses), len(law.parameters)
    order = np.lexsort((losses, *columns.values()))
    columns = {name: values[order] for name, values in columns.items()}
    log_loss = np.log(losses[order])
    log_unit = float(log_loss.mean()) if n else 0.0
    weight = np.ones(n) if weights is None else np.asarray(weights, dtype=float)[order]
    if "floor" in columns:
        columns["floor"] = columns["floor"] / np.exp(log_unit)
    shared = {
        "law": law,
        "log_loss": log_loss - log_unit,
        "weights": weight,
        "order": order,
        "log_unit": log_unit,
    }

    def refused(status: Status, message: str) -> LawFit:
        return LawFit(
            **shared,  # type: ignore[arg-type]
            status=status,
            message=message,
            values=dict.fromkeys(law.parameters, float("nan")),
            huber=float("nan"),
            residuals=np.full(n, np.nan),
            problem=Problem(law=law, data=columns, delta=delta),
            best=np.full(count, np.nan),
        )

    used = weight > 0
    distinct = len({tuple(row) for row in np.stack([v[used] for v in columns.values()], axis=1)})
    if distinct < count + law.spare_points:
        return refused(
            Status.TOO_FEW_POINTS,
            f"{distinct} distinct point{'s' * (distinct != 1)} cannot decide {count} parameters; "
            f"at least {count + law.spare_points} are needed",
        )
    if np.ptp(log_loss[used]) < SAME_LOSS:
        return refused(Status.NOT_IDENTIFIED, "all losses are equal, so nothing tells the terms apart")
    problem = Problem.on(law, columns, delta)
    best, huber = _race(problem, log_loss - log_unit, weight, starts, seed)
    coefficients = best[: len(law.coefficients)]
    coefficients[coefficients < ZERO * coefficients.max()] = 0.0
    residuals = problem.residuals(best[None, :], log_loss - log_unit)[0]
    status, message, known = _verdict(problem, best, residuals, weight)
    if status is Status.NOT_IDENTIFIED:
        return refused(status, message)
    raw = raw_parameters(problem, best[None, :], log_unit)[0]
    unsorted = np.empty(n)
    unsorted[order] = residuals
    return LawFit(
        **shared,  # type: ignore[arg-type]
        status=status,
        message=message,
        values={
            name: float(value) if ok else float("nan")
            for name, value, ok in zip(law.parameters, raw, known, strict=True)
        },
        huber=float(huber),
        residuals=unsorted,
        problem=problem,
        best=best,
    )


def checked(law: Law, data: Mapping[str, ArrayLike], loss: ArrayLike) -> tuple[dict[str, Array], Array]:
    """Float arrays of one length; ``InputError`` names the first value that a fit cannot use."""
    losses = finite_numbers("loss", loss)
    columns = {name: finite_numbers(name, data[name]) for name in law.variables}
    for name, values in {**columns, "loss": losses}.items():
        if len(values) != len(losses):
            raise InputError(f"{name} has {len(values)} values but there are {len(losses)} losses")
        wrong = values < 0 if name == "recurrent" else values <= 0
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InputError(f"{name}[{at}] is {values[at]:g}; it must be positive")
    return columns, losses


def finite_numbers(name: str, values: ArrayLike) -> Array:
    """A float array (n,); ``InputError`` names the first value that is not a finite number."""
    try:
        array = np.atleast_1d(np.asarray(values, dtype=float))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not a list of numbers: {error}") from None
    if array.ndim != 1:
        raise InputError(f"{name} has {array.ndim} dimensions; it must be a plain list of numbers")
    if not np.isfinite(array).all():
        at = int(np.argmin(np.isfinite(array)))
        raise InputError(f"{name}[{at}] is {array[at]}; every value must be a finite number")
    return array


def raw_parameters(problem: Problem, parameters: Array, log_unit: Array | float) -> Array:
    """Parameters (R, p) in raw units, the losses' unit put back."""
    raw = problem.to_raw(parameters)
    raw[:, : len(problem.law.coefficients)] *= np.exp(np.reshape(log_unit, (-1, 1)))
    return raw


def draw_starts(law: Law, starts: int, seed: int) -> Array:
    """Exponents (starts, q): log-uniform within each one's start range."""
    unit = np.random.default_rng(seed).random((starts, len(law.exponents)))
    low = np.log([e.start_low for e in law.exponents])
    high = np.log([e.start_high for e in law.exponents])
    return np.asarray(np.exp(low + unit * (high - low)))


def _race(problem: Problem, log_loss: Array, weights: Array, starts: int, seed: int) -> tuple[Array, float]:
    """The best of `starts`: the better ones stepped, the best of those polished to the end.

    Reweighted steps first: far from a minimum the exact curvature leads into the nearest basin. How many
    are kept is a matter of work, so few points, whose minima are many, keep more.
    """
    entrants = eliminate(problem, draw_starts(problem.law, starts, seed), log_loss, weights)
    objective = problem.objective(problem.residuals(entrants, log_loss), weights)
    n = log_loss.shape[-1]
    for kept, steps in ((max(starts // 3, 25_000 // n), 12), (max(48, 8_000 // n), 30)):
        leaders = entrants[np.argsort(objective, kind="stable")[:kept]]
        entrants, objective = minimise(problem, leaders, log_loss, weights, steps=steps, second_order=False)
    finalists = entrants[np.argsort(objective, kind="stable")[: max(16, 2_500 // n)]]
    polished, objective = minimise(problem, finalists, log_loss, weights, steps=200, second_order=True)
    winner = int(np.argmin(objective))
    return polished[winner], objective[winner]


def eliminate(problem: Problem, theta: Array, log_loss: Array, weights: Array) -> Array:
    """Parameters (R, p): for exponents (R, q), the coefficients >= 0 that nearly minimise the objective.

    Solves min_c sum_i w_i huber(sum_k c_k column_ik / loss_i - 1), which is linear in c and agrees with the
    residual of the logarithm to first order, by reweighted least squares; negative coefficients are set to
    zero, the worst first.
    """
    columns, fixed = problem.columns(theta)
    loss = np.exp(log_loss)[..., None, :]
    ratio = columns / loss
    target = 1.0 - fixed / loss[..., 0, :]
    rows, count, n = ratio.shape
    target = np.broadcast_to(target, (rows, n))
    base = np.broadcast_to(weights, (rows, n))
    reweighted = base
    for _ in range(4):  # reweightings; the polish does the rest
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
        error = np.abs((coefficients[:, :, None] * ratio).sum(1) - target)
        reweighted = base * np.minimum(1.0, problem.delta / np.maximum(error, 1e-12))
    return np.concatenate([coefficients, theta], axis=1)


def _verdict(problem: Problem, best: Array, residuals: Array, weights: Array) -> tuple[Status, str, Array]:
    """Status, sentence, and which parameters (p,) mean something."""
    law, names = problem.law, problem.law.parameters
    count = len(law.coefficients)
    known, at_bound = np.ones(len(names), dtype=bool), []
    exponent = count
    index = 0
    for term in law.terms:
        mine = range(exponent, exponent + len(term.exponents))
        exponent += len(term.exponents)
        if not term.free:
            continue
        if best[index] <= 0:
            known[list(mine)] = False
            at_bound.append(
                f"{term.coefficient} is 0"
                + (f", so nothing is known of {' and '.join(names[i] for i in mine)}" if mine else "")
            )
        else:
            for i in mine:
                if best[i] <= problem.low[i] or best[i] >= problem.high[i]:
                    known[[index, *mine]] = False
                    at_bound.append(
                        f"{names[i]} is at its bound {best[i]:g}, so nothing is known of its term"
                    )
        index += 1
    free = known & (best > problem.low) & (best < problem.high)
    _, slopes, _ = problem.jacobian(best[None, :], np.zeros(slopes_width(problem)))
    used = weights > 0
    jacobian = slopes[0][free][:, used]
    lengths = np.linalg.norm(jacobian, axis=1)
    unidentified = [name for name, length in zip(np.array(names)[free], lengths, strict=True) if length == 0]
    if not unidentified and free.any():
        directions, singular, _ = np.linalg.svd(jacobian / lengths[:, None], full_matrices=False)
        if singular[-1] < SINGULAR * singular[0]:
            weak = np.abs(directions[:, -1])
            unidentified = list(np.array(names)[free][weak > 0.1 * weak.max()])
        else:
            variance = ((directions / singular) ** 2).sum(1)
            count_free = int(free.sum())
            freedom = max(int(used.sum()) - count_free, 1)
            spread = noise(residuals[used], count_free) * stdtrit(freedom, 0.975) / NORMAL_LIMIT
            errors = spread * np.sqrt(variance) / lengths
            unidentified = [
                name
                for name, error, value in zip(np.array(names)[free], errors, best[free], strict=True)
                if name not in law.coefficients and error > _tolerated(law, name, value)
            ]
    if unidentified:
        together = " and ".join(unidentified)
        return (
            Status.NOT_IDENTIFIED,
            f"the points do not decide {together}: other values fit as well",
            np.zeros(len(names), dtype=bool),
        )
    if at_bound:
        return Status.AT_A_BOUND, "; ".join(at_bound), known
    return Status.CONVERGED, "the minimum is inside all bounds and the points decide every parameter", known


def slopes_width(problem: Problem) -> int:
    """n, the number of points."""
    return len(next(iter(problem.data.values()))) - 1


def _tolerated(law: Law, name: str, value: float) -> float:
    """The largest standard error with which an exponent still means something: its own size.

    An exponent that may be negative or zero (phi, gamma) is compared with 1, the difference between what
    its two extreme readings mean.
    """
    low = next(e.low for e in law.exponents if e.name == name)
    return value if low > 0 else 1.0


def noise(residuals: Array, parameters: int) -> float:
    """Standard deviation of the residuals by their median size, which outliers do not move.

    The smallest residuals, one a parameter, are left out: a fit in the linear zone of Huber's loss passes
    through about as many points as it has parameters.
    """
    return float(1.4826 * np.median(np.sort(np.abs(residuals))[min(parameters, len(residuals) - 1) :]))
