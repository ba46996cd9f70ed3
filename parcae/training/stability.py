"""Is the recurrence stable? Telemetry of every logged step, and what counts as diverged.

B batch, S sequence, d width.
"""

import math

import torch
from torch import Tensor

from parcae.model.transformer import LoopedTransformer

STATE_LIMIT = 1e6
"""Root-mean-square state per channel beyond which a run has diverged. States of converging runs stay below
100; at this size float32 keeps one digit of what the prelude's output, of order 1, adds to the state."""


def root_mean_square_norm(h: Tensor) -> Tensor:
    """Norm over channels, root-mean-square over tokens, of h (B, S, d): sqrt(mean ||h||^2), a scalar."""
    total: Tensor = torch.linalg.vector_norm(h.detach(), dtype=torch.promote_types(h.dtype, torch.float32))
    return total / math.sqrt(h.shape[0] * h.shape[1])


def injection_norm(model: LoopedTransformer) -> float | None:
    """rho(Abar), or None without a loop or if it is not finite."""
    return None if model.injection is None else finite(model.injection.spectral_norm())


def has_diverged(loss: float, state_norm: float, gradient_norm: float, width: int) -> bool:
    """Loss or gradient not finite, or the state exploded."""
    return not (
        math.isfinite(loss) and math.isfinite(gradient_norm) and state_norm < STATE_LIMIT * math.sqrt(width)
    )


def finite(value: float) -> float | None:
    """`value`, or None if JSON has no number for it."""
    return value if math.isfinite(value) else None
