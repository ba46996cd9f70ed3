"""Learning rate and weight decay over a run, as fractions of their initial values."""


def rate_scale(step: int, steps: int, cooldown: float) -> float:
    """Constant, then linear to 0 over the last fraction `cooldown` of the run; `step` counts from 0."""
    falling = round(steps * cooldown)
    return min(1.0, (steps - step) / falling) if falling else 1.0


def decay_scale(step: int, steps: int) -> float:
    """Linear from 1 to 0 over the whole run."""
    return 1 - step / steps
