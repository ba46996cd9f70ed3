"""Which runs share a budget: achieved FLOPs are never equal, so budgets are told apart by gaps.

Runs of one budget differ by rounding (0.1 %), whole steps or a guessed utilisation (1 to 3 %); budgets that
were planned apart differ by a factor of 1.5 or 2. Gaps between the two part budgets where they leave clusters
narrower than the gaps. All distances are in ln FLOPs; the limits are assumptions. Shape: n runs.
"""

import numpy as np
from numpy.typing import ArrayLike

from analysis.laws import Array

TOGETHER = float(np.log(1.06))
"""No gap up to this one parts two budgets."""
APART = float(np.log(1.25))
"""A gap beyond this one always does, and no budget is wider: budgets spread without gaps are cut to it."""


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
    waiting = [(0, len(logs))]
    while waiting:
        first, end = waiting.pop()
        cut = _cut(logs[first:end])
        if cut:
            waiting += [(first, first + cut), (first + cut, end)]
            continue
        members = known[first:end]
        same = given[members[0]] == given[members[-1]]
        budgets[members] = given[members[0]] if same else np.exp(logs[first:end].mean())
    return budgets


def _cut(logs: Array) -> int:
    """Where ascending `logs` part into two budgets; 0 where they are one."""
    gaps = np.diff(logs)
    wide = np.flatnonzero(gaps > TOGETHER)
    pieces = np.split(logs, wide + 1)
    parted = len(wide) > 0 and max(np.ptp(piece) for piece in pieces) < gaps[wide].min()
    if len(gaps) and (parted or gaps.max() > APART or logs[-1] - logs[0] > APART):
        return int(np.argmax(gaps)) + 1
    return 0
