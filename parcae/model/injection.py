"""How the prelude's output e enters the state h: x = Abar h + Bbar e. SCIENCE: paper section 3.

B batch, S sequence, d width of e, d_h of h. Each kind gives rho(Abar), its spectral norm, which
decides whether the recurrence is stable as a linear time-invariant system.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parcae.config import Discretisation, Injection, ModelConfig

INITIAL_DECAY = math.sqrt(1 / 5)  # exp(-Delta) at the start; paper appendix
SERIES_BELOW = 0.1  # there the quotient and its derivative lose one digit and two
SERIES_TERMS = 10  # 0.1^11 / 12! is 2e-20


class StateUpdate(nn.Module, ABC):
    """x = Abar h + Bbar e."""

    @abstractmethod
    def reset(self, generator: torch.Generator) -> None:
        """Sets the initial parameters."""

    @abstractmethod
    def discretise(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """(Abar, Bbar e), once per forward pass, outside the loop; e (B, S, d), Bbar e (B, S, d_h)."""

    def update(self, transition: Tensor, h: Tensor, injected: Tensor) -> Tensor:
        """Abar h + Bbar e, each (B, S, d_h), for an Abar that is a diagonal, (d_h,)."""
        return torch.addcmul(injected, transition, h)

    @abstractmethod
    def spectral_norm(self) -> float:
        """rho(Abar); NaN if it is not finite."""

    @abstractmethod
    def input_norm(self) -> float:
        """Spectral norm of Bbar; NaN if it is not finite."""


class Diagonal(StateUpdate):
    """Parcae: Abar = exp(Delta A) with A = -exp(log_A), Delta = softplus(delta_bias); Bbar = Delta B.

    Every entry of Abar lies strictly between 0 and 1, so rho(Abar) < 1 whatever the parameters.

    With a zero-order hold, Bbar = (Delta A)^-1 (exp(Delta A) - I) Delta B: the effect of an e that is
    constant over a step. B starts as the identity either way, and Bbar therefore as ln(5) / 2 = 0.80, or by
    the hold as 1 - Abar = 0.55, for which h = e is the steady state.
    """

    def __init__(
        self, width: int, state_width: int, discretisation: Discretisation = Discretisation.EULER
    ) -> None:
        super().__init__()
        self.discretisation = discretisation
        self.log_A = nn.Parameter(torch.empty(state_width))
        self.delta_bias = nn.Parameter(torch.empty(state_width))
        self.B = nn.Linear(width, state_width, bias=False)

    def reset(self, generator: torch.Generator) -> None:
        nn.init.zeros_(self.log_A)
        nn.init.constant_(self.delta_bias, math.log(math.expm1(-math.log(INITIAL_DECAY))))
        reset_to_identity(self.B.weight, generator)

    def delta(self) -> Tensor:
        """Step size Delta, (d_h,)."""
        return F.softplus(self.delta_bias)

    def decay(self) -> Tensor:
        """Abar, (d_h,), in (0, 1)."""
        info = torch.finfo(self.log_A.dtype)  # exp() rounds to 0 or 1 at the ends: the nearest inside do
        return torch.exp(-self.delta() * self._log_rate().exp()).clamp(info.tiny, 1 - info.eps)

    def input_scale(self) -> Tensor:
        """The factors (d_h,) by which Bbar scales the rows of B."""
        delta = self.delta()
        if self.discretisation is Discretisation.EULER:
            return delta
        log_rate = self._log_rate()
        x = delta * log_rate.exp()
        small = x < SERIES_BELOW
        # Each side of where() gets arguments with a finite gradient: NaN times 0 is NaN.
        near = delta * mean_decay_series(torch.where(small, x, 0))
        far = -torch.expm1(-torch.where(small, 1, x)) * torch.exp(-log_rate)
        return torch.where(small, near, far)

    def _log_rate(self) -> Tensor:
        """log(-A), (d_h,), limited so that its exponential and that of its negative are finite."""
        limit = -math.log(torch.finfo(self.log_A.dtype).tiny) - 1
        return self.log_A.clamp(-limit, limit)

    def discretise(self, e: Tensor) -> tuple[Tensor, Tensor]:
        return self.decay(), self.input_scale() * self.B(e)

    def spectral_norm(self) -> float:
        """The largest entry of a diagonal that is positive."""
        return float(self.decay().detach().max())

    def input_norm(self) -> float:
        return largest_singular_value(self.input_scale()[:, None] * self.B.weight)


def mean_decay_series(x: Tensor) -> Tensor:
    """(1 - exp(-x)) / x for 0 <= x < SERIES_BELOW, by its series: the quotient's derivative loses digits."""
    total = torch.ones_like(x)
    for order in range(SERIES_TERMS, 0, -1):
        total = 1 - x / (order + 1) * total
    return total


class Add(StateUpdate):
    """Yang et al.: h + e. Marginally stable: rho(Abar) = 1."""

    def reset(self, generator: torch.Generator) -> None:
        """There are no parameters."""

    def discretise(self, e: Tensor) -> tuple[Tensor, Tensor]:
        return e.new_ones(()), e

    def spectral_norm(self) -> float:
        return 1.0

    def input_norm(self) -> float:
        return 1.0


class Concat(StateUpdate):
    """RDM, Geiping et al.: W [h; e] with W = [W1 W2] of (d_h, d_h + d). Abar = W1 is unconstrained."""

    def __init__(self, width: int, state_width: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(state_width, state_width + width))

    def _parts(self) -> tuple[Tensor, Tensor]:
        """(W1, W2), (d_h, d_h) and (d_h, d)."""
        state_width = self.W.shape[0]
        return self.W[:, :state_width], self.W[:, state_width:]

    def reset(self, generator: torch.Generator) -> None:
        nn.init.normal_(self.W, std=math.sqrt(2 / (5 * self.W.shape[0])), generator=generator)

    def discretise(self, e: Tensor) -> tuple[Tensor, Tensor]:
        transition, entry = self._parts()
        return transition, F.linear(e, entry)

    def update(self, transition: Tensor, h: Tensor, injected: Tensor) -> Tensor:
        return injected + F.linear(h, transition).to(h.dtype)  # autocast halves the state otherwise

    def spectral_norm(self) -> float:
        """The largest singular value of W1."""
        return largest_singular_value(self._parts()[0])

    def input_norm(self) -> float:
        return largest_singular_value(self._parts()[1])


def reset_to_identity(matrix: Tensor, generator: torch.Generator) -> None:
    """The identity; for a matrix that is not square, orthogonal rows or columns."""
    if matrix.shape[0] == matrix.shape[1]:
        nn.init.eye_(matrix)
    else:
        nn.init.orthogonal_(matrix, generator=generator)


def largest_singular_value(matrix: Tensor) -> float:
    """From the eigenvalues of its Gram matrix in float64; NaN if the matrix is not finite.

    About ten times cheaper than a decomposition, and exact enough: the largest one loses no digits.
    """
    matrix = matrix.detach().double()
    gram = matrix @ matrix.T
    if not math.isfinite(float(gram.trace())):  # the sum of all squares is not finite in a diverged run
        return math.nan
    if gram.is_cuda:  # a decomposition takes a GPU longer than a step of a small model
        return math.sqrt(largest_eigenvalue_by_squaring(gram))
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram)[-1])))


def largest_eigenvalue_by_squaring(gram: Tensor) -> float:
    """Of a positive semi-definite (n, n) matrix G: ||G^m||_F^(1/m), m = 2^30, by nothing but products.

    It exceeds the eigenvalue by at most log(n) / 2^31 of it.
    """
    logarithm = gram.new_zeros(())
    for exponent in range(31):
        norm = torch.linalg.matrix_norm(gram).clamp_min(torch.finfo(gram.dtype).tiny)
        logarithm = logarithm + norm.log() / 2**exponent
        gram = gram / norm
        gram = gram @ gram
    return float(logarithm.exp())


def build_injection(model: ModelConfig) -> StateUpdate | None:
    """The injection of `model`; None for the fixed-depth transformer."""
    match model.injection:
        case Injection.DIAGONAL:
            return Diagonal(model.width, model.loop_width, model.discretisation)
        case Injection.ADD:
            return Add()
        case Injection.CONCAT:
            return Concat(model.width, model.loop_width)
        case Injection.NONE:
            return None
