"""One law fitted to points: checked, raced from many starts, judged.

The objective is the summed Huber loss of log(prediction) - log(loss) (delta 1e-3: paper section 5; summed,
not averaged: Besiroglu et al. arXiv 2404.10102).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.engine.formatting import number, table
from analysis.engine.many_starts import race
from analysis.engine.solver import Problem
from analysis.engine.validation import checked, positive_numbers, same_length
from analysis.engine.verdict import FitStatus, verdict
from analysis.laws import Array, Law, Whole
from parcae.errors import InputError

DELTA = 1e-3
"""Where Huber's loss turns from squares to absolute values, in log loss (paper section 5)."""
STARTS = 500
"""Random starts (paper section 5)."""
SAME_LOSS = 1e-9
"""Losses that differ by less than this fraction are equal."""
ZERO = 1e-9
"""A coefficient below this fraction of the largest one is zero."""
MOST_CELLS = 4_000_000
"""Starts times points that race at once, a matter of memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SortedPoints:
    """n points in an order that does not depend on the one given, and in centred units."""

    problem: Problem
    log_loss: Array
    """Less ``log_unit``."""
    weights: Array
    order: Whole
    """Positions of the points in the order given."""
    log_unit: float
    """Mean log loss."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LawFit:
    """A law's best parameters, and everything a refit needs."""

    law: Law
    status: FitStatus
    message: str
    """One sentence on the status."""
    values: Mapping[str, float]
    """Parameters by name, in raw units; NaN where the data say nothing."""
    huber: float
    """Summed Huber loss at the minimum, even where that decides nothing; NaN when none was sought."""
    residuals: Array
    """log(prediction) - log(loss) of each point, in the order given; NaN without a prediction."""
    best: Array
    """Parameters (p,) in the problem's units."""
    points: SortedPoints

    def __repr__(self) -> str:
        known = "".join(f", {name}={value:.4g}" for name, value in self.values.items() if value == value)
        return f"LawFit({self.law.name}, {self.status}{known}, points={len(self.residuals)})"

    def to_dict(self) -> dict[str, Any]:
        numbers = {**self.values, "huber": self.huber, "mean_error": self.mean_error}
        known = {name: value if np.isfinite(value) else None for name, value in numbers.items()}
        return {**known, "status": self.status.value, "message": self.message}

    def summary(self) -> str:
        """The equation, the verdict, then the parameters."""
        lines = [self.law.equation, f"{self.status}: {self.message}"]
        if self.decided:
            lines.append(table(("", "value"), [(name, number(value)) for name, value in self.values.items()]))
        return "\n".join(lines)

    @property
    def decided(self) -> bool:
        """Whether there are parameters, if not all of them."""
        return self.status in (FitStatus.CONVERGED, FitStatus.AT_A_BOUND)

    @property
    def usable(self) -> bool:
        """Whether every exponent means something (a floor at zero does no harm)."""
        return self.decided and not any(np.isnan(value) for value in self.values.values())

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
    return fit_each(law, data, [loss], starts=starts, seed=seed, delta=delta, weights=weights)[0]


def fit_each(
    law: Law,
    data: Mapping[str, ArrayLike],
    losses: Sequence[ArrayLike],
    *,
    starts: int = STARTS,
    seed: int = 0,
    delta: float = DELTA,
    weights: ArrayLike | None = None,
) -> list[LawFit]:
    """``fit_law`` for several lists of losses at the same points, all in one race.

    `weights` (n,) are the same for all lists, or (m, n) each list's own; a point of weight 0 is left out.
    """
    for name, value, least in (("starts", starts, 1), ("seed", seed, 0)):
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} is {value}; it must be a whole number of at least {least}")
    if not delta > 0:
        raise InputError(f"delta is {delta}; it must be positive")
    shares = [weights] * len(losses) if weights is None or np.ndim(weights) < 2 else list(np.asarray(weights))
    sets = [_sorted(law, data, loss, delta, share) for loss, share in zip(losses, shares, strict=True)]
    refusals = [_refusal(one) for one in sets]
    fits: list[LawFit | None] = [
        _fit(one, *refusal) if refusal else None for one, refusal in zip(sets, refusals, strict=True)
    ]
    waiting = [i for i, refusal in enumerate(refusals) if refusal is None]
    together = max(MOST_CELLS // (starts * max(len(sets[0].log_loss), 1)), 1) if sets else 1
    for first in range(0, len(waiting), together):
        chosen = waiting[first : first + together]
        problem = sets[chosen[0]].problem  # of the points alone, so the same for all
        log_loss = np.stack([sets[i].log_loss for i in chosen])
        counted = np.stack([sets[i].weights for i in chosen])
        best, huber = race(problem, log_loss, counted, starts, seed)
        for row, i in enumerate(chosen):
            fits[i] = _judged(sets[i], best[row], float(huber[row]))
    return [fit for fit in fits if fit is not None]


def _sorted(
    law: Law, data: Mapping[str, ArrayLike], loss: ArrayLike, delta: float, weights: ArrayLike | None
) -> SortedPoints:
    columns, losses = checked(law, data, loss)
    shares = np.ones(len(losses))
    if weights is not None:
        shares = positive_numbers("weights", weights, or_zero=True)
        same_length("weights", shares, losses)
    order = np.lexsort((losses, *columns.values()))
    columns = {name: values[order] for name, values in columns.items()}
    log_loss = np.log(losses[order])
    log_unit = float(log_loss.mean()) if len(losses) else 0.0
    if "floor" in columns:
        columns["floor"] = columns["floor"] / np.exp(log_unit)
    return SortedPoints(
        problem=Problem.on(law, columns, delta),
        log_loss=log_loss - log_unit,
        weights=shares[order],
        order=order,
        log_unit=log_unit,
    )


def _refusal(points: SortedPoints) -> tuple[FitStatus, str] | None:
    """Why these points cannot be fitted at all."""
    law, used = points.problem.law, points.weights > 0
    count = len(law.parameters)
    rows = np.stack([points.problem.data[name][:-1][used] for name in law.variables], axis=1)
    distinct = len({tuple(row) for row in rows})
    if distinct < count + law.spare_points:
        return (
            FitStatus.TOO_FEW_POINTS,
            f"{distinct} distinct point{'s' * (distinct != 1)} cannot decide {count} parameters; "
            f"at least {count + law.spare_points} are needed",
        )
    if np.ptp(points.log_loss[used]) < SAME_LOSS:
        return FitStatus.NOT_IDENTIFIED, "all losses are equal, so nothing tells the terms apart"
    return None


def _judged(points: SortedPoints, best: Array, huber: float) -> LawFit:
    """The fit at the minimum `best` (p,), or what speaks against it."""
    problem, law = points.problem, points.problem.law
    coefficients = best[: len(law.coefficients)]
    coefficients[coefficients < ZERO * coefficients.max()] = 0.0
    residuals = problem.residuals(best[None, :], points.log_loss)[0]
    status, message, known = verdict(problem, best, residuals, points.weights)
    if status is FitStatus.NOT_IDENTIFIED:
        return _fit(points, status, message, huber=huber)
    raw = raw_parameters(problem, best[None, :], points.log_unit)[0]
    unsorted = np.empty(len(residuals))
    unsorted[points.order] = residuals
    values = np.where(known, raw, np.nan)
    return _fit(points, status, message, huber=huber, values=values, residuals=unsorted, best=best)


def _fit(
    points: SortedPoints,
    status: FitStatus,
    message: str,
    *,
    huber: float = float("nan"),
    values: Array | None = None,
    residuals: Array | None = None,
    best: Array | None = None,
) -> LawFit:
    law, nothing = points.problem.law, np.full(len(points.problem.law.parameters), np.nan)
    return LawFit(
        law=law,
        status=status,
        message=message,
        values=dict(zip(law.parameters, (nothing if values is None else values).tolist(), strict=True)),
        huber=huber,
        residuals=np.full(len(points.log_loss), np.nan) if residuals is None else residuals,
        points=points,
        best=nothing if best is None else best,
    )


def raw_parameters(problem: Problem, parameters: Array, log_unit: Array | float) -> Array:
    """Parameters (R, p) in raw units, the losses' unit put back."""
    raw = problem.to_raw(parameters)
    raw[:, : len(problem.law.coefficients)] *= np.exp(np.reshape(log_unit, (-1, 1)))
    return raw
