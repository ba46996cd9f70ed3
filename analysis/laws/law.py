"""What a law is: terms, how they add up, its equation and where it comes from.

A law is a sum of terms, loss = sum_k c_k exp(g_k(theta; data)), linear in its coefficients c >= 0 and curved
only in its exponents theta; the fit engine needs no more than g_k and its first two derivatives. A law may
couple some of its terms: their part is then (sum_k (c_k exp(g_k))^(1/k))^k in the place of their sum.
Shapes: R rows (independent problems or starts), n points, p parameters, q exponents of one term.
Variables of the data: N effective parameters, D tokens, T test recurrences, mu mean recurrence, once and
recurrent parameters, floor a measured loss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Whole = NDArray[np.int64]
Data = Mapping[str, Array]

_TINY = 1e-300
_SMALLEST_SHARE = 1e-9
"""A coupled term's share is kept above this, where its derivatives are still finite."""


class Exponents(NamedTuple):
    """g (R, n) of one term, dg (q arrays that broadcast to R, n) and d2g (pairs of positions -> array)."""

    g: Array
    dg: tuple[Array, ...]
    d2g: Mapping[tuple[int, int], Array]


@dataclass(frozen=True, kw_only=True)
class Exponent:
    """A parameter inside an exponential: its name, its bounds, and where random starts are drawn."""

    name: str
    low: float
    high: float
    start_low: float
    start_high: float


@dataclass(frozen=True, kw_only=True)
class Term:
    """coefficient * exp(g(theta)); ``g`` maps (data, theta of shape (R, q)) to ``Exponents``."""

    coefficient: str
    g: Callable[[Data, Array], Exponents]
    exponents: tuple[Exponent, ...] = ()
    free: bool = True
    """False for a measured floor: its coefficient is 1."""


@dataclass(frozen=True, kw_only=True)
class Coupling:
    """Terms, by the names of their coefficients, that add up as powers 1/k; ``exponent`` is k."""

    coefficients: tuple[str, ...]
    exponent: Exponent


class Coupled(NamedTuple):
    """The coupled terms' joint value F (R, n), their shares p of it (R, m, n), and k (R, 1)."""

    value: Array
    shares: Array
    power: Array

    @property
    def entropy(self) -> Array:
        """-sum_j p_j ln p_j (R, n), which is d ln F / dk."""
        return np.asarray(-(self.shares * np.log(self.shares)).sum(1))


@dataclass(frozen=True, kw_only=True, repr=False)
class Law:
    name: str
    equation: str
    source: str
    terms: tuple[Term, ...]
    variables: tuple[str, ...]
    coupling: Coupling | None = None
    spare_points: int = 3
    """Distinct points that a fit needs beyond one a parameter; with fewer it follows the noise."""

    def __repr__(self) -> str:
        return f"Law({self.name}: {self.equation})"

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the free coefficients, in the order of the terms."""
        return tuple(term.coefficient for term in self.terms if term.free)

    @property
    def exponents(self) -> tuple[Exponent, ...]:
        """Those of the terms, in their order, and the coupling's."""
        own = tuple(e for term in self.terms for e in term.exponents)
        return own + ((self.coupling.exponent,) if self.coupling else ())

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters: coefficients first, then exponents."""
        return self.coefficients + tuple(e.name for e in self.exponents)

    @property
    def members(self) -> list[int]:
        """Positions of the coupled terms among the free ones."""
        return [self.coefficients.index(name) for name in self.coupling.coefficients] if self.coupling else []

    def couple(self, values: Sequence[Array], parameters: Array) -> Coupled:
        """Joins the coupled terms' values c_k exp(g_k) (R, n each)."""
        power = parameters[:, -1:]
        logs = np.log(np.maximum(np.stack([values[i] for i in self.members], axis=1), _TINY))
        logs = logs / power[:, :, None]
        top = logs.max(1, keepdims=True)
        parts = np.exp(logs - top)
        total = parts.sum(1, keepdims=True)
        value = np.exp(power * (top + np.log(total))[:, 0])
        return Coupled(value, np.maximum(parts / total, _SMALLEST_SHARE), power)

    def total(self, values: Sequence[Array], parameters: Array) -> Array:
        """The free terms' part of the loss (R, n), from each one's c_k exp(g_k)."""
        if not self.coupling:
            return np.asarray(sum(values))
        alone = sum(value for i, value in enumerate(values) if i not in self.members)
        return np.asarray(alone + self.couple(values, parameters).value)

    def predict(self, parameters: Array, data: Data) -> Array:
        """Loss (R, n) in nats, for parameters (R, p) in raw units and data of (n,) or (R, n) values each."""
        parameters = np.atleast_2d(parameters)
        coefficient, exponent, fixed = 0, len(self.coefficients), np.zeros(1)
        values = []
        for term in self.terms:
            width = len(term.exponents)
            g = term.g(data, parameters[:, exponent : exponent + width]).g
            exponent += width
            if term.free:
                # c exp(g) as one exponential: a coefficient of 1e300 and its tiny power stay finite.
                with np.errstate(divide="ignore"):
                    values.append(np.exp(g + np.log(parameters[:, coefficient])[:, None]))
                coefficient += 1
            else:
                fixed = np.exp(g)
        return np.asarray(self.total(values, parameters) + fixed)
