"""Intervals by bootstrap over runs, stratified by budget, every refit warm-started from the best fit.

Runs are resampled with replacement within each budget, so that every replicate is a study of the same
shape; a replicate is a row of multiplicities, and all replicates are refitted together. Limits are the
percentiles of the replicates (Efron and Tibshirani 1993, chapter 13); their coverage is measured by
`bench/coverage.py`, not assumed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.fit import LawFit, raw_parameters
from analysis.laws import Array
from analysis.solver import minimise

RESAMPLES = 1000
MOST_CELLS = 1_000_000
"""Replicates times points that are refitted at once, a matter of memory."""
LEVEL = 0.95
"""Nominal coverage of every interval."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % limits; NaN where there is none."""

    value: float
    low: float
    high: float

    def overlaps(self, other: "Interval") -> bool:
        return self.low <= other.high and other.low <= self.high


NOTHING = Interval(value=float("nan"), low=float("nan"), high=float("nan"))
"""What is known of a number that has no meaning."""


def interval(value: float, draws: Array, weights: Array | None = None) -> Interval:
    """Percentile limits of the finite draws; none when fewer than 90 % of them are finite.

    `weights` (of the draws, alike in shape) where some count more than others.
    """
    share = np.full(len(draws), 1.0) if weights is None else weights
    finite = np.isfinite(draws)
    if not np.isfinite(value) or not finite.any() or share[finite].sum() < 0.9 * share.sum():
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


def resampled_counts(strata: ArrayLike, resamples: int, generator: np.random.Generator) -> Array:
    """How often each run is drawn: (resamples, n), each stratum's total kept."""
    labels = np.asarray(strata)
    counts = np.zeros((resamples, len(labels)))
    for stratum in np.unique(labels):
        members = np.flatnonzero(labels == stratum)
        share = np.full(len(members), 1 / len(members))
        counts[:, members] = generator.multinomial(len(members), share, size=resamples)
    return counts


def bootstrap(fit: LawFit, strata: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Parameters (resamples, p), raw units, of refits to runs resampled within `strata` (n labels)."""
    if not fit.usable:
        return np.full((resamples, len(fit.law.parameters)), np.nan)
    points, generator = fit.points, np.random.default_rng(seed)
    labels = np.asarray(strata)[points.order]
    together = max(MOST_CELLS // len(labels), 1)
    refitted = []
    for first in range(0, resamples, together):
        rows = min(together, resamples - first)
        found, _ = minimise(
            points.problem,
            np.repeat(fit.best[None, :], rows, axis=0),
            points.log_loss,
            resampled_counts(labels, rows, generator) * points.weights,
            steps=40,
            second_order=True,
            tolerance=1e-6,
        )
        refitted.append(found)
    return raw_parameters(points.problem, np.concatenate(refitted), points.log_unit)


def parameter_intervals(fit: LawFit, draws: Array) -> Mapping[str, Interval]:
    """One interval a parameter of the law, from rows of parameters (R, p) in raw units."""
    return {
        name: holding(interval(fit.values[name], draws[:, index]))
        for index, name in enumerate(fit.law.parameters)
    }
