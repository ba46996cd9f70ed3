"""Budgets that somebody asks about: which one buys given tokens, and how far the runs support it."""

import numpy as np
from scipy.optimize.elementwise import find_root

from analysis.engine.mixture import Mixture
from analysis.laws import Array
from analysis.prediction.frontier import DEEPEST, best_recurrence
from analysis.prediction.shape import Shape

FURTHEST = 4.0
"""Budgets up to this factor beyond the sampled ones are predicted: where coverage was measured."""

Range = tuple[float, float]
"""Smallest and largest FLOPs that the runs spent."""


def budget_for(mixture: Mixture, shape: Shape, tokens: float, shallowest: float) -> float:
    """The budget C whose best tokens D*(C) are `tokens`; D* grows with C.

    A token costs at least what it does at the mean recurrence `shallowest`, which no optimum lies below, and
    at most what it does at ``DEEPEST``, so the root is bracketed.
    """

    def excess(log_budget: Array) -> Array:
        best = best_recurrence(mixture.vector, shape, np.exp(log_budget), mixture.law)[0]
        cost = shape.flops_per_token(np.maximum(best, shallowest))
        return np.asarray(log_budget - np.log(cost * tokens))

    low, high = (np.log(tokens * shape.flops_per_token([end])) for end in (shallowest, DEEPEST))
    found = find_root(excess, (low, high))
    assert found.success.all()
    return float(np.exp(found.x[0]))


def supported(spent: Range) -> Range:
    """The least and the largest budget that runs support."""
    return spent[0] / FURTHEST, spent[1] * FURTHEST


def too_far(model: str, spent: Range, budget: float) -> list[str]:
    """A sentence if the budget lies further out than the runs support."""
    low, high = supported(spent)
    if low * 0.99 <= budget <= high * 1.01:
        return []
    return [
        f"a budget of {budget:.3g} FLOPs is too far from the runs of {model}, which support "
        f"{low:.3g} to {high:.3g} ({FURTHEST:g} times beyond what was trained)"
    ]


def beyond_trained(spent: Range, budget: float) -> list[str]:
    """A sentence if the budget lies beyond those of the runs."""
    low, high = spent
    if low * 0.99 <= budget <= high * 1.01:
        return []
    return [f"{budget:.3g} FLOPs lie beyond the trained {low:.3g} to {high:.3g}"]
