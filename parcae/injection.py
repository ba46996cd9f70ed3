"""How the prelude's output enters the recurrent state: x = Abar h + Bbar e (paper section 3).

Shapes: B batch, S sequence, D width. The input's part, Bbar e, does not change from one recurrence to the
next and is computed once. Each kind knows rho(Abar), its spectral norm, which decides whether the state
can grow without bound.
"""

import math

import torch
from torch import Tensor, nn

from parcae.config import Injection

INITIAL_DECAY = math.sqrt(1 / 5)  # exp(-Delta) at the start; paper appendix B


class DiagonalInjection(nn.Module):
    """Parcae: Abar = exp(Delta A), A = -exp(log_A), Bbar = Delta B. Stable whatever the parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        delta = -math.log(INITIAL_DECAY)
        self.log_A = nn.Parameter(torch.zeros(width))
        self.delta_bias = nn.Parameter(torch.full((width,), math.log(math.expm1(delta))))  # softplus^-1
        self.B = nn.Parameter(torch.eye(width))

    def decay(self) -> Tensor:
        """Abar, shape (D,), each entry in (0, 1)."""
        return torch.exp(-nn.functional.softplus(self.delta_bias) * torch.exp(self.log_A))

    def input(self, e: Tensor) -> Tensor:
        """Bbar e for e of shape (B, S, D)."""
        return nn.functional.softplus(self.delta_bias) * (e @ self.B.T)

    def state(self, h: Tensor) -> Tensor:
        """Abar h for h of shape (B, S, D)."""
        return self.decay() * h

    @torch.no_grad()
    def spectral_norm(self) -> float:
        """rho(Abar); below 1 as far as floating point can tell."""
        return float(self.decay().max())


class AddInjection(nn.Module):
    """Yang et al.: h + e. Marginally stable: rho(Abar) = 1."""

    def input(self, e: Tensor) -> Tensor:
        return e

    def state(self, h: Tensor) -> Tensor:
        return h

    def spectral_norm(self) -> float:
        return 1.0


class ConcatInjection(nn.Module):
    """RDM, Geiping et al.: W [h; e] with W = [W1 W2] of shape (D, 2 D). Unconstrained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(width, 2 * width))

    def input(self, e: Tensor) -> Tensor:
        return e @ self.W[:, self.W.shape[0] :].T

    def state(self, h: Tensor) -> Tensor:
        return h @ self.W[:, : self.W.shape[0]].T

    @torch.no_grad()
    def spectral_norm(self) -> float:
        """The largest singular value of W1."""
        return float(torch.linalg.matrix_norm(self.W[:, : self.W.shape[0]].double(), ord=2))


def make_injection(kind: Injection, width: int) -> DiagonalInjection | AddInjection | ConcatInjection:
    match kind:
        case Injection.DIAGONAL:
            return DiagonalInjection(width)
        case Injection.ADD:
            return AddInjection()
        case Injection.CONCAT:
            return ConcatInjection(width)
        case Injection.NONE:
            raise AssertionError("a model without a loop has no injection")
