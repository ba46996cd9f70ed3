"""Intervals: an estimate with its limits, the percentiles of draws (Efron and Tibshirani 1993, chapter 13).

The draws come from `analysis.engine.uncertainty`; `bench/coverage.py` measures what they cover.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.laws import Array

if TYPE_CHECKING:
    from analysis.engine.fit import LawFit

RESAMPLES = 1000
LEVEL = 0.95
"""Nominal coverage of every interval."""


def finite(value: float) -> float | None:
    """A number for JSON, which has no NaN: None if it is missing."""
    return float(value) if np.isfinite(value) else None


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % limits; NaN if there is none."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        return {name: finite(getattr(self, name)) for name in ("value", "low", "high")}

    def summary(self) -> str:
        """0.401 (0.319 to 0.753); a dash if there is no estimate."""
        from analysis.engine.formatting import spell  # which knows intervals

        return spell(self)

    def overlaps(self, other: "Interval") -> bool:
        return self.low <= other.high and other.low <= self.high


NOTHING = Interval(value=float("nan"), low=float("nan"), high=float("nan"))
"""What is known of a number that has no meaning."""


def interval(value: float, draws: Array, weights: Array | None = None) -> Interval:
    """Percentile limits of the finite draws; none when fewer than 90 % of them are finite, or they leave no
    width.

    Draws that cannot vary say nothing of how far off the estimate is.
    `weights` (of the draws, alike in shape) where some count more than others.
    """
    low, _, high = _percentiles(draws, weights)
    if not np.isfinite(value) or not low < high:
        return Interval(value=float(value), low=float("nan"), high=float("nan"))
    return Interval(value=float(value), low=low, high=high)


def holding(value: float, draws: Array, weights: Array | None = None) -> Interval:
    """``interval``, but about an estimate that is not itself the draws' centre, such as a robust one.

    Draws are refits by least squares. An estimate outside their limits differs from them by more than noise
    explains, so the interval holds both: the draws' limits, and the same draws centred on the estimate.
    """
    found = interval(value, draws, weights)
    if not np.isfinite(found.low) or found.low < value < found.high:
        return found
    low, middle, high = _percentiles(draws, weights)
    ends = [value + low - middle, value + high - middle]
    if min(value, low) > 0:  # what is positive has no limit below 0, nor has what is 0 at its bound
        ends = [value * low / middle, value * high / middle]
    elif min(value, np.nanmin(draws)) >= 0:
        ends[0] = max(ends[0], 0.0)
    return Interval(value=value, low=min(low, ends[0]), high=max(high, ends[1]))


def _percentiles(draws: Array, weights: Array | None) -> tuple[float, float, float]:
    """The lower limit, the median and the upper limit of the finite draws; NaN where too few are."""
    share = np.full(len(draws), 1.0) if weights is None else weights
    finite = np.isfinite(draws)
    if not finite.any() or share[finite].sum() < 0.9 * share.sum():
        return float("nan"), float("nan"), float("nan")
    ends = [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2]
    if weights is None:
        low, middle, high = np.quantile(draws[finite], ends)
    else:
        order = np.argsort(draws[finite])
        sorted_share = share[finite][order]
        place = (np.cumsum(sorted_share) - sorted_share / 2) / sorted_share.sum()
        low, middle, high = np.interp(ends, place, draws[finite][order])
    return float(low), float(middle), float(high)


def parameter_intervals(fit: "LawFit", draws: Array) -> Mapping[str, Interval]:
    """One interval a parameter of the law, from rows of parameters (R, p) in raw units."""
    return {name: holding(fit.values[name], draws[:, index]) for index, name in enumerate(fit.law.parameters)}
