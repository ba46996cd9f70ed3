"""Intervals: an estimate with its limits, the percentiles of draws (Efron and Tibshirani 1993, chapter 13).

The draws come from `analysis.engine.uncertainty`; `bench/coverage.py` measures what they cover.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.engine.fit import LawFit
from analysis.laws import Array

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

    def overlaps(self, other: "Interval") -> bool:
        return self.low <= other.high and other.low <= self.high


NOTHING = Interval(value=float("nan"), low=float("nan"), high=float("nan"))
"""What is known of a number that has no meaning."""


def interval(value: float, draws: Array, weights: Array | None = None) -> Interval:
    """Percentile limits of the finite draws; none when fewer than 90 % of them are finite, or all are equal.

    Draws that cannot vary say nothing of how far off the estimate is.
    `weights` (of the draws, alike in shape) where some count more than others.
    """
    share = np.full(len(draws), 1.0) if weights is None else weights
    finite = np.isfinite(draws)
    known = finite.any() and share[finite].sum() >= 0.9 * share.sum()
    if not np.isfinite(value) or not known or (len(draws) > 1 and np.ptp(draws[finite]) == 0):
        return Interval(value=float(value), low=float("nan"), high=float("nan"))
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    if weights is None:
        low, high = np.quantile(draws[finite], ends)
    else:
        order = np.argsort(draws[finite])
        sorted_share = share[finite][order]
        place = (np.cumsum(sorted_share) - sorted_share / 2) / sorted_share.sum()
        low, high = np.interp(ends, place, draws[finite][order])
    return Interval(value=float(value), low=float(low), high=float(high))


def holding(given: Interval) -> Interval:
    """The interval, reaching as far as its own estimate."""
    if not np.isfinite(given.low):
        return given
    return Interval(value=given.value, low=min(given.low, given.value), high=max(given.high, given.value))


def parameter_intervals(fit: LawFit, draws: Array) -> Mapping[str, Interval]:
    """One interval a parameter of the law, from rows of parameters (R, p) in raw units."""
    return {
        name: holding(interval(fit.values[name], draws[:, index]))
        for index, name in enumerate(fit.law.parameters)
    }
