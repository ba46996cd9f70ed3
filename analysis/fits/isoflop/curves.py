"""The curves of an isoFLOP study: which runs are of one budget, and which of them belong to its curve.

A curve runs along one axis: mean recurrence, tokens, or the parameters of models without a loop. Runs of one
budget spent nearly the same FLOPs; where their losses show it, each is brought to the budget's own FLOPs.
Shapes: n runs, k runs of one budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from analysis.data.axis import Axis
from analysis.data.budgets import grouped_budgets
from analysis.data.replicates import cells_of, copies
from analysis.fits.isoflop.parabola import parabola, prediction_error, squares_about
from analysis.laws import Array, Whole

FEWEST_POINTS = 4
"""Distinct values of a curve: three always lie on a parabola, whatever the truth."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One budget's runs, copies and the wild one taken out."""

    flops: float
    axis: Axis
    at: Whole
    """Places (k,) of the runs among those that are no copies."""
    position: Whole
    """Their positions (k,) in the arrays given."""
    log_v: Array
    """ln of the axis."""
    log_d: Array | None
    """ln tokens; None where they are unknown, or the axis."""
    losses: Array
    left_out: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def distinct(self) -> int:
        return len(np.unique(self.log_v))

    def without(self, position: int, why: str) -> "Curve":
        kept = np.arange(len(self.at)) != position
        return replace(
            self,
            at=self.at[kept],
            position=self.position[kept],
            log_v=self.log_v[kept],
            log_d=None if self.log_d is None else self.log_d[kept],
            losses=self.losses[kept],
            left_out=(*self.left_out, int(self.position[position])),
            warnings=(*self.warnings, why),
        )


def without_copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The runs that repeat no other, sorted, with their `position` (m,) in the order given."""
    budgets, nothing = grouped_budgets(arrays["flops"]), np.full(len(arrays["flops"]), np.nan)
    known = [arrays.get(name, nothing) for name in ("mean_recurrence", "parameters", "tokens")]
    columns = [arrays["flops"], *known, arrays["loss"], arrays["seeds"]]
    rows = np.nan_to_num(np.stack(columns, axis=1), nan=-1.0)
    identical = np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
    repeated = copies(identical, cells_of(budgets, *known), np.isfinite(arrays["seeds"]))
    order = np.lexsort(rows.T[::-1])
    order = order[~repeated[order]]
    return {**{name: values[order] for name, values in arrays.items()}, "position": order.astype(float)}


def curves_of(arrays: Mapping[str, Array], axis: Axis) -> list[Curve]:
    """A curve for each budget, in ascending order.

    `arrays` are those of ``without_copies``: flops, loss, position, and what is known of mean_recurrence,
    tokens and parameters.
    """
    budgets = grouped_budgets(arrays["flops"])
    values = arrays[axis.column]
    tokens = arrays.get("tokens") if axis is not Axis.TOKENS else None
    curves = []
    for budget in np.unique(budgets):
        at = np.flatnonzero(budgets == budget)
        at = at[np.lexsort((arrays["loss"][at], values[at]))]
        curves.append(
            Curve(
                flops=float(budget),
                axis=axis,
                at=at,
                position=arrays["position"][at].astype(np.int64),
                log_v=np.log(values[at]),
                log_d=None if tokens is None else np.log(tokens[at]),
                losses=arrays["loss"][at],
            )
        )
    curves = _at_their_budgets(curves, arrays["flops"])
    variances = [variance(curve) for curve in curves]
    return [
        _without_wild(curve, pooled_noise(variances[:i] + variances[i + 1 :] or variances))
        for i, curve in enumerate(curves)
    ]


def variance(curve: Curve) -> tuple[float, int]:
    """Variance about the parabola and its degrees of freedom, 0 for too few points.

    Scaled so that its median is the variance of the noise: the median of a chi-square of k degrees is about
    k (1 - 2 / 9k)^3 (Wilson and Hilferty 1931).
    """
    if curve.distinct < FEWEST_POINTS:
        return float("nan"), 0
    freedom = len(curve.losses) - 3
    squares = squares_about(curve.log_v, curve.losses)
    return squares / (freedom * (1 - 2 / (9 * freedom)) ** 3), freedom


def relative_squares(curves: Sequence[Curve]) -> tuple[float, int]:
    """Summed squares about the parabolas, over the squared losses, and their degrees of freedom."""
    shown = [curve for curve in curves if curve.distinct >= FEWEST_POINTS]
    squares = [squares_about(curve.log_v, curve.losses) / curve.losses.mean() ** 2 for curve in shown]
    return float(sum(squares)), sum(len(curve.losses) - 3 for curve in shown)


def pooled_noise(variances: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """Standard deviation about the parabolas and its degrees of freedom, by the median over budgets."""
    known = [variance for variance, freedom in variances if freedom]
    total = sum(freedom for _, freedom in variances)
    return (float(np.sqrt(np.median(known))), total) if known else (float("nan"), 0)


def _at_their_budgets(curves: list[Curve], flops: Array) -> list[Curve]:
    """The curves with every run brought to its budget along the slope of loss between budgets.

    FLOPs that were truly spent move the loss, FLOPs that are only known roughly do not: the curves are
    returned as they are unless their runs lie closer to parabolas when brought to the budget.
    """
    log_c = np.log([curve.flops for curve in curves])
    if len(curves) < 2:
        return curves
    slopes = np.gradient([curve.losses.mean() for curve in curves], log_c)
    moved = []
    for curve, log_budget, slope in zip(curves, log_c, slopes, strict=True):
        off = np.log(flops[curve.at]) - log_budget
        tokens = None if curve.log_d is None else curve.log_d - off
        values = curve.log_v - off if curve.axis is Axis.TOKENS else curve.log_v
        moved.append(replace(curve, losses=curve.losses - slope * off, log_d=tokens, log_v=values))
    before, after = (
        sum(squares_about(c.log_v, c.losses) for c in both if c.distinct >= FEWEST_POINTS)
        for both in (curves, moved)
    )
    return moved if after < before else curves


def _without_wild(curve: Curve, noise: tuple[float, int]) -> Curve:
    """The curve without the one run that cannot belong to it: off by the noise and by the others' range.

    The run is further from the others' parabola than the whole range of their losses, and than noise
    explains at the 0.1 % level (Bonferroni). `noise` comes from the other budgets. Both limits are this
    project's assumption.
    """
    n = len(curve.losses)
    deviation, freedom = noise
    if curve.distinct < FEWEST_POINTS + 1 or not freedom:
        return curve
    squares = np.full(n, np.inf)
    for i in range(n):
        logs, losses = np.delete(curve.log_v, i), np.delete(curve.losses, i)
        if len(np.unique(logs)) >= FEWEST_POINTS:
            squares[i] = squares_about(logs, losses)
    found = int(np.argmin(squares))
    logs, losses = np.delete(curve.log_v, found), np.delete(curve.losses, found)
    place = float(np.exp(curve.log_v[found]))
    distance = abs(curve.losses[found] - float(parabola(logs, losses)(place)))
    limit = float(stdtrit(freedom, 1 - 0.0005 / n)) * deviation * prediction_error(logs, curve.log_v[found])
    if distance <= max(float(np.ptp(losses)), limit):
        return curve
    return curve.without(
        found,
        f"the run at {curve.axis.words} {place:g} (loss {curve.losses[found]:.4g}) is far off the curve of "
        "the others and was left out of it",
    )
