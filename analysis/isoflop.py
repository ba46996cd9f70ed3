"""IsoFLOP curves: a parabola a budget, its vertex, and power laws through the vertices.

Per model and budget, loss is a quadratic in ln(mean recurrence), and another in ln(tokens); the vertices are
mu_rec*(C) and D*(C) (Parcae section 5, figures 4 and 5; approach 2 of Hoffmann et al. arXiv 2203.15556).
A vertex is an optimum only when the curve in mean recurrence, which is what a grid samples, opens upward
beyond its noise (pooled over budgets) and its vertex lies within the sampled range; tokens follow from it,
and a vertex in tokens that lies outside theirs is kept with a warning. Parabolas are biased when a grid is
off-centre (Czech et al. arXiv 2603.22339), which is why `analysis.frontier` has a second route.
Shapes: n runs, k runs of one budget, B budgets, R replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from analysis.fit import SAME_LOSS, Status, finite_numbers
from analysis.intervals import RESAMPLES, Interval, interval
from analysis.laws import Array
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
    """D*(C); NaN unless interior, or where tokens are unknown."""
    loss: float
    """Loss at the vertex in ln(mean recurrence), nats; NaN unless interior."""
    interior: bool
    verdict: Curve
    message: str
    warnings: tuple[str, ...]
    points: int
    in_recurrence: Parabola | None
    """None for too few points, as is the next where tokens are unknown."""
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
    tokens: ArrayLike | None,
    loss: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> IsoflopFit:
    """Curves, optima and both exponents of one model, from n runs; `tokens` None where they are unknown.

    The intervals resample residuals and keep every budget's recurrences, which are chosen and not drawn.
    ``InputError`` for numbers no curve can hold.
    """
    arrays = {
        "flops": finite_numbers("flops", flops),
        "mean_recurrence": finite_numbers("mean_recurrence", mean_recurrence),
        "loss": finite_numbers("loss", loss),
    }
    if tokens is not None:
        arrays["tokens"] = finite_numbers("tokens", tokens)
    for name, values in arrays.items():
        if len(values) != len(arrays["loss"]):
            raise InputError(f"{name} has {len(values)} values but there are {len(arrays['loss'])} losses")
        if (values <= 0).any():
            raise InputError(f"{name} holds {values.min():g}; every value must be positive")
    budgets = np.unique(arrays["flops"])
    curves = [_curve(float(budget), arrays) for budget in budgets]
    noise = _pooled_noise(curves)
    optima = [_optimum(curve, noise) for curve in curves]
    kept = [(o, c) for o, c in zip(optima, curves, strict=True) if o.interior]
    with_tokens = [(o, c) for o, c in kept if np.isfinite(o.tokens)]
    return IsoflopFit(
        optima=tuple(optima),
        gamma_mean_recurrence=_power_law(
            [o.flops for o, _ in kept],
            [o.mean_recurrence for o, _ in kept],
            _resampled_vertices([(c.log_mu, c.losses) for _, c in kept], resamples, seed),
            len(budgets),
        ),
        gamma_tokens=_power_law(
            [o.flops for o, _ in with_tokens],
            [o.tokens for o, _ in with_tokens],
            _resampled_vertices(
                [(c.log_d, c.losses) for _, c in with_tokens if c.log_d is not None], resamples, seed
            ),
            len(budgets),
        ),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Points:
    """One budget's runs, the wild one taken out."""

    flops: float
    log_mu: Array
    log_d: Array | None
    losses: Array
    left_out: tuple[int, ...]
    warnings: tuple[str, ...]

    @property
    def distinct(self) -> int:
        return len(np.unique(self.log_mu))


def _curve(budget: float, arrays: Mapping[str, Array]) -> _Points:
    at = np.flatnonzero(arrays["flops"] == budget)
    at = at[np.lexsort((arrays["loss"][at], arrays["mean_recurrence"][at]))]
    wild = _wild(np.log(arrays["mean_recurrence"][at]), arrays["loss"][at])
    left_out = () if wild is None else (int(at[wild]),)
    at = np.array([i for i in at if i not in left_out])
    return _Points(
        flops=budget,
        log_mu=np.log(arrays["mean_recurrence"][at]),
        log_d=np.log(arrays["tokens"][at]) if "tokens" in arrays else None,
        losses=arrays["loss"][at],
        left_out=left_out,
        warnings=tuple(
            f"the run at mean recurrence {arrays['mean_recurrence'][i]:g} (loss {arrays['loss'][i]:.4g}) is "
            "far off the curve of the others and was left out of it"
            for i in left_out
        ),
    )


def _pooled_noise(curves: Sequence[_Points]) -> tuple[float, int]:
    """Standard deviation about the parabolas over all budgets, and its degrees of freedom."""
    squares, freedom = 0.0, 0
    for curve in curves:
        if curve.distinct >= FEWEST_POINTS:
            parabola = _parabola(curve.log_mu, curve.losses)
            squares += float(((parabola(np.exp(curve.log_mu)) - curve.losses) ** 2).sum())
            freedom += len(curve.losses) - 3
    return float(np.sqrt(squares / max(freedom, 1))), freedom


def _optimum(curve: _Points, noise: tuple[float, int]) -> Optimum:
    in_mu = _parabola(curve.log_mu, curve.losses) if curve.distinct >= FEWEST_POINTS else None
    kind, message = _verdict(curve, in_mu, noise)
    interior = kind is Curve.INTERIOR and in_mu is not None
    warnings, in_d, tokens = [*curve.warnings], None, float("nan")
    if in_mu is not None and curve.log_d is not None and len(np.unique(curve.log_d)) >= FEWEST_POINTS:
        in_d = _parabola(curve.log_d, curve.losses)
    if in_mu is not None and interior:
        warnings += _edge_warnings(in_mu.vertex, np.exp(curve.log_mu))
        if in_d is not None and curve.log_d is not None and in_d.curvature > 0:
            tokens = in_d.vertex
            warnings += _token_warnings(tokens, np.exp(curve.log_d))
    return Optimum(
        flops=curve.flops,
        mean_recurrence=in_mu.vertex if in_mu is not None and interior else float("nan"),
        tokens=tokens,
        loss=in_mu.minimum if in_mu is not None and interior else float("nan"),
        interior=interior,
        verdict=kind,
        message=message,
        warnings=tuple(warnings),
        points=len(curve.losses),
        in_recurrence=in_mu,
        in_tokens=in_d,
        left_out=curve.left_out,
    )


def _verdict(curve: _Points, parabola: Parabola | None, noise: tuple[float, int]) -> tuple[Curve, str]:
    if parabola is None:
        return (
            Curve.TOO_FEW_POINTS,
            f"{curve.distinct} distinct recurrence{'s' * (curve.distinct != 1)}; a curve needs at least "
            f"{FEWEST_POINTS}",
        )
    if np.ptp(curve.losses) < SAME_LOSS * curve.losses.mean():
        return Curve.FLAT, "all losses are equal"
    if parabola.curvature <= 0:
        return Curve.DOWNWARD, "the curve opens downward, so its turning point is no minimum"
    deviation, freedom = noise
    if parabola.curvature < stdtrit(freedom, 0.95) * deviation * _curvature_error(curve.log_mu):
        return Curve.FLAT, "the curvature cannot be told from noise"
    low, high = curve.log_mu.min(), curve.log_mu.max()
    if not low <= np.log(parabola.vertex) <= high:
        return (
            Curve.OUTSIDE,
            f"the vertex, {parabola.vertex:.3g}, lies outside the sampled {np.exp(low):.3g} to "
            f"{np.exp(high):.3g}: extrapolated, so no optimum",
        )
    return Curve.INTERIOR, "the vertex is inside the sampled range"


def _curvature_error(logs: Array) -> float:
    """Standard error of a parabola's curvature for noise of deviation 1."""
    scale = np.ptp(logs)
    design = np.vander((logs - logs.mean()) / scale, 3, increasing=True)
    return float(np.sqrt(np.linalg.inv(design.T @ design)[2, 2])) / float(scale**2)


def _parabola(logs: Array, losses: Array) -> Parabola:
    """Least squares through points at three or more distinct `logs`."""
    centre, scale = logs.mean(), np.ptp(logs)
    design = np.vander((logs - centre) / scale, 3, increasing=True)
    solution = np.linalg.lstsq(design, losses, rcond=None)[0]
    return Parabola(
        centre=float(centre),
        constant=float(solution[0]),
        slope=float(solution[1] / scale),
        curvature=float(solution[2] / scale**2),
    )


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
        parabola = _parabola(logs[others], losses[others])
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


def _resampled_vertices(curves: Sequence[tuple[Array, Array]], resamples: int, seed: int) -> Array:
    """ln of each curve's vertex in each replicate (R, B); NaN where a replicate opens downward.

    Residuals of all curves are scaled by their leverage, pooled and redrawn; each replicate is scaled by
    sqrt(freedom / chi-square), because the noise is itself estimated from few points.
    """
    if not curves:
        return np.empty((resamples, 0))
    designs, pool, freedom = [], [], 0
    for x, y in curves:
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
    vertices = np.full((resamples, len(curves)), np.nan)
    for column, (centre, scale, solve, fitted) in enumerate(designs):
        redrawn = residuals[generator.integers(len(residuals), size=(resamples, len(fitted)))]
        solution = (fitted + inflation * redrawn) @ solve.T
        upward = solution[:, 2] > 0
        vertices[upward, column] = centre - scale * solution[upward, 1] / (2 * solution[upward, 2])
    return vertices


def _power_law(flops: Sequence[float], values: Sequence[float], log_draws: Array, budgets: int) -> PowerLaw:
    if len(flops) < FEWEST_OPTIMA:
        return PowerLaw(
            exponent=Interval(value=float("nan"), low=float("nan"), high=float("nan")),
            k=float("nan"),
            status=Status.TOO_FEW_POINTS,
            message=f"{len(flops)} of {budgets} budget{'s' * (budgets != 1)} with an interior optimum; "
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
