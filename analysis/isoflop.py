"""IsoFLOP curves: a parabola a budget, its vertex, and power laws through the vertices.

Per model and budget, loss is a quadratic in ln(mean recurrence), and another in ln(tokens); the vertices are
mu_rec*(C) and D*(C) (Parcae section 5, figures 4 and 5; approach 2 of Hoffmann et al. arXiv 2203.15556).
A vertex is an optimum only when the curve in mean recurrence, which is what a grid samples, opens upward
beyond its noise (pooled over budgets) and its vertex lies within the sampled range; tokens follow from it,
and a vertex in tokens that lies a little outside theirs is kept with a warning. Parabolas are biased when a
grid is off-centre (Czech et al. arXiv 2603.22339), which is why `analysis.frontier` has a second route.
Shapes: n runs, k runs of one budget, B budgets, R replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from analysis.fit import SAME_LOSS
from analysis.inputs import LARGEST_LOSS, positive_numbers, same_length
from analysis.intervals import RESAMPLES
from analysis.laws import Array, Whole
from analysis.powerlaw import PowerLaw, power_law

FEWEST_POINTS = 4
"""Distinct recurrences of a curve: three always lie on a parabola, whatever the truth."""
NEAR_EDGE = 0.1
"""A vertex within this fraction of the sampled range (in logs) from its end is off-centre."""

FURTHEST = 0.5
"""A vertex this far beyond the sampled range, in units of it (in logs), only says that it lies beyond."""


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
    def log_vertex(self) -> float:
        """ln v at the turning point."""
        return self.centre - self.slope / (2 * self.curvature)

    @property
    def vertex(self) -> float:
        """The value v at the turning point; infinite where that is too far out for a float."""
        return float(np.exp(min(self.log_vertex, 700.0)))

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
        "flops": positive_numbers("flops", flops),
        "mean_recurrence": positive_numbers("mean_recurrence", mean_recurrence),
        "loss": positive_numbers("loss", loss, largest=LARGEST_LOSS),
    }
    if tokens is not None:
        arrays["tokens"] = positive_numbers("tokens", tokens)
    for name, values in arrays.items():
        same_length(name, values, arrays["loss"])
    budgets = np.unique(arrays["flops"])
    curves = [_curve(float(budget), arrays) for budget in budgets]
    variances = [_variance(curve) for curve in curves]
    curves = [
        _without_wild(curve, _noise(variances[:i] + variances[i + 1 :] or variances))
        for i, curve in enumerate(curves)
    ]
    noise = _noise([_variance(curve) for curve in curves])
    optima = [_optimum(curve, noise) for curve in curves]
    kept = [(o, c) for o, c in zip(optima, curves, strict=True) if o.interior]
    with_tokens = [(o, c) for o, c in kept if np.isfinite(o.tokens)]
    return IsoflopFit(
        optima=tuple(optima),
        gamma_mean_recurrence=power_law(
            "mean recurrence",
            [o.flops for o, _ in kept],
            [o.mean_recurrence for o, _ in kept],
            _resampled_vertices([(c.log_mu, c.losses) for _, c in kept], resamples, seed),
            len(budgets),
        ),
        gamma_tokens=power_law(
            "tokens",
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
    """One budget's runs, exact copies and the wild one taken out."""

    flops: float
    at: Whole
    """Positions in the arrays given."""
    log_mu: Array
    log_d: Array | None
    losses: Array
    left_out: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def distinct(self) -> int:
        return len(np.unique(self.log_mu))


def _curve(budget: float, arrays: Mapping[str, Array]) -> _Points:
    at = np.flatnonzero(arrays["flops"] == budget)
    rows = np.stack([arrays["mean_recurrence"][at], arrays["loss"][at]], axis=1)
    at = at[np.unique(rows, axis=0, return_index=True)[1]]
    return _Points(
        flops=budget,
        at=at,
        log_mu=np.log(arrays["mean_recurrence"][at]),
        log_d=np.log(arrays["tokens"][at]) if "tokens" in arrays else None,
        losses=arrays["loss"][at],
    )


def _variance(curve: _Points) -> tuple[float, int]:
    """Variance about the parabola and its degrees of freedom, 0 for too few points.

    Scaled so that its median is the variance of the noise: the median of a chi-square of k degrees is about
    k (1 - 2 / 9k)^3 (Wilson and Hilferty 1931).
    """
    if curve.distinct < FEWEST_POINTS:
        return float("nan"), 0
    freedom = len(curve.losses) - 3
    parabola = _parabola(curve.log_mu, curve.losses)
    squares = float(((parabola(np.exp(curve.log_mu)) - curve.losses) ** 2).sum())
    return squares / (freedom * (1 - 2 / (9 * freedom)) ** 3), freedom


def _noise(variances: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """Standard deviation about the parabolas and its degrees of freedom, by the median over budgets."""
    known = [variance for variance, freedom in variances if freedom]
    total = sum(freedom for _, freedom in variances)
    return (float(np.sqrt(np.median(known))), total) if known else (float("nan"), 0)


def _without_wild(curve: _Points, noise: tuple[float, int]) -> _Points:
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
        logs, losses = np.delete(curve.log_mu, i), np.delete(curve.losses, i)
        if len(np.unique(logs)) >= FEWEST_POINTS:
            squares[i] = ((_parabola(logs, losses)(np.exp(logs)) - losses) ** 2).sum()
    found = int(np.argmin(squares))
    logs, losses = np.delete(curve.log_mu, found), np.delete(curve.losses, found)
    distance = abs(curve.losses[found] - float(_parabola(logs, losses)(np.exp(curve.log_mu[found]))))
    limit = float(stdtrit(freedom, 1 - 0.0005 / n))
    if distance <= max(
        float(np.ptp(losses)), limit * deviation * _prediction_error(logs, curve.log_mu[found])
    ):
        return curve
    kept = np.arange(n) != found
    return _Points(
        flops=curve.flops,
        at=curve.at[kept],
        log_mu=curve.log_mu[kept],
        log_d=curve.log_d[kept] if curve.log_d is not None else None,
        losses=curve.losses[kept],
        left_out=(int(curve.at[found]),),
        warnings=(
            f"the run at mean recurrence {np.exp(curve.log_mu[found]):g} (loss {curve.losses[found]:.4g}) is "
            "far off the curve of the others and was left out of it",
        ),
    )


def _prediction_error(logs: Array, at: float) -> float:
    """Standard error of a new loss at `at` under a parabola through `logs`, for noise of deviation 1."""
    scale = np.ptp(logs)
    design = np.vander((logs - logs.mean()) / scale, 3, increasing=True)
    place = np.vander(np.atleast_1d((at - logs.mean()) / scale), 3, increasing=True)[0]
    return float(np.sqrt(1 + place @ np.linalg.inv(design.T @ design) @ place))


def _optimum(curve: _Points, noise: tuple[float, int]) -> Optimum:
    in_mu = _parabola(curve.log_mu, curve.losses) if curve.distinct >= FEWEST_POINTS else None
    kind, message = _verdict(curve, in_mu, noise)
    interior = kind is Curve.INTERIOR and in_mu is not None
    warnings, in_d, tokens = [*curve.warnings], None, float("nan")
    if in_mu is not None and curve.log_d is not None and len(np.unique(curve.log_d)) >= FEWEST_POINTS:
        in_d = _parabola(curve.log_d, curve.losses)
    if in_mu is not None and interior:
        warnings += _edge_warnings(in_mu.vertex, np.exp(curve.log_mu), curve.losses)
        if in_d is not None and curve.log_d is not None:
            tokens, remarks = _token_vertex(in_d, curve.log_d)
            warnings += remarks
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
    if not low <= parabola.log_vertex <= high:
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


def _edge_warnings(vertex: float, sampled: Array, losses: Array) -> list[str]:
    low, high = np.log(sampled.min()), np.log(sampled.max())
    place = (np.log(vertex) - low) / (high - low)
    if NEAR_EDGE <= place <= 1 - NEAR_EDGE:
        return []
    end = sampled.min() if place < 0.5 else sampled.max()
    lowest = " and the run of lowest loss" if sampled[np.argmin(losses)] == end else ""
    return [f"off-centre: the vertex {vertex:.3g} is close to {end:g}, the end of the sampled range{lowest}"]


def _token_vertex(parabola: Parabola, logs: Array) -> tuple[float, list[str]]:
    """D*, kept up to ``FURTHEST`` beyond the sampled tokens with a warning, and NaN further out."""
    low, high = float(logs.min()), float(logs.max())
    sampled = f"{np.exp(low):.3g} to {np.exp(high):.3g} were sampled"
    if parabola.curvature <= 0:
        return float("nan"), ["the curve in tokens opens downward, so there are no best tokens"]
    beyond = max(low - parabola.log_vertex, parabola.log_vertex - high, 0.0)
    if beyond > FURTHEST * (high - low):
        return float("nan"), [f"the vertex in tokens lies far out, so there are no best tokens: {sampled}"]
    if beyond > 0:
        return parabola.vertex, [f"the vertex in tokens, {parabola.vertex:.3g}, is extrapolated: {sampled}"]
    return parabola.vertex, []


def _resampled_vertices(curves: Sequence[tuple[Array, Array]], resamples: int, seed: int) -> Array:
    """ln of each curve's vertex in each replicate (R, B); NaN where a replicate opens downward.

    A vertex further out than ``FURTHEST`` counts as lying there, so that an almost flat replicate, whose
    vertex may be anywhere, does not decide the interval.

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
        furthest = FURTHEST * scale
        designs.append((centre, scale, solve, fitted, (x.min() - furthest, x.max() + furthest)))
        freedom += len(x) - 3
    residuals = np.concatenate(pool)
    generator = np.random.default_rng(seed)
    inflation = np.sqrt(freedom / generator.chisquare(freedom, size=resamples))[:, None]
    vertices = np.full((resamples, len(curves)), np.nan)
    for column, (centre, scale, solve, fitted, limits) in enumerate(designs):
        redrawn = residuals[generator.integers(len(residuals), size=(resamples, len(fitted)))]
        solution = (fitted + inflation * redrawn) @ solve.T
        upward = solution[:, 2] > 0
        turning = centre - scale * solution[upward, 1] / (2 * solution[upward, 2])
        vertices[upward, column] = np.clip(turning, *limits)
    return vertices
