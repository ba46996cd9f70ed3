"""The second route to the optimum: a fitted law's own minimum along a FLOP budget.

Minimise L over the mean recurrence, with N = once + mu_rec recurrent and D = C / price(mu_rec) (Parcae
section 5). What is advised is a whole recurrence at the planner's price; the exponents are those of the
continuous optimum under the smooth price (`analysis.prediction.shape`). Intervals come from draws of every
form that cannot be distinguished from the chosen one.
Shapes: R parameter rows (the fit, or draws), B budgets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.budgets import places_of
from analysis.data.points import ModelPoints
from analysis.engine.formatting import number
from analysis.engine.intervals import NOTHING, Interval, finite, holding
from analysis.engine.mixture import Mixture
from analysis.fits.isoflop.power_law import FEWEST_OPTIMA
from analysis.laws import TRAINING, Array, Law, Mask
from analysis.prediction.exponents import Exponents, Optima
from analysis.prediction.shape import Shape

SHALLOWEST, DEEPEST = 0.05, 1e4
"""The mean recurrences looked at; below 1 only so that exponents are not cut off there."""
DEEPEST_FACTOR = 2.0
"""Mean and test recurrences up to this factor beyond the sampled ones are believed (assumption)."""
NEAR_BEST = 1e-3
"""Recurrences whose loss is within this fraction of the advised one's are as good (0.1 %)."""
LOOPED = 1.001
"""A continuous optimum up to this one says that a loop does not pay."""
NO_LOOP_PAYS = "the continuous optimum is 1, no loop, throughout its limits, so it has no interval"
_GOLDEN = (np.sqrt(5) - 1) / 2


def best_recurrence(rows: Array, shape: Shape, flops: ArrayLike, law: Law = TRAINING) -> Array:
    """mu_rec (R, B) that minimises the loss at each budget, under the smooth price; NaN where no law.

    Between ``SHALLOWEST`` and ``DEEPEST``: a grid finds the basin, golden sections and parabolas the minimum.
    """
    budgets = np.atleast_1d(np.asarray(flops, dtype=float))[None, :]

    def loss(log_mu: Array) -> Array:
        mu = np.exp(log_mu)
        return law.predict(rows, shape.data(mu, budgets / shape.flops_per_token(mu)))

    grid = np.linspace(np.log(SHALLOWEST), np.log(DEEPEST), 33)
    flat = np.zeros((len(rows), budgets.shape[1]))
    losses = np.stack([loss(flat + log_mu) for log_mu in grid])
    known = np.isfinite(losses).all(0)
    lowest = np.argmin(np.where(known, losses, 0.0), axis=0)
    low, high = grid[np.maximum(lowest - 1, 0)], grid[np.minimum(lowest + 1, len(grid) - 1)]
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(12):
        falls = at_left < at_right
        low, high = np.where(falls, low, left), np.where(falls, right, high)
        middle = np.where(falls, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        at_middle = loss(middle)
        left, right, at_left, at_right = (
            np.where(falls, middle, right),
            np.where(falls, left, middle),
            np.where(falls, at_middle, at_right),
            np.where(falls, at_left, at_middle),
        )
    best = (low + high) / 2
    for step in (1e-3, 1e-4):
        before, at, after = loss(best - step), loss(best), loss(best + step)
        bend = before - 2 * at + after
        move = np.where(bend > 0, step * (before - after) / (2 * np.where(bend > 0, bend, 1.0)), 0.0)
        best = np.clip(best + np.clip(move, low - best, high - best), grid[0], grid[-1])
    return np.where(known, np.exp(best), np.nan)


def whole_losses(law: Law, rows: Array, shape: Shape, flops: Array, recurrences: Array) -> Array:
    """Loss (R, B, k) of k whole mean recurrences for each budget at the planner's price, nats."""
    mu = np.broadcast_to(recurrences, (len(flops), len(recurrences))).ravel()
    tokens = np.repeat(flops, len(recurrences)) / shape.price(mu)
    return law.predict(rows, shape.data(mu, tokens)).reshape(len(rows), len(flops), -1)


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """The law's optimum for a budget; NaN where it lies further out than the runs support."""

    flops: float
    mean_recurrence: Interval
    """The whole recurrence advised, among those within the trained ones; limits of the optimum, rounded
    outward."""
    tokens: Interval
    loss: Interval
    """Loss at the advised recurrence for this budget, nats."""
    loss_without_loop: float
    """The law's loss at mean recurrence 1 for the same FLOPs, nats."""
    gain_percent: Interval
    """How far the advised recurrence's loss lies below that without a loop."""
    interior: bool
    """False where the continuous optimum is 1 or less (the budget does not pay for a loop), or is not
    supported."""
    continuous_recurrence: Interval
    continuous_tokens: Interval
    near_best: tuple[float, float]
    """Smallest and largest whole recurrence, trained or not, within 0.1 % of the advised one's loss."""
    beyond_trained: float
    """The best whole recurrence of all, where it is not among the trained ones; else NaN."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "flops": self.flops,
            "mean_recurrence": self.mean_recurrence.to_dict(),
            "tokens": self.tokens.to_dict(),
            "loss": self.loss.to_dict(),
            "loss_without_loop": finite(self.loss_without_loop),
            "gain_percent": self.gain_percent.to_dict(),
            "interior": self.interior,
            "continuous": {
                "mean_recurrence": self.continuous_recurrence.to_dict(),
                "tokens": self.continuous_tokens.to_dict(),
            },
            "within_0.1_percent": [finite(end) for end in self.near_best],
            "best_beyond_trained": finite(self.beyond_trained),
        }

    @property
    def supported(self) -> bool:
        return bool(np.isfinite(self.loss.value))


@dataclass(frozen=True, kw_only=True, eq=False)
class Frontier:
    form: str
    """The form whose optima these are."""
    points: tuple[FrontierPoint, ...]
    optima: Optima
    """The continuous ones; NaN where the runs do not support the estimate."""
    exponents: Exponents
    """Over the budgets asked for."""
    within: Exponents
    """Over the budgets whose continuous optimum is among the trained recurrences: a finding, not an
    extrapolation."""
    trained: tuple[float, float]
    """Smallest and largest mean recurrence of the runs."""
    warnings: tuple[str, ...]
    """A sentence for each budget whose optimum the runs do not support, or that does not pay for a loop."""

    @property
    def gamma_mean_recurrence(self) -> Interval:
        return self.exponents.on_axis

    @property
    def gamma_tokens(self) -> Interval:
        return self.exponents.tokens

    @property
    def slope_flops(self) -> tuple[float, ...]:
        """The budgets that the exponents are slopes over."""
        return self.exponents.flops


def deepest_supported(points: ModelPoints) -> float:
    """The largest mean recurrence that the runs of a model support as an optimum."""
    return DEEPEST_FACTOR * float(np.nanmax(points.mean_recurrence))


def trained_range(points: ModelPoints) -> tuple[float, float]:
    """Smallest and largest mean recurrence of the runs; a run without a loop counts as 1."""
    trained = np.where(np.isfinite(points.mean_recurrence), points.mean_recurrence, 1.0)
    return float(trained.min()), float(trained.max())


def frontier(
    mixture: Mixture | None,
    points: ModelPoints,
    shape: Shape,
    budgets: ArrayLike,
    slope_over: ArrayLike | None = None,
) -> Frontier | None:
    """Optima and exponents over `budgets` (B,) FLOPs; None without a decided form that knows a loop.

    The exponents are least-squares slopes in logs over those of `slope_over` (the budgets, unless given)
    whose optimum has a loop and is supported by the runs.
    """
    flops = np.atleast_1d(np.asarray(budgets, dtype=float))
    if mixture is None or not len(flops):
        return None
    value, draws, weights = mixture.evaluate(lambda law, rows: best_recurrence(rows, shape, flops, law))
    deepest, trained = deepest_supported(points), trained_range(points)
    supported = value <= deepest
    rows = np.concatenate([np.where(supported, value, np.nan)[None], draws])
    optima = Optima(flops=flops, on_axis=rows, tokens=flops / shape.flops_per_token(rows), weights=weights)
    looped = (value > LOOPED) & supported
    inside = looped & (value >= trained[0]) & (value <= trained[1])
    found = [
        _point(mixture, shape, float(flops[i]), rows[:, i], weights, trained, deepest)
        if supported[i]
        else _unsupported_point(mixture, shape, float(flops[i]))
        for i in range(len(flops))
    ]
    flat = [f"{p.flops:.3g}" for p in found if p.supported and pays_for_none(p.continuous_recurrence)]
    return Frontier(
        form=mixture.law.name,
        points=tuple(found),
        optima=optima,
        exponents=optima.exponents(flops[_used(flops, looped, slope_over)].tolist()),
        within=optima.exponents(flops[inside].tolist()),
        trained=trained,
        warnings=(
            *(
                f"{flops[i]:.3g} FLOPs: the {mixture.law.name} law puts the best mean recurrence at "
                f"{value[i]:.3g}, but the runs support up to {deepest:g}, so no optimum"
                for i in np.flatnonzero(~supported)
            ),
            *([f"{', '.join(flat)} FLOPs: {NO_LOOP_PAYS}"] if flat else []),
        ),
    )


def _used(flops: Array, inside: Mask, slope_over: ArrayLike | None) -> Mask:
    """Budgets of the exponents: the given ones with an optimum, or all with one if those are too few."""
    if slope_over is not None:
        asked = np.isin(np.arange(len(flops)), places_of(slope_over, flops)) & inside
        if asked.sum() >= FEWEST_OPTIMA:
            return asked
    return inside


def _point(
    mixture: Mixture,
    shape: Shape,
    flops: float,
    optima: Array,
    weights: Array,
    trained: tuple[float, float],
    deepest: float,
) -> FrontierPoint:
    continuous = at_least_one(holding(float(optima[0]), optima[1:], weights))
    advised, near_best, anywhere = advice(mixture, shape, flops, trained, deepest)
    price = float(shape.price(advised))
    return FrontierPoint(
        flops=flops,
        mean_recurrence=outward(advised, continuous),
        tokens=whole_tokens(flops, shape, advised, continuous),
        loss=loss_at(mixture, shape, advised, flops / price),
        loss_without_loop=_without_loop(mixture, shape, flops),
        gain_percent=_gain(mixture, shape, flops, advised),
        interior=bool(optima[0] > LOOPED),
        continuous_recurrence=continuous,
        continuous_tokens=tokens_of(flops, shape, continuous),
        near_best=near_best,
        beyond_trained=anywhere if anywhere != advised else float("nan"),
    )


def at_least_one(optimum: Interval) -> Interval:
    """A continuous optimum as a mean recurrence, which is 1 without a loop; none of its limits is below."""
    value, low, high = (float(np.maximum(v, 1.0)) for v in (optimum.value, optimum.low, optimum.high))
    if not low < high:
        low = high = float("nan")
    return Interval(value=value, low=low, high=high)


def pays_for_none(continuous: Interval) -> bool:
    """Whether the optimum has no interval because its limits are 1 too."""
    return continuous.value == 1 and not np.isfinite(continuous.low)


def tokens_of(flops: float, shape: Shape, continuous: Interval) -> Interval:
    """What the budget buys at a continuous optimum and at its limits."""
    value, high, low = (
        flops / float(shape.flops_per_token(m)) for m in (continuous.value, continuous.low, continuous.high)
    )
    return Interval(value=value, low=low, high=high)


def advice(
    mixture: Mixture, shape: Shape, flops: float, within: tuple[float, float], deepest: float
) -> tuple[float, tuple[float, float], float]:
    """The best whole recurrence `within` limits, the range of all, up to `deepest`, whose loss is within
    0.1 % of its own, and the best of all; each at the planner's price."""
    recurrences = np.arange(1.0, max(np.floor(deepest), np.ceil(within[1])) + 1)
    losses = whole_losses(mixture.law, mixture.vector, shape, np.array([flops]), recurrences)[0, 0]
    allowed = (recurrences >= np.ceil(within[0])) & (recurrences <= np.floor(within[1]))
    if not allowed.any():  # fractional ones alone were trained
        allowed = recurrences == max(np.round(np.mean(within)), 1.0)
    best = int(np.argmin(np.where(allowed, losses, np.inf)))
    near = np.flatnonzero(np.abs(losses / losses[best] - 1) <= NEAR_BEST)
    # an odd recurrence costs more than its neighbours, so a gap of one does not end the range
    parts = np.split(near, np.flatnonzero(np.diff(near) > 2) + 1)
    around = recurrences[next(part for part in parts if best in part)]
    return (
        float(recurrences[best]),
        (float(around[0]), float(around[-1])),
        float(recurrences[np.argmin(losses)]),
    )


def untrained(ends: tuple[float, float], trained: tuple[float, float]) -> str:
    """Which of the whole recurrences from one end to the other were not trained; empty if none."""
    low, high = ends
    sides = [(low, min(high, np.ceil(trained[0]) - 1)), (max(low, np.floor(trained[1]) + 1), high)]
    beyond = [number(a) if a == b else f"{a:g} to {b:g}" for a, b in sides if a <= b]
    return f"{' and '.join(beyond)} not trained" if beyond else ""


def outward(advised: float, continuous: Interval) -> Interval:
    """The advised whole recurrence, with the continuous optimum's limits rounded outward.

    They reach as far as the advised one, which is the nearest trained where the optimum is not.
    """
    if not np.isfinite(continuous.low):
        return Interval(value=advised, low=float("nan"), high=float("nan"))
    low, high = float(np.floor(continuous.low)), float(np.ceil(continuous.high))
    return Interval(value=advised, low=min(low, advised), high=max(high, advised))


def whole_tokens(flops: float, shape: Shape, advised: float, continuous: Interval) -> Interval:
    """Tokens of the advised recurrence, and of the limits of the optimum."""
    limits = outward(advised, continuous)
    low, high = (flops / float(shape.price(m)) for m in (limits.high, limits.low))
    return Interval(value=flops / float(shape.price(advised)), low=low, high=high)


def loss_at(mixture: Mixture, shape: Shape, mean_recurrence: float, tokens: float) -> Interval:
    """The loss of all forms together at one mean recurrence and tokens, nats."""
    at = shape.data(np.array([mean_recurrence]), np.array([tokens]))
    return mixture.intervals(lambda law, rows: law.predict(rows, at))[0]


def _without_loop(mixture: Mixture, shape: Shape, flops: float) -> float:
    one = np.array([1.0])
    return float(whole_losses(mixture.law, mixture.vector, shape, np.array([flops]), one)[0, 0, 0])


def _gain(mixture: Mixture, shape: Shape, flops: float, advised: float) -> Interval:
    both = np.array([1.0, advised])

    def percent(law: Law, rows: Array) -> Array:
        losses = whole_losses(law, rows, shape, np.array([flops]), both)[:, 0]
        return np.asarray(100 * (1 - losses[:, 1:] / losses[:, :1]))

    return mixture.intervals(percent)[0]


def _unsupported_point(mixture: Mixture, shape: Shape, flops: float) -> FrontierPoint:
    return FrontierPoint(
        flops=flops,
        mean_recurrence=NOTHING,
        tokens=NOTHING,
        loss=NOTHING,
        loss_without_loop=_without_loop(mixture, shape, flops),
        gain_percent=NOTHING,
        interior=False,
        continuous_recurrence=NOTHING,
        continuous_tokens=NOTHING,
        near_best=(float("nan"), float("nan")),
        beyond_trained=float("nan"),
    )
