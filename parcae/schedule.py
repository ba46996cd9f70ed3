"""Learning rate over a run: constant, then linear to 0 (paper appendix B: no warm-up)."""


def rate_factor(step: int, steps: int, cooldown: float) -> float:
    """The factor on the peak rate at `step` of `steps`, falling over the last `cooldown` of the run."""
    falling = cooldown * steps
    return min(1.0, (steps - step) / falling) if falling else 1.0
