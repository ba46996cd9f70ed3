"""The second route to the optimum: the training law's own minimum along a FLOP budget.

Minimise E + X N^-x + Y D^-y over the mean recurrence, with N = once + mu_rec recurrent and
D = C / cost(mu_rec) (Parcae section 5). The cost per token is a straight line in mu_rec when
mu_bwd = mu_rec / 2, which agrees with the trained ceil(mu_rec / 2) at every even mean recurrence. Along the
budget the loss has one minimum.
Shapes: R parameter rows (the fit, or its replicates), B budgets.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.dataset import ModelPoints
from analysis.intervals import NOTHING, Interval, interval
from analysis.laws import Array
from analysis.powerlaw import slope
from analysis.training import TrainingStudy
from parcae.flops import Convention, flops_per_token
from parcae.presets import PRESETS

DEEPEST = 1e4
"""The largest mean recurrence looked at."""
DEEPEST_FACTOR = 2.0
"""Mean and test recurrences up to this factor beyond the sampled ones are believed (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a mean recurrence makes of a model: its effective parameters and its training FLOPs a token."""

    once_parameters: float
    recurrent_parameters: float
    once_flops: float
    recurrent_flops: float
    """FLOPs per token and unit of mean recurrence."""

    def parameters(self, mean_recurrence: ArrayLike) -> Array:
        return np.asarray(self.once_parameters + np.asarray(mean_recurrence) * self.recurrent_parameters)

    def flops_per_token(self, mean_recurrence: ArrayLike) -> Array:
        return np.asarray(self.once_flops + np.asarray(mean_recurrence) * self.recurrent_flops)


def shape_of(points: ModelPoints) -> Shape | None:
    """The model's shape; None when its runs are of several shapes or have no loop.

    A preset's cost is `parcae.flops`'s own; another's is the line through FLOPs / tokens of its runs.
    """
    points = points.select(points.sized)
    once, recurrent = np.unique(points.once_parameters), np.unique(points.recurrent_parameters)
    if len(once) != 1 or len(recurrent) != 1 or not np.isfinite(once[0]) or not recurrent[0] > 0:
        return None
    if points.model in PRESETS and len(points.conventions) == 1:
        model, convention = PRESETS[points.model].model, Convention(points.conventions[0])
        at = [
            flops_per_token(model, mean_recurrence=m, backward_depth=m / 2, convention=convention)
            for m in (0.0, 1.0)
        ]
        costs = (at[0], at[1] - at[0])
    else:
        grid = points.on_grid & points.sized
        if len(np.unique(points.mean_recurrence[grid])) < 2:
            return None
        line = np.polyfit(points.mean_recurrence[grid], (points.flops / points.tokens)[grid], 1)
        costs = (float(line[1]), float(line[0]))
    if not (costs[0] > 0 and costs[1] > 0):
        return None
    return Shape(
        once_parameters=float(once[0]),
        recurrent_parameters=float(recurrent[0]),
        once_flops=costs[0],
        recurrent_flops=costs[1],
    )


def best_recurrence(parameters: Array, shape: Shape, flops: ArrayLike) -> Array:
    """mu_rec (R, B) that minimises the loss at each budget, between 1 and ``DEEPEST``; NaN where no law.

    Bisects the sign of d loss / d mu_rec, which changes once: gains fall as N^-(x+1), costs as f^(y-1).
    """
    budgets = np.atleast_1d(np.asarray(flops, dtype=float))[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        _, log_X, log_Y = (np.log(parameters[:, i])[:, None] for i in range(3))
        x, y = parameters[:, 3][:, None], parameters[:, 4][:, None]
        log_ratio = (
            log_X
            + np.log(x * shape.recurrent_parameters)
            - log_Y
            - np.log(y * shape.recurrent_flops)
            + y * np.log(budgets)
        )
    low = np.zeros(log_ratio.shape)
    high = np.full(log_ratio.shape, np.log(DEEPEST))
    for _ in range(50):
        middle = (low + high) / 2
        mean_recurrence = np.exp(middle)
        gain = (
            log_ratio
            - (x + 1) * np.log(shape.parameters(mean_recurrence))
            - (y - 1) * np.log(shape.flops_per_token(mean_recurrence))
        )
        low, high = np.where(gain > 0, middle, low), np.where(gain > 0, high, middle)
    return np.where(np.isfinite(log_ratio), np.exp((low + high) / 2), np.nan)


@dataclass(frozen=True, kw_only=True)
class FrontierPoint:
    """The law's optimum for a budget; NaN where it lies further out than the runs support."""

    flops: float
    mean_recurrence: Interval
    tokens: Interval
    loss: Interval
    loss_without_loop: float
    """The law's loss at mean recurrence 1 for the same FLOPs, nats."""
    interior: bool
    """False where the best recurrence is 1 (the budget does not pay for a loop), or is not supported."""

    @property
    def supported(self) -> bool:
        return bool(np.isfinite(self.loss.value))


@dataclass(frozen=True, kw_only=True)
class Frontier:
    points: tuple[FrontierPoint, ...]
    gamma_mean_recurrence: Interval
    gamma_tokens: Interval
    warnings: tuple[str, ...]
    """A sentence for each budget whose optimum the runs do not support."""


def deepest_supported(points: ModelPoints) -> float:
    """The largest mean recurrence that the runs of a model support as an optimum."""
    return DEEPEST_FACTOR * float(np.nanmax(points.mean_recurrence))


def frontier(study: TrainingStudy, shape: Shape, budgets: ArrayLike) -> Frontier | None:
    """Optima and exponents over `budgets` (B,) FLOPs; None when the law is not decided.

    The exponents are least-squares slopes in logs through the budgets whose optimum has a loop and is
    supported by the runs, as the parabolas' are.
    """
    flops = np.atleast_1d(np.asarray(budgets, dtype=float))
    if not study.law.usable or not len(flops):
        return None
    rows = np.concatenate([study.law.fit.vector, study.draws])
    mean_recurrence = best_recurrence(rows, shape, flops)
    tokens = flops / shape.flops_per_token(mean_recurrence)
    loss = losses_at(rows, shape.parameters(mean_recurrence), tokens)
    flat = losses_at(
        study.law.fit.vector,
        np.full((1, len(flops)), shape.parameters(1.0)),
        (flops / shape.flops_per_token(1.0))[None, :],
    )[0]
    interior = (mean_recurrence > 1.001) & (mean_recurrence < DEEPEST / 1.001)
    deepest = deepest_supported(study.points)
    supported = mean_recurrence[0] <= deepest
    inside = interior[0] & supported
    gammas = []
    for values in (mean_recurrence, tokens):
        logs = np.where(interior, np.log(values), np.nan)[:, inside]
        slopes = slope(np.log(flops[inside]), logs)[0] if inside.sum() >= 2 else np.full(len(rows), np.nan)
        gammas.append(interval(float(slopes[0]), slopes[1:]))

    def optimum(values: Array, i: int) -> Interval:
        return interval(float(values[0, i]), values[1:, i]) if supported[i] else NOTHING

    return Frontier(
        points=tuple(
            FrontierPoint(
                flops=float(flops[i]),
                mean_recurrence=optimum(mean_recurrence, i),
                tokens=optimum(tokens, i),
                loss=optimum(loss, i),
                loss_without_loop=float(flat[i]),
                interior=bool(inside[i]),
            )
            for i in range(len(flops))
        ),
        gamma_mean_recurrence=gammas[0],
        gamma_tokens=gammas[1],
        warnings=tuple(
            f"{flops[i]:.3g} FLOPs: the training law puts the best mean recurrence at "
            f"{mean_recurrence[0, i]:.3g}, but the runs support up to {deepest:g}, so no optimum"
            for i in np.flatnonzero(~supported)
        ),
    )


def losses_at(rows: Array, parameters: Array, tokens: Array) -> Array:
    """Loss (R, B) of each row of law parameters (R, 5: E, X, Y, x, y) at its own N and D (R, B)."""
    floor, size, text, x, y = (rows[:, i, None] for i in range(5))
    with np.errstate(divide="ignore"):
        log_size, log_text = np.log(size), np.log(text)
    return np.asarray(
        floor + np.exp(log_size - x * np.log(parameters)) + np.exp(log_text - y * np.log(tokens))
    )
