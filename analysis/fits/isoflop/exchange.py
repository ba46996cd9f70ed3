"""What a step along an isoFLOP curve buys and costs: parameters and FLOPs per token, read off the runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.data.axis import Axis
from analysis.laws import Array


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What a place u along a budget, a mean recurrence or a number of parameters, buys and costs."""

    parameters: Callable[[Array], Array]
    """Effective parameters N(u), which may be in a unit of their own."""
    flops_per_token: Callable[[Array], Array]
    low: float
    high: float
    """The range of u in the runs."""


def exchange(arrays: Mapping[str, Array], axis: Axis) -> Exchange | None:
    """From n runs' FLOPs, tokens, and mean recurrence or parameters; None where they do not decide it.

    u is the parameters where those are the axis or there is no loop, else the mean recurrence. The price of a
    loop is the line through the even recurrences, where mu_rec / 2 is the backward depth that is trained.
    Where a loop's parameters are unknown, that price tells them but for a unit: layers run once cost 6 FLOPs
    a parameter and token, the loop 4 for each recurrence.
    """
    if "tokens" not in arrays:
        return None
    price, recurrence, sizes = (
        arrays["flops"] / arrays["tokens"],
        arrays.get("mean_recurrence"),
        arrays.get("parameters"),
    )
    if recurrence is not None and len(np.unique(recurrence)) > 1:
        even = recurrence % 2 == 0
        line = even if len(np.unique(recurrence[even])) > 1 else np.ones(len(even), dtype=bool)
        costs = _line(recurrence[line], price[line])
        grows = _line(recurrence, sizes) if sizes is not None else (costs[0] / 6, costs[1] / 4)
        if min(*costs, grows[1]) <= 0 or grows[0] < 0:
            return None
        if axis is Axis.PARAMETERS and sizes is not None:
            return Exchange(
                parameters=lambda u: u,
                flops_per_token=lambda u: costs[0] + costs[1] * (u - grows[0]) / grows[1],
                low=float(sizes.min()),
                high=float(sizes.max()),
            )
        return Exchange(
            parameters=lambda u: grows[0] + grows[1] * u,
            flops_per_token=lambda u: costs[0] + costs[1] * u,
            low=float(recurrence.min()),
            high=float(recurrence.max()),
        )
    if sizes is None or len(np.unique(sizes)) < 2:
        return None
    log_unit, power = _line(np.log(sizes), np.log(price))
    if power <= 0:
        return None
    return Exchange(
        parameters=lambda u: u,
        flops_per_token=lambda u: np.exp(log_unit + power * np.log(u)),
        low=float(sizes.min()),
        high=float(sizes.max()),
    )


def _line(x: Array, y: Array) -> tuple[float, float]:
    """Intercept and slope."""
    rise, base = (float(c) for c in np.polyfit(x, y, 1))
    return base, rise
