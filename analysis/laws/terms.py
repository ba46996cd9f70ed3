"""The terms that laws are made of: each one's exponent g, its derivatives, its bounds and its starts."""

from collections.abc import Callable

import numpy as np

from analysis.laws.law import Array, Coupling, Data, Exponent, Exponents, Term


def exponent(name: str, low: float = 1e-3, high: float = 10.0) -> Exponent:
    """A power law's exponent; the bounds are far outside anything measured (0.2 to 1.2)."""
    return Exponent(name=name, low=low, high=high, start_low=0.05, start_high=2.0)


def rate(name: str) -> Exponent:
    """A decay rate in units of 1/T; beyond the bounds the decay is a straight line or a single step."""
    return Exponent(name=name, low=1e-4, high=20.0, start_low=0.02, start_high=5.0)


def power(variable: str, shift: float = 0.0) -> Callable[[Data, Array], Exponents]:
    """g = -a ln(variable + shift)."""

    def g(data: Data, theta: Array) -> Exponents:
        log_v = np.atleast_2d(np.log(data[variable] + shift))
        return Exponents(-theta[:, :1] * log_v, (-log_v,), {})

    return g


def constant(data: Data, theta: Array) -> Exponents:
    """g = 0."""
    points = np.shape(next(iter(data.values())))[-1]
    return Exponents(np.zeros((len(theta), points)), (), {})


def decay(data: Data, theta: Array) -> Exponents:
    """g = -z T."""
    t = np.atleast_2d(data["T"])
    return Exponents(-theta[:, :1] * t, (-t,), {})


def relative_decay(data: Data, theta: Array) -> Exponents:
    """g = -z T / mu."""
    t = np.atleast_2d(data["T"] / data["mu"])
    return Exponents(-theta[:, :1] * t, (-t,), {})


FLOOR = Term(coefficient="E", g=constant)
SIZE = Term(coefficient="X", g=power("N"), exponents=(exponent("x"),))
TOKENS = Term(coefficient="Y", g=power("D"), exponents=(exponent("y"),))
DECAY = Term(coefficient="Z", g=decay, exponents=(rate("z"),))
RELATIVE_DECAY = Term(coefficient="Z", g=relative_decay, exponents=(rate("z"),))
LIMIT = Term(coefficient="L_inf", g=constant)

SIZE_WITH_TOKENS = Coupling(
    coefficients=("X", "Y"),
    exponent=Exponent(name="k", low=0.2, high=6.0, start_low=0.7, start_high=2.5),
)
"""Size and tokens coupled; the bounds are far outside what the published points allow (1.2 to 2.0)."""
