"""The laws: what each predicts, its derivatives, its equation and where it comes from.

Every law is a sum of terms, loss = sum_k c_k exp(g_k(theta; data)), linear in its coefficients c >= 0 and
curved only in its exponents theta; the fit engine needs no more than g_k and its first two derivatives.
Shapes: R rows (independent problems or starts), n points, q exponents of one term.
Variables of the data: N effective parameters, D tokens, T test recurrences, mu mean recurrence, once and
recurrent parameters, floor a measured loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Whole = NDArray[np.int64]
Data = Mapping[str, Array]


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
class Law:
    name: str
    equation: str
    source: str
    terms: tuple[Term, ...]
    variables: tuple[str, ...]
    spare_points: int = 3
    """Distinct points that a fit needs beyond one a parameter; with fewer it follows the noise."""

    @property
    def coefficients(self) -> tuple[str, ...]:
        """Names of the free coefficients, in the order of the terms."""
        return tuple(term.coefficient for term in self.terms if term.free)

    @property
    def exponents(self) -> tuple[Exponent, ...]:
        return tuple(e for term in self.terms for e in term.exponents)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all parameters: coefficients first, then exponents."""
        return self.coefficients + tuple(e.name for e in self.exponents)

    def predict(self, parameters: Array, data: Data) -> Array:
        """Loss (R, n) in nats, for parameters (R, p) in raw units and data of n points each."""
        parameters = np.atleast_2d(parameters)
        coefficient, exponent, total = 0, len(self.coefficients), np.zeros(1)
        for term in self.terms:
            width = len(term.exponents)
            g = term.g(data, parameters[:, exponent : exponent + width]).g
            exponent += width
            if term.free:
                # c exp(g) as one exponential: a coefficient of 1e300 and its tiny power stay finite.
                with np.errstate(divide="ignore"):
                    g = g + np.log(parameters[:, coefficient])[:, None]
                coefficient += 1
            total = total + np.exp(g)
        return total


def _constant(data: Data, theta: Array) -> Exponents:
    return Exponents(np.zeros((len(theta), len(next(iter(data.values()))))), (), {})


def _measured_floor(data: Data, theta: Array) -> Exponents:
    return Exponents(np.log(data["floor"])[None, :] + np.zeros((len(theta), 1)), (), {})


def _power(variable: str, shift: float = 0.0) -> Callable[[Data, Array], Exponents]:
    """g = -a ln(variable + shift)."""

    def g(data: Data, theta: Array) -> Exponents:
        log_v = np.log(data[variable] + shift)[None, :]
        return Exponents(-theta[:, :1] * log_v, (-log_v,), {})

    return g


def _decay(data: Data, theta: Array) -> Exponents:
    """g = -z T."""
    t = data["T"][None, :]
    return Exponents(-theta[:, :1] * t, (-t,), {})


def _relative_decay(data: Data, theta: Array) -> Exponents:
    """g = -z T / mu."""
    t = (data["T"] / data["mu"])[None, :]
    return Exponents(-theta[:, :1] * t, (-t,), {})


def _conditioned_decay(data: Data, theta: Array) -> Exponents:
    """g = -z T / mu^gamma."""
    log_mu = np.log(data["mu"])[None, :]
    z, u = theta[:, :1], data["T"][None, :] * np.exp(-theta[:, 1:2] * log_mu)
    return Exponents(-z * u, (-u, z * u * log_mu), {(0, 1): u * log_mu, (1, 1): -z * u * log_mu**2})


def _equivalent_parameters(data: Data, theta: Array) -> Exponents:
    """g = -alpha ln(once + mu^phi recurrent)."""
    log_mu = np.log(data["mu"])[None, :]
    alpha, looped = theta[:, :1], np.exp(theta[:, 1:2] * log_mu) * data["recurrent"][None, :]
    total = data["once"][None, :] + looped
    log_total, share = np.log(total), looped / total
    slope = share * log_mu
    return Exponents(
        -alpha * log_total,
        (-log_total, -alpha * slope),
        {(0, 1): -slope, (1, 1): -alpha * slope * log_mu * (1 - share)},
    )


def _exponent(name: str, low: float = 1e-3, high: float = 10.0) -> Exponent:
    """A power law's exponent; the bounds are far outside anything measured (0.2 to 1.2)."""
    return Exponent(name=name, low=low, high=high, start_low=0.05, start_high=2.0)


def _rate(name: str) -> Exponent:
    """A decay rate in units of 1/T; beyond the bounds the decay is a straight line or a single step."""
    return Exponent(name=name, low=1e-4, high=20.0, start_low=0.02, start_high=5.0)


_FLOOR = Term(coefficient="E", g=_constant)
_SIZE = Term(coefficient="X", g=_power("N"), exponents=(_exponent("x"),))
_TOKENS = Term(coefficient="Y", g=_power("D"), exponents=(_exponent("y"),))
_DECAY = Term(coefficient="Z", g=_decay, exponents=(_rate("z"),))
_RELATIVE_DECAY = Term(coefficient="Z", g=_relative_decay, exponents=(_rate("z"),))
_LIMIT = Term(coefficient="L_inf", g=_constant)

TRAINING = Law(
    name="training",
    equation="L = E + X N^-x + Y D^-y",
    source="Parcae section 5; with N the plain parameters, Hoffmann et al. arXiv 2203.15556 equation 2",
    terms=(_FLOOR, _SIZE, _TOKENS),
    variables=("N", "D"),
)
TOKENS_ONLY = Law(
    name="tokens_only",
    equation="L = E + Y D^-y",
    source="Kaplan et al. arXiv 2001.08361; the law in which a recurrence is worth nothing",
    terms=(_FLOOR, _TOKENS),
    variables=("D",),
)
EQUIVALENCE = Law(
    name="equivalence",
    equation="L = E + A (N_once + r^phi N_rec)^-alpha + B D^-beta",
    source="Schwethelm et al. arXiv 2604.21106",
    terms=(
        _FLOOR,
        Term(
            coefficient="A",
            g=_equivalent_parameters,
            exponents=(
                _exponent("alpha"),
                Exponent(name="phi", low=-1.0, high=3.0, start_low=0.05, start_high=1.5),
            ),
        ),
        Term(coefficient="B", g=_power("D"), exponents=(_exponent("beta"),)),
    ),
    variables=("once", "recurrent", "mu", "D"),
)

SATURATION: dict[str, Law] = {
    law.name: law
    for law in (
        Law(
            name="exponential",
            equation="L(T) = L_inf + Z exp(-z T)",
            source="Parcae section 5, table 12",
            terms=(_LIMIT, _DECAY),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
        Law(
            name="shifted_power",
            equation="L(T) = L_inf + Z (1 + T)^-z",
            source="Parcae table 12",
            terms=(_LIMIT, Term(coefficient="Z", g=_power("T", 1.0), exponents=(_rate("z"),))),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
        Law(
            name="power",
            equation="L(T) = L_inf + Z T^-z",
            source="Parcae table 12",
            terms=(_LIMIT, Term(coefficient="Z", g=_power("T"), exponents=(_rate("z"),))),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
        Law(
            name="power_no_floor",
            equation="L(T) = Z T^-z",
            source="Parcae table 12",
            terms=(Term(coefficient="Z", g=_power("T"), exponents=(_rate("z"),)),),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
    )
}

UNIFIED: dict[str, Law] = {
    law.name: law
    for law in (
        Law(
            name="gamma_one",
            equation="L(T) = E + X N^-x + Y D^-y + Z exp(-z T / mu)",
            source="Parcae section 5, table 14",
            terms=(_FLOOR, _SIZE, _TOKENS, _RELATIVE_DECAY),
            variables=("N", "D", "T", "mu"),
        ),
        Law(
            name="learned_gamma",
            equation="L(T) = E + X N^-x + Y D^-y + Z exp(-z T / mu^gamma)",
            source="Parcae table 14",
            terms=(
                _FLOOR,
                _SIZE,
                _TOKENS,
                Term(
                    coefficient="Z",
                    g=_conditioned_decay,
                    exponents=(
                        _rate("z"),
                        Exponent(name="gamma", low=-1.0, high=3.0, start_low=0.05, start_high=2.0),
                    ),
                ),
            ),
            variables=("N", "D", "T", "mu"),
        ),
        Law(
            name="no_conditioning",
            equation="L(T) = E + X N^-x + Y D^-y + Z exp(-z T)",
            source="Parcae table 14",
            terms=(_FLOOR, _SIZE, _TOKENS, _DECAY),
            variables=("N", "D", "T"),
        ),
    )
}

ORACLE_FLOOR = Law(
    name="oracle_floor",
    equation="L(T) = L(mu) + Z exp(-z T / mu)",
    source="Parcae section 5: the floor replaced by the measured loss at T = mu",
    terms=(Term(coefficient="1", g=_measured_floor, free=False), _RELATIVE_DECAY),
    variables=("floor", "T", "mu"),
)
