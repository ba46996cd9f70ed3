"""Runs of one cell: copies, replicates, and runs whose hyperparameters differ.

A cell is one model at one budget, mean recurrence and number of tokens. Its runs may be replicates (other
seeds), which tell the noise apart from a law's lack of fit; a search over learning rates, of which the best
is the measurement; or copies of one line. Shapes: n runs, B budgets.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from analysis.data.budgets import grouped_budgets
from analysis.laws import Array, Mask, Whole

SAME_TOKENS = 0.005
"""Without a budget, runs whose tokens differ by less than this fraction are of one cell."""
SEED_NOISE = 0.005
"""Seeds move a loss by 0.02 to 0.3 %: runs of a cell further apart than this differ in more (assumption)."""
UNEQUAL = 0.01
"""Probability (Bartlett) below which budgets have noise of their own (assumption)."""
LEAST_FREEDOM = 2
"""Degrees of freedom of a budget's own variance."""


def cells_of(budgets: Array, mean_recurrence: Array, parameters: Array, tokens: Array) -> Whole:
    """A label (n,) for each run: its cell's. NaN, where unknown, equals NaN."""
    keys = np.nan_to_num(np.stack([budgets, mean_recurrence, parameters], axis=1), nan=-1.0)
    outer = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
    inner = np.full(len(tokens), -1.0)
    for label in np.unique(outer):
        at = np.flatnonzero((outer == label) & np.isfinite(tokens))
        if np.isfinite(budgets[at]).all():
            inner[at] = grouped_budgets(tokens[at])
        else:
            order = at[np.argsort(tokens[at], kind="stable")]
            inner[order] = np.cumsum(np.diff(np.log(tokens[order]), prepend=-np.inf) > SAME_TOKENS)
    return np.unique(np.stack([outer, inner], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def copies(identical: Whole, cells: Whole, seeded: Mask) -> Mask:
    """Which runs (n,) repeat an earlier one; `identical` labels rows alike in every number, seed included.

    Two lines alike of one known seed are one run. Where seeds are unknown, lines alike are copies unless most
    cells hold replicates that differ: then two losses agree by chance.
    """
    first = np.unique(identical, return_index=True)[1]
    repeated = np.ones(len(identical), dtype=bool)
    repeated[first] = False
    unknown = repeated & ~seeded
    beyond_one = int((~seeded).sum()) - len(np.unique(cells[~seeded]))
    if 2 * int(unknown.sum()) < beyond_one:
        repeated &= seeded
    return repeated


def better_runs(loss: Array, cells: Whole, settings: Whole, seeds: Array) -> Mask:
    """Which runs (n,) to keep where hyperparameters vary within a cell: those of the best setting.

    `settings` labels runs of one set of hyperparameters, -1 where unknown; `seeds` are NaN where unknown.
    Where settings are unknown, two runs of one seed, or runs further apart than ``SEED_NOISE`` can explain,
    differ in more than the seed: the best of each seed, or the best of all, is kept.
    """
    keep = np.ones(len(loss), dtype=bool)
    apart = pure_error(
        np.log(loss), np.where(np.isnan(seeds) & (settings < 0), cells, -1 - np.arange(len(loss)))
    )
    searched = apart[1] > 0 and apart[0] > SEED_NOISE**2
    for label in np.unique(cells):
        at = np.flatnonzero(cells == label)
        known = settings[at] >= 0
        if len(at) == 1:
            continue
        if known.all() and len(np.unique(settings[at])) > 1:
            means = {s: loss[at[settings[at] == s]].mean() for s in np.unique(settings[at])}
            keep[at] = settings[at] == min(means, key=lambda s: means[s])
        elif not known.any() and np.isnan(seeds[at]).all() and searched:
            keep[at] = np.arange(len(at)) == np.argmin(loss[at])
        elif not known.any() and np.isfinite(seeds[at]).all():
            for seed in np.unique(seeds[at]):
                same_seed = at[seeds[at] == seed]
                keep[same_seed] = np.arange(len(same_seed)) == np.argmin(loss[same_seed])
    return keep


def pure_error(log_loss: Array, cells: Whole) -> tuple[float, int]:
    """Variance of log loss within cells, and its degrees of freedom; NaN and 0 where no cell has two runs."""
    labels = np.unique(cells, return_inverse=True)[1]
    counts = np.bincount(labels)
    means = np.bincount(labels, log_loss) / counts
    freedom = len(log_loss) - len(counts)
    squares = float(((log_loss - means[labels]) ** 2).sum())
    return (squares / freedom, freedom) if freedom else (float("nan"), 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class BudgetNoise:
    """Noise from replicates, a budget at a time."""

    budgets: Array
    """(B,) those with at least ``LEAST_FREEDOM`` degrees of freedom."""
    deviations: Array
    """(B,) standard deviation of log loss."""
    probability: float
    """Of variances as unequal as these if all were equal (Bartlett 1937); NaN with fewer than two."""

    @property
    def differs(self) -> bool:
        return self.probability < UNEQUAL

    def weights(self, budgets: Array) -> Array:
        """Inverse variances (n,) for runs of `budgets`, of mean 1; equal where the noise is the same."""
        if not self.differs:
            return np.ones(len(budgets))
        variance = np.full(len(budgets), float((self.deviations**2).mean()))
        for budget, deviation in zip(self.budgets, self.deviations, strict=True):
            variance[budgets == budget] = deviation**2
        return np.asarray(1 / variance / np.mean(1 / variance))


def budget_noise(log_loss: Array, cells: Whole, budgets: Array) -> BudgetNoise:
    """The noise of each budget whose cells hold replicates."""
    known, variances, freedoms = [], [], []
    for budget in np.unique(budgets[np.isfinite(budgets)]):
        at = budgets == budget
        variance, freedom = pure_error(log_loss[at], cells[at])
        if freedom >= LEAST_FREEDOM and variance > 0:
            known.append(float(budget))
            variances.append(variance)
            freedoms.append(freedom)
    return BudgetNoise(
        budgets=np.array(known),
        deviations=np.sqrt(variances),
        probability=_bartlett(np.array(variances), np.array(freedoms, dtype=float)),
    )


def _bartlett(variances: Array, freedoms: Array) -> float:
    if len(variances) < 2:
        return float("nan")
    total = freedoms.sum()
    pooled = (freedoms * variances).sum() / total
    statistic = total * np.log(pooled) - (freedoms * np.log(variances)).sum()
    correction = 1 + ((1 / freedoms).sum() - 1 / total) / (3 * (len(variances) - 1))
    return float(chdtrc(len(variances) - 1, statistic / correction))
