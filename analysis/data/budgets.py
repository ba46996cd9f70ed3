"""Which runs share a budget: achieved FLOPs are never equal, so budgets are told apart by gaps.

Runs of one budget differ by rounding (0.1 %), whole steps or a guessed utilisation (up to 8 %); budgets that
were planned apart differ by a factor of 1.4 or 2. So the gaps between budgets are wider than any budget, and
all gaps are looked at together: one that is as wide as a budget elsewhere parts nothing. All distances are in
ln FLOPs; the limits are assumptions. Shape: n runs.
"""

import numpy as np
from numpy.typing import ArrayLike

from analysis.laws import Array, Whole

CLEAR = 4.0
"""Gaps this many times as wide as any budget part them, even where fewer budgets, further apart, would do."""
WIDTH = float(np.log(1.095)) / CLEAR
"""A budget counts as at least this wide (2.3 %), so that 10 % are clearly apart where FLOPs are exact."""
APART = float(np.log(1.25))
"""A gap beyond this one always parts two budgets; a spread without gaps is cut to this width."""
WIDEST = float(np.log(1.5))
"""No budget is wider."""


def grouped_budgets(flops: ArrayLike) -> Array:
    """Each run's budget (n,): the geometric mean of the FLOPs that belong together; NaN where unknown.

    Equal FLOPs are a budget as they stand.
    """
    given = np.asarray(flops, dtype=float)
    budgets = np.full(given.shape, np.nan)
    known = np.flatnonzero(np.isfinite(given))
    known = known[np.argsort(given[known], kind="stable")]
    if not len(known):
        return budgets
    logs = np.log(given[known])
    for part in np.split(np.arange(len(logs)), _cuts(logs)):
        members = known[part]
        same = given[members[0]] == given[members[-1]]
        budgets[members] = given[members[0]] if same else np.exp(logs[part].mean())
    return budgets


def places_of(wanted: ArrayLike, budgets: Array) -> Whole:
    """Where in ascending `budgets` (B,) each `wanted` one stands; -1 where none is the same budget.

    The mean of a budget's runs depends a little on which of them are counted.
    """
    logs = np.log(np.atleast_1d(np.asarray(wanted, dtype=float)))
    if not len(budgets) or not len(logs):
        return np.full(len(logs), -1)
    off = np.abs(logs[:, None] - np.log(budgets)[None, :])
    return np.where(off.min(axis=1) <= WIDTH, off.argmin(axis=1), -1)


def _cuts(logs: Array) -> Whole:
    """Where ascending `logs` part into budgets.

    Of the gaps from one size on, which part them: as many as are ``CLEAR``, else those that stand out most.
    """
    gaps = np.diff(logs)
    least = gaps[gaps > APART].min(initial=np.inf)
    found = []
    for gap in np.unique(gaps[(gaps > WIDTH) & (gaps <= least)]):
        cuts = np.flatnonzero(gaps >= gap) + 1
        width = (logs[np.append(cuts, len(logs)) - 1] - logs[np.insert(cuts, 0, 0)]).max()
        if gap > width and width <= WIDEST:
            found.append((gap / max(width, WIDTH), cuts))
    clear = [cuts for ratio, cuts in found if ratio >= CLEAR]
    if found:
        return clear[0] if clear else max(found, key=lambda one: one[0])[1]
    if logs[-1] - logs[0] <= APART:
        return np.empty(0, dtype=np.int64)
    middle = int(np.argmax(gaps)) + 1
    return np.concatenate([_cuts(logs[:middle]), [middle], middle + _cuts(logs[middle:])]).astype(np.int64)
