"""Learning rate, weight decay and Muon's momentum over a run, functions of the 0-based step."""

MOMENTUM = 0.95  # paper appendix
FIRST_MOMENTUM, MOMENTUM_STEPS = 0.85, 300  # released code: the rise to it, which the paper does not mention


def rate_scale(step: int, steps: int, cooldown: float) -> float:
    """Fraction of the peak: constant, then linear to 0 over the last fraction `cooldown` of the run."""
    falling = round(steps * cooldown)
    return min(1.0, (steps - step) / falling) if falling else 1.0


def decay_scale(step: int, steps: int) -> float:
    """Fraction of the initial decay: linear from 1 to 0 over the whole run."""
    return 1 - step / steps


def momentum(step: int) -> float:
    """Muon's momentum: linear from 0.85 to 0.95 over the first 300 steps, whatever the length of the run."""
    return FIRST_MOMENTUM + min(step / MOMENTUM_STEPS, 1.0) * (MOMENTUM - FIRST_MOMENTUM)
