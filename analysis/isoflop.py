"""IsoFLOP curves: a parabola a budget, its vertex, and power laws through the vertices.

Per model and budget, loss is a quadratic in ln(mean recurrence), and another in ln(tokens); the vertices are
mu_rec*(C) and D*(C) (Parcae section 5, figures 4 and 5; approach 2 of Hoffmann et al. arXiv 2203.15556).
A vertex is an optimum only when both curves open upward, beyond their noise, and the vertex in mean
recurrence, which is what a grid samples, lies within the sampled range; tokens follow from it, and a vertex
in tokens that lies outside theirs is kept with a warning. Parabolas are biased when a grid is off-centre
(Czech et al. arXiv 2603.22339), which is why `analysis.frontier` has a second route to the same exponents.
Shapes: n runs, k runs of one budget, B budgets, R replicates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from analysis.fit import SAME_LOSS, Status, finite_numbers
from analysis.intervals import RESAMPLES, Interval, interval
from analysis.laws import Array, Whole
from parcae.errors import InputError

FEWEST_POINTS = 4
"""Distinct recurrences of a curve: three always lie on a parabola, whatever the truth."""
FEWEST_OPTIMA = 3
"""Optima of a power law: two always lie on one."""
NEAR_EDGE = 0.1
"""A vertex within this fraction of the sampled range (in logs) from its end is off-centre."""


class Curve(StrEnum):
    """The verdict on one budget's curve."""

    INTERIOR = "interior"
    OUTSIDE = "vertex outside the sampled range"
    DOWNWARD = "opens downward"
    FLAT = "flat"
    TOO_FEW_POINTS = "too few points"


@dataclass(frozen=True, kw_only=True, eq=False)
class Parabola:
    """loss = constant + slope (ln v - centre) + curvature (ln v - centre)^2, nats."""

    centre: float
    constant: float
    slope: float
    curvature: float

    @property
    def vertex(self) -> float:
        """The value v (not its logarithm) at the turning point."""
        return float(np.exp(self.centre - self.slope / (2 * self.curvature)))

    @property
    def minimum(self) -> float:
        """Loss at the turning point, nats."""
        return self.constant - self.slope**2 / (4 * self.curvature)

    def __call__(self, values: ArrayLike) -> Array:
        u = np.log(np.asarray(values, dtype=float)) - self.centre
        return np.asarray(self.constant + self.slope * u + self.curvature * u**2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """One budget: its vertex where that is an optimum, and a sentence where it is not."""

    flops: float
    mean_recurrence: float
    """mu_rec*(C); NaN unless interior."""
    tokens: float
    """D*(C); NaN unless interior."""
    loss: float
    """Loss at the vertex in ln(mean recurrence), nats; NaN unless interior."""
    interior: bool
    verdict: Curve
    message: str
    warnings: tuple[str, ...]
    points: int
    in_recurrence: Parabola | None
    in_tokens: Parabola | None
    left_out: tuple[int, ...]
    """Positions, in the arrays given, of runs too wild to belong to the curve."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """v*(C) = k C^exponent through the interior optima, least squares in logs."""

    exponent: Interval
    k: float
    status: Status
    message: str
    optima: int

    def __call__(self, flops: ArrayLike) -> Array:
        return np.asarray(self.k * np.asarray(flops, dtype=float) ** self.exponent.value)


@dataclass(frozen=True, kw_only=True, eq=False)
class IsoflopFit:
    optima: tuple[Optimum, ...]
    gamma_mean_recurrence: PowerLaw
    gamma_tokens: PowerLaw

    @property
    def interior(self) -> tuple[Optimum, ...]:
        return tuple(optimum for optimum in self.optima if optimum.interior)


def fit_isoflop(
    flops: ArrayLike,
    mean_recurrence: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> IsoflopFit:
    """Curves, optima and both exponents of one model, from n runs.

    The intervals resample residuals and keep every budget's recurrences, which are chosen and not drawn.
    ``InputError`` for numbers no curve can hold.
    """
    arrays = {
        "flops": finite_numbers("flops", flops),
        "mean_recurrence": finite_numbers("mean_recurrence", mean_recurrence),
        "tokens": finite_numbers("tokens", tokens),
        "loss": finite_numbers("loss", loss),
    }
    for name, values in arrays.items():
        if len(values) != len(arrays["loss"]):
            raise InputError(f"{name} has {len(values)} values but there are {len(arrays['loss'])} losses")
        if (values <= 0).any():
            raise InputError(f"{name} holds {values.min():g}; every value must be positive")
    budgets = np.unique(arrays["flops"])
    members = [np.flatnonzero(arrays["flops"] == budget) for budget in budgets]
    members = [
        at[np.lexsort((arrays["loss"][at], arrays["tokens"][at], arrays["mean_recurrence"][at]))]
        for at in members
    ]
    fitted = [
        _optimum(float(budget), at, arrays["mean_recurrence"], arrays["tokens"], arrays["loss"])
        for budget, at in zip(budgets, members, strict=True)
    ]
    kept = [
        (optimum, np.array([i for i in at if i not in optimum.left_out]))
        for optimum, at in zip(fitted, members, strict=True)
        if optimum.interior
    ]
    groups = [at for _, at in kept]
    draws = {
        name: _resampled_vertices(
            [np.log(arrays[name][at]) for at in groups],
            [arrays["loss"][at] for at in groups],
            resamples,
            seed,
        )
        for name in ("mean_recurrence", "tokens")
    }
    interior = [optimum for optimum, _ in kept]
    return IsoflopFit(
        optima=tuple(fitted),
        gamma_mean_recurrence=_power_law(
            [o.flops for o in interior],
            np.array([o.mean_recurrence for o in interior]),
            draws["mean_recurrence"],
            len(budgets),
        ),
        gamma_tokens=_power_law(
            [o.flops for o in interior],
            np.array([o.tokens for o in interior]),
            draws["tokens"],
            len(budgets),
        ),
    )


def _optimum(budget: float, at: Whole, mean_recurrence: Array, tokens: Array, loss: Array) -> Optimum:
    log_mu, log_d, losses = np.log(mean_recurrence[at]), np.log(tokens[at]), loss[at]
    wild = _wild(log_mu, losses)
    left_out = () if wild is None else (int(at[wild]),)
    if wild is not None:
        log_mu, log_d, losses = (np.delete(values, wild) for values in (log_mu, log_d, losses))

    def verdict(kind: Curve, message: str, *parabolas: Parabola) -> Optimum:
        interior = kind is Curve.INTERIOR
        warnings = [
            f"the run at mean recurrence {mean_recurrence[i]:g} (loss {loss[i]:.4g}) is far off the curve of "
            "the others and was left out of it"
            for i in left_out
        ]
        if interior:
            warnings += _edge_warnings(parabolas[0].vertex, np.exp(log_mu))
            warnings += _token_warnings(parabolas[1].vertex, np.exp(log_d))
        return Optimum(
            flops=budget,
            mean_recurrence=parabolas[0].vertex if interior else float("nan"),
            tokens=parabolas[1].vertex if interior else float("nan"),
            loss=parabolas[0].minimum if interior else float("nan"),
            interior=interior,
            verdict=kind,
            message=message,
            warnings=tuple(warnings),
            points=len(losses),
            in_recurrence=parabolas[0] if parabolas else None,
            in_tokens=parabolas[1] if parabolas else None,
            left_out=left_out,
        )

    distinct = min(len(np.unique(log_mu)), len(np.unique(log_d)))
    if distinct < FEWEST_POINTS:
        return verdict(
            Curve.TOO_FEW_POINTS,
            f"{distinct} distinct recurrence{'s' * (distinct != 1)}; a curve needs at least {FEWEST_POINTS}",
        )
    if np.ptp(losses) < SAME_LOSS * losses.mean():
        return verdict(Curve.FLAT, "all losses are equal")
    (in_mu, error_mu), (in_d, error_d) = _parabola(log_mu, losses), _parabola(log_d, losses)
    if in_mu.curvature <= 0 or in_d.curvature <= 0:
        return verdict(Curve.DOWNWARD, "the curve opens downward, so its turning point is no minimum")
    freedom = len(losses) - 3
    significant = float(stdtrit(freedom, 0.975))
    if in_mu.curvature < significant * error_mu or in_d.curvature < significant * error_d:
        return verdict(Curve.FLAT, "the curvature cannot be told from noise", in_mu, in_d)
    if not log_mu.min() <= np.log(in_mu.vertex) <= log_mu.max():
        return verdict(
            Curve.OUTSIDE,
            f"the vertex, {in_mu.vertex:.3g}, lies outside the sampled {np.exp(log_mu.min()):.3g} to "
            f"{np.exp(log_mu.max()):.3g}: extrapolated, so no optimum",
            in_mu,
            in_d,
        )
    return verdict(Curve.INTERIOR, "the vertex is inside the sampled range", in_mu, in_d)


def _parabola(logs: Array, losses: Array) -> tuple[Parabola, float]:
    """Least squares; also the standard error of the curvature (0 for a perfect fit)."""
    centre, scale = logs.mean(), np.ptp(logs)
    design = np.vander((logs - centre) / scale, 3, increasing=True)
    solution = np.linalg.lstsq(design, losses, rcond=None)[0]
    residual = losses - design @ solution
    variance = (residual**2).sum() / max(len(losses) - 3, 1)
    error = np.sqrt(variance * np.linalg.inv(design.T @ design)[2, 2]) / scale**2
    parabola = Parabola(
        centre=float(centre),
        constant=float(solution[0]),
        slope=float(solution[1] / scale),
        curvature=float(solution[2] / scale**2),
    )
    return parabola, float(error)


def _wild(logs: Array, losses: Array) -> int | None:
    """The one run that cannot belong to its curve: far off, both by the others' scatter and their range.

    An externally studentised residual beyond the 0.1 % point (Bonferroni) and a distance from the others'
    parabola larger than the whole range of the others' losses; both, because a smooth curve that is no
    exact parabola has small scatter. The limits are this project's assumption.
    """
    n = len(losses)
    if n < FEWEST_POINTS + 2 or len(np.unique(logs)) < FEWEST_POINTS + 1:
        return None
    limit = float(stdtrit(n - 4, 1 - 0.0005 / n))
    worst, found = 0.0, None
    for i in range(n):
        others = np.delete(np.arange(n), i)
        if len(np.unique(logs[others])) < FEWEST_POINTS:
            continue
        parabola, _ = _parabola(logs[others], losses[others])
        distance = abs(losses[i] - float(parabola(np.exp(logs[i]))))
        scatter = np.sqrt(((parabola(np.exp(logs[others])) - losses[others]) ** 2).sum() / (n - 4))
        reach = np.ptp(losses[others])
        if distance > max(limit * scatter * 2, reach) and distance > worst:
            worst, found = distance, i
    return found


def _edge_warnings(vertex: float, sampled: Array) -> list[str]:
    low, high = np.log(sampled.min()), np.log(sampled.max())
    place = (np.log(vertex) - low) / (high - low)
    if NEAR_EDGE <= place <= 1 - NEAR_EDGE:
        return []
    end = sampled.min() if place < 0.5 else sampled.max()
    return [f"the vertex {vertex:.3g} is close to the end of the sampled range, {end:g}: off-centre"]


def _token_warnings(vertex: float, sampled: Array) -> list[str]:
    if sampled.min() <= vertex <= sampled.max():
        return []
    return [
        f"the vertex in tokens, {vertex:.3g}, is extrapolated: {sampled.min():.3g} to {sampled.max():.3g} "
        "were sampled"
    ]


def _resampled_vertices(logs: Sequence[Array], losses: Sequence[Array], resamples: int, seed: int) -> Array:
    """ln of each curve's vertex in each replicate (R, B); NaN where a replicate opens downward.

    Residuals of all curves are scaled by their leverage, pooled and redrawn; each replicate is scaled by
    sqrt(freedom / chi-square), because the noise is itself estimated from few points.
    """
    if not logs:
        return np.empty((resamples, 0))
    designs, pool, freedom = [], [], 0
    for x, y in zip(logs, losses, strict=True):
        centre, scale = x.mean(), np.ptp(x)
        design = np.vander((x - centre) / scale, 3, increasing=True)
        solve = np.linalg.pinv(design)
        fitted = design @ (solve @ y)
        leverage = np.minimum(np.einsum("ij,ji->i", design, solve), 0.99)
        pool.append((y - fitted) / np.sqrt(1 - leverage))
        designs.append((centre, scale, solve, fitted))
        freedom += len(x) - 3
    residuals = np.concatenate(pool)
    generator = np.random.default_rng(seed)
    inflation = np.sqrt(freedom / generator.chisquare(freedom, size=resamples))[:, None]
    vertices = np.full((resamples, len(logs)), np.nan)
    for column, (centre, scale, solve, fitted) in enumerate(designs):
        redrawn = residuals[generator.integers(len(residuals), size=(resamples, len(fitted)))]
        solution = (fitted + inflation * redrawn) @ solve.T
        upward = solution[:, 2] > 0
        vertices[upward, column] = centre - scale * solution[upward, 1] / (2 * solution[upward, 2])
    return vertices


def _power_law(flops: Sequence[float], values: Array, log_draws: Array, budgets: int) -> PowerLaw:
    if len(flops) < FEWEST_OPTIMA:
        return PowerLaw(
            exponent=Interval(value=float("nan"), low=float("nan"), high=float("nan")),
            k=float("nan"),
            status=Status.TOO_FEW_POINTS,
            message=f"{len(flops)} of {budgets} budget{'s' * (budgets != 1)} have an interior optimum; "
            f"a power law needs at least {FEWEST_OPTIMA}",
            optima=len(flops),
        )
    log_c = np.log(flops)
    exponent, intercept = slope(log_c, np.log(values)[None, :])
    draws, _ = slope(log_c, log_draws)
    return PowerLaw(
        exponent=interval(float(exponent[0]), draws),
        k=float(np.exp(intercept[0])),
        status=Status.CONVERGED,
        message=f"through {len(flops)} interior optima of {budgets} budgets",
        optima=len(flops),
    )


def slope(x: Array, y: Array) -> tuple[Array, Array]:
    """Slope and intercept (R,) of least-squares lines through rows y (R, B); NaN in y is left out."""
    use = np.isfinite(y)
    count = use.sum(1)
    enough = count >= 2
    safe = np.maximum(count, 1)
    filled = np.where(use, y, 0.0)
    mean_x, mean_y = (use * x).sum(1) / safe, filled.sum(1) / safe
    dx = np.where(use, x - mean_x[:, None], 0.0)
    spread = (dx**2).sum(1)
    gradient = np.where(enough, (dx * filled).sum(1) / np.where(spread > 0, spread, 1.0), np.nan)
    return gradient, mean_y - gradient * mean_x
