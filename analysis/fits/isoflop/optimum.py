"""One budget's optimum: the vertex of its curve where that is one, and a sentence where it is not.

A vertex is an optimum only when the curve along the axis opens upward beyond the noise, pooled over budgets,
and its vertex lies within the sampled range. Shapes: k runs of one budget.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import stdtrit

from analysis.data.axis import Axis
from analysis.engine.fit import SAME_LOSS
from analysis.engine.formatting import brief, number
from analysis.engine.intervals import finite
from analysis.fits.isoflop.bias import FURTHEST
from analysis.fits.isoflop.curves import FEWEST_POINTS, Curve
from analysis.fits.isoflop.exchange import Exchange
from analysis.fits.isoflop.parabola import Parabola, curvature_error, parabola
from analysis.laws import Array

NEAR_EDGE = 0.1
"""A vertex within this fraction of the sampled range (in logs) from its end is off-centre."""
NAMES = {Axis.MEAN_RECURRENCE: "recurrence", Axis.TOKENS: "number of tokens", Axis.PARAMETERS: "size"}


class CurveVerdict(StrEnum):
    """The verdict on one budget's curve."""

    INTERIOR = "interior"
    OUTSIDE = "vertex outside the sampled range"
    DOWNWARD = "opens downward"
    FLAT = "flat"
    TOO_FEW_POINTS = "too few points"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Optimum:
    """One budget: its vertex where that is an optimum, and a sentence where it is not."""

    flops: float
    mean_recurrence: float
    """mu_rec*(C); NaN unless interior and the axis."""
    parameters: float
    """N*(C); NaN unless interior and the axis."""
    tokens: float
    """D*(C) by a parabola in tokens; NaN unless interior, or where tokens are unknown."""
    tokens_tied: float
    """What the budget buys at mu_rec* or N*: C over the cost of a token there; NaN where that is unknown."""
    tokens_extrapolated: bool
    """Whether D* lies outside the tokens of the runs."""
    loss: float
    """Loss at the vertex along the axis, nats; NaN unless interior."""
    interior: bool
    verdict: CurveVerdict
    message: str
    warnings: tuple[str, ...]
    curve: Curve
    along_axis: Parabola | None
    """None for too few points, as is the next where tokens are unknown."""
    in_tokens: Parabola | None

    def __repr__(self) -> str:
        return brief(self, "flops", "mean_recurrence", "parameters", "tokens", "loss", "verdict")

    def summary(self) -> str:
        """The verdict first, then the vertex where that is an optimum, and what to beware of."""
        lines = [f"{self.flops:.3g} FLOPs: {self.verdict}: {self.message}"]
        if self.interior:
            lines.append(
                f"best {self.curve.axis.words} {number(self.on_axis)}, tokens {number(self.tokens)}, "
                f"loss {number(self.loss)}"
            )
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        return {
            "flops": self.flops,
            "mean_recurrence": finite(self.mean_recurrence),
            "parameters": finite(self.parameters),
            "tokens": finite(self.tokens),
            "tokens_extrapolated": self.tokens_extrapolated,
            "tokens_tied": finite(self.tokens_tied),
            "loss": finite(self.loss),
            "interior": self.interior,
            "verdict": self.verdict.value,
            "message": self.message,
            "warnings": list(self.warnings),
            "runs": self.points,
        }

    @property
    def on_axis(self) -> float:
        """The vertex along the axis; NaN unless interior."""
        return float(getattr(self, self.curve.axis.column))

    @property
    def points(self) -> int:
        return len(self.curve.losses)

    @property
    def left_out(self) -> tuple[int, ...]:
        """Positions, in the arrays given, of runs too wild to belong to the curve."""
        return self.curve.left_out


def optimum_of(curve: Curve, noise: tuple[float, int], prices: Exchange | None) -> Optimum:
    """The verdict on `curve`, for noise of (deviation, degrees of freedom) about the parabolas."""
    along = parabola(curve.log_v, curve.losses) if curve.distinct >= FEWEST_POINTS else None
    kind, message = _verdict(curve, along, noise)
    vertex = along.vertex if along is not None and kind is CurveVerdict.INTERIOR else float("nan")
    warnings, in_tokens = [*curve.warnings], None
    on_tokens, extrapolated = float("nan"), False
    if along is not None and curve.log_d is not None and len(np.unique(curve.log_d)) >= FEWEST_POINTS:
        in_tokens = parabola(curve.log_d, curve.losses)
    if along is not None and kind is CurveVerdict.INTERIOR:
        warnings += _edge_warnings(vertex, np.exp(curve.log_v), curve.losses)
        if in_tokens is not None and curve.log_d is not None:
            on_tokens, extrapolated, remarks = _token_vertex(in_tokens, curve.log_d)
            warnings += remarks
    if curve.axis is Axis.TOKENS:
        on_tokens = vertex
    tied = (
        curve.flops / prices.flops_per_token(np.array(vertex))
        if prices and curve.axis is not Axis.TOKENS
        else vertex
    )
    return Optimum(
        flops=curve.flops,
        mean_recurrence=vertex if curve.axis is Axis.MEAN_RECURRENCE else float("nan"),
        parameters=vertex if curve.axis is Axis.PARAMETERS else float("nan"),
        tokens=on_tokens,
        tokens_tied=float(tied) if prices else float("nan"),
        tokens_extrapolated=extrapolated,
        loss=along.minimum if along is not None and kind is CurveVerdict.INTERIOR else float("nan"),
        interior=kind is CurveVerdict.INTERIOR,
        verdict=kind,
        message=message,
        warnings=tuple(warnings),
        curve=curve,
        along_axis=along,
        in_tokens=in_tokens,
    )


def _verdict(curve: Curve, along: Parabola | None, noise: tuple[float, int]) -> tuple[CurveVerdict, str]:
    if along is None:
        return (
            CurveVerdict.TOO_FEW_POINTS,
            f"{curve.distinct} distinct {NAMES[curve.axis]}{'s' * (curve.distinct != 1)}; a curve needs at "
            f"least {FEWEST_POINTS}",
        )
    if np.ptp(curve.losses) < SAME_LOSS * curve.losses.mean():
        return CurveVerdict.FLAT, "all losses are equal"
    if along.curvature <= 0:
        return (
            CurveVerdict.DOWNWARD,
            "the curve opens downward, so its turning point is no minimum" + _culprit(curve),
        )
    if along.curvature < least_curvature(curve, noise):
        return CurveVerdict.FLAT, "the curvature is no larger than noise explains"
    low, high = curve.log_v.min(), curve.log_v.max()
    if not low <= along.log_vertex <= high:
        return (
            CurveVerdict.OUTSIDE,
            f"the vertex, {along.vertex:.3g}, lies outside the sampled {np.exp(low):.3g} to "
            f"{np.exp(high):.3g}: extrapolated, so no optimum",
        )
    return CurveVerdict.INTERIOR, "the vertex is inside the sampled range"


def least_curvature(curve: Curve, noise: tuple[float, int]) -> float:
    """The curvature that noise of (deviation, degrees of freedom) explains."""
    deviation, freedom = noise
    return float(stdtrit(freedom, 0.95) * deviation / np.sqrt(curve.weight) * curvature_error(curve.log_v))


def _culprit(curve: Curve) -> str:
    """Names the run that lies above both its neighbours; empty if there is none, or more than one."""
    values = np.unique(curve.log_v)
    losses = np.array([curve.losses[curve.log_v == value].mean() for value in values])
    above = np.flatnonzero((losses[1:-1] > losses[:-2]) & (losses[1:-1] > losses[2:])) + 1
    if len(above) != 1:
        return ""
    value, loss = float(np.exp(values[above[0]])), losses[above[0]]
    return f"; the run at {curve.axis.words} {value:.3g} (loss {loss:.4g}) lies above both its neighbours"


def _edge_warnings(vertex: float, sampled: Array, losses: Array) -> list[str]:
    low, high = np.log(sampled.min()), np.log(sampled.max())
    place = (np.log(vertex) - low) / (high - low)
    if NEAR_EDGE <= place <= 1 - NEAR_EDGE:
        return []
    end = sampled.min() if place < 0.5 else sampled.max()
    lowest = " and the run of lowest loss" if sampled[np.argmin(losses)] == end else ""
    return [
        f"off-centre: the vertex {vertex:.3g} is close to {end:.4g}, the end of the sampled range{lowest}"
    ]


def _token_vertex(along: Parabola, logs: Array) -> tuple[float, bool, list[str]]:
    """D*, whether it is extrapolated, and a remark; NaN beyond ``FURTHEST``."""
    low, high = float(logs.min()), float(logs.max())
    sampled = f"{np.exp(low):.3g} to {np.exp(high):.3g} were sampled"
    if along.curvature <= 0:
        return float("nan"), False, ["the curve in tokens opens downward, so there are no best tokens"]
    beyond = max(low - along.log_vertex, along.log_vertex - high, 0.0)
    if beyond > FURTHEST * (high - low):
        return (
            float("nan"),
            False,
            [f"the vertex in tokens lies far out, so there are no best tokens: {sampled}"],
        )
    if beyond > 0:
        remark = f"the vertex in tokens, {along.vertex:.3g}, is extrapolated: {sampled}"
        return along.vertex, True, [remark]
    return along.vertex, False, []
