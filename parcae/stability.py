"""When a run has diverged. Divergence is a result (paper table 2), never a crash."""

import math

STATE_NORM_LIMIT = 1e6
"""A state this long has exploded: a healthy one is of the order of sqrt(width)."""


def has_diverged(loss: float, state_norm: float) -> bool:
    """Whether the loss is not finite or the state has exploded."""
    return not (math.isfinite(loss) and state_norm < STATE_NORM_LIMIT)
