"""Does a fitted law fit? Its residuals against what chance leaves, as a verdict.

Three tests add to the law what would mend it (Cook and Weisberg 1982, chapter 2): residuals that bend or turn
along the mean recurrence, along tokens, along budgets. A fourth counts changes of sign along the mean
recurrence (runs test). Where cells were repeated, a fifth sets their own scatter (pure error) against the
rest.
Noise shared within a budget is allowed for as in `analysis.engine.uncertainty`.
Shapes: n runs, q added columns.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import bdtr, fdtrc

from analysis.data.points import ModelPoints
from analysis.engine.fit import LawFit
from analysis.engine.solver import Shared
from analysis.engine.uncertainty import least_squares, tamed
from analysis.laws import Array, Whole

SIGNIFICANT = 0.01
"""Probability of a wrong alarm, of all tests together (assumption)."""
FEWEST_SPARE = 3
"""Runs beyond one a parameter and added column that a test needs."""
SAME_CELL = 0.01
"""Runs of one budget, this close in parameters and tokens, repeat one cell (fraction, assumption)."""
NO_NOISE = 1e-9
"""Residuals below this, in log loss, are rounding."""


class Fits(StrEnum):
    """The verdict on a law's residuals."""

    FITS = "no lack of fit found"
    DOES_NOT_FIT = "does not fit"
    UNTESTED = "too few runs to test"


@dataclass(frozen=True, kw_only=True)
class LackOfFit:
    verdict: Fits
    message: str
    """One sentence."""
    p_values: dict[str, float]
    """Test -> probability of residuals like these by chance; a test that was not possible is absent."""

    def to_dict(self) -> dict[str, Any]:
        return {"verdict": self.verdict.value, "message": self.message, "p_values": dict(self.p_values)}


UNTESTED = LackOfFit(verdict=Fits.UNTESTED, message="no law was fitted, so none could be tested", p_values={})


def lack_of_fit(fit: LawFit, points: ModelPoints, budgets: Array, ratio: float) -> LackOfFit:
    """Tests `fit` on its `points`; `budgets` are n labels of what may share noise, `ratio` how much does."""
    if not fit.usable:
        return UNTESTED
    order = fit.points.order
    groups = np.unique(budgets[order], return_inverse=True)[1]
    problem, log_loss = tamed(fit)
    shared = Shared(groups=groups, ratios=np.array([ratio]), weights=fit.points.weights)
    best, _ = least_squares(problem, fit.best[None, :], log_loss, shared, 1e-10)
    raw, slopes, _ = problem.jacobian(best, log_loss[None, :])
    residuals, design = shared.whiten(raw)[0], shared.whiten(slopes)[0].T
    if np.abs(raw).max() < NO_NOISE:
        return LackOfFit(verdict=Fits.FITS, message="the law passes through every run", p_values={})
    sizes, tokens = (np.log(a[order]) for a in (points.effective_parameters, points.tokens))
    depth = np.log(np.where(np.isfinite(points.mean_recurrence), points.mean_recurrence, 1.0)[order])
    along = depth if np.ptp(depth) > 0 else sizes
    name = "mean recurrence" if along is depth else "parameters"
    inner, budget = _within(along, groups), _budget_logs(tokens, sizes, groups)
    candidates = {
        name: [inner * budget, _within(inner**2, groups)],
        "tokens": [tokens**2, tokens**3],
        "budget": [budget**2, budget**3],
    }
    p_values = {}
    for test, columns in candidates.items():
        added = np.stack([_standard(column) for column in columns])
        p = _added(design, shared.whiten(added[None])[0].T, residuals)
        if np.isfinite(p):
            p_values[test] = p
    p_values |= _runs_test(-raw[0], along, groups, name)
    p_values |= _pure_error(residuals, design.shape[1], sizes, tokens, groups)
    if not p_values:
        return LackOfFit(
            verdict=Fits.UNTESTED,
            message=f"{len(residuals)} runs leave nothing to test the law by",
            p_values={},
        )
    worst = min(p_values, key=lambda test: p_values[test])
    if p_values[worst] >= SIGNIFICANT / len(p_values):
        message = f"residuals are like noise in {len(p_values)} tests (smallest p {p_values[worst]:.2g})"
        return LackOfFit(verdict=Fits.FITS, message=message, p_values=p_values)
    return LackOfFit(
        verdict=Fits.DOES_NOT_FIT,
        message=_describe(
            worst, p_values[worst], -fit.residuals[order], along, groups, points.flops[order], name
        ),
        p_values=p_values,
    )


def _describe(test: str, p: float, off: Array, along: Array, groups: Whole, flops: Array, name: str) -> str:
    """What is wrong, with the budget whose residuals change most along the recurrence."""
    found = f"residuals are not noise: {test}, p = {p:.1g}"
    slopes = np.zeros(groups.max() + 1)
    for group in range(len(slopes)):
        at = groups == group
        if np.ptp(along[at]) > 0:
            slopes[group] = abs(np.polyfit(along[at], off[at], 1)[0] * np.ptp(along[at]))
    members = np.flatnonzero(groups == int(np.argmax(slopes)))
    if not slopes.max() > 0:
        return found
    first, last = members[np.argmin(along[members])], members[np.argmax(along[members])]
    at_budget = f" at {flops[first]:.3g} FLOPs" if np.isfinite(flops[first]) else ""
    return (
        f"{found}; along {name} losses go from {100 * off[first]:+.2f} % to {100 * off[last]:+.2f} % off the "
        f"law{at_budget}"
    )


def _within(values: Array, groups: Whole) -> Array:
    """Values less their group's mean."""
    means = np.bincount(groups, values) / np.bincount(groups)
    return np.asarray(values - means[groups])


def _budget_logs(tokens: Array, sizes: Array, groups: Whole) -> Array:
    """ln of each group's budget but for a constant, as far as C goes with N D, centred."""
    spent = tokens + sizes
    means = np.bincount(groups, spent) / np.bincount(groups)
    return np.asarray(means[groups] - means[groups].mean())


def _standard(column: Array) -> Array:
    centred = column - column.mean()
    return np.asarray(centred / max(float(np.abs(centred).max()), 1e-300))


def _added(design: Array, added: Array, residuals: Array) -> float:
    """p of an F-test of columns `added` (n, q) to a law of Jacobian `design` (n, p); NaN where undecided."""
    base, _ = np.linalg.qr(design / np.maximum(np.linalg.norm(design, axis=0), 1e-300))
    rest = residuals - base @ (base.T @ residuals)
    fresh = added - base @ (base.T @ added)
    directions, sizes, _ = np.linalg.svd(fresh, full_matrices=False)
    kept = directions[:, np.flatnonzero(sizes > 1e-6 * float(np.linalg.norm(added)))]
    q = kept.shape[1]
    freedom = len(residuals) - design.shape[1] - q
    if not q or freedom < FEWEST_SPARE:
        return float("nan")
    explained = float(((kept.T @ rest) ** 2).sum())
    left = float((rest**2).sum()) - explained
    return float(fdtrc(q, freedom, explained / q / max(left / freedom, 1e-300)))


def _runs_test(off: Array, along: Array, groups: Whole, name: str) -> dict[str, float]:
    """Few changes of sign along each budget; independent residuals change at every other run or oftener."""
    off, pairs, changes = _within(off, groups), 0, 0
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        members = members[np.argsort(along[members], kind="stable")]
        signs = np.sign(off[members])
        if len(np.unique(along[members])) == len(members) > 2:  # replicates have no order
            pairs, changes = pairs + len(members) - 1, changes + int((signs[1:] != signs[:-1]).sum())
    return {f"runs of one sign along {name}": float(bdtr(changes, pairs, 0.5))} if pairs > 7 else {}


def _pure_error(
    residuals: Array, parameters: int, sizes: Array, tokens: Array, groups: Whole
) -> dict[str, float]:
    """What repeated cells scatter, against the rest of the residuals."""
    rounded = np.round(np.stack([sizes, tokens]) / SAME_CELL).astype(np.int64)
    cells = np.unique(np.stack([groups, *rounded]), axis=1, return_inverse=True)[1].ravel()
    count, n = int(cells.max()) + 1, len(residuals)
    within = float((_within(residuals, cells) ** 2).sum())
    if n - count < FEWEST_SPARE or count - parameters < 1 or within <= 0:
        return {}
    rest = max(float((residuals**2).sum()) - within, 0.0) / (count - parameters)
    return {
        "scatter beyond that of repeated runs": float(
            fdtrc(count - parameters, n - count, rest / (within / (n - count)))
        )
    }
