"""The unified law: the training law plus a decay in the test recurrence T."""

import numpy as np

from analysis.laws.law import Array, Data, Exponent, Exponents, Law, Term
from analysis.laws.terms import DECAY, FLOOR, RELATIVE_DECAY, SIZE, SIZE_WITH_TOKENS, TOKENS, rate


def conditioned_decay(data: Data, theta: Array) -> Exponents:
    """g = -z T / mu^gamma."""
    log_mu = np.atleast_2d(np.log(data["mu"]))
    z, u = theta[:, :1], np.atleast_2d(data["T"]) * np.exp(-theta[:, 1:2] * log_mu)
    return Exponents(-z * u, (-u, z * u * log_mu), {(0, 1): u * log_mu, (1, 1): -z * u * log_mu**2})


def measured_floor(data: Data, theta: Array) -> Exponents:
    """g = ln of the measured floor."""
    return Exponents(np.atleast_2d(np.log(data["floor"])) + np.zeros((len(theta), 1)), (), {})


UNIFIED: dict[str, Law] = {
    law.name: law
    for law in (
        Law(
            name="gamma_one",
            equation="L(T) = E + X N^-x + Y D^-y + Z exp(-z T / mu)",
            source="Parcae section 5, table 14",
            terms=(FLOOR, SIZE, TOKENS, RELATIVE_DECAY),
            variables=("N", "D", "T", "mu"),
        ),
        Law(
            name="learned_gamma",
            equation="L(T) = E + X N^-x + Y D^-y + Z exp(-z T / mu^gamma)",
            source="Parcae table 14",
            terms=(
                FLOOR,
                SIZE,
                TOKENS,
                Term(
                    coefficient="Z",
                    g=conditioned_decay,
                    exponents=(
                        rate("z"),
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
            terms=(FLOOR, SIZE, TOKENS, DECAY),
            variables=("N", "D", "T"),
        ),
        Law(
            name="coupled_floor",
            equation="L(T) = E + ((X N^-x)^(1/k) + (Y D^-y)^(1/k))^k + Z exp(-z T / mu)",
            source="the coupled law (arXiv 2608.07222) in the place of the training law",
            terms=(FLOOR, SIZE, TOKENS, RELATIVE_DECAY),
            coupling=SIZE_WITH_TOKENS,
            variables=("N", "D", "T", "mu"),
        ),
    )
}

ORACLE_FLOOR = Law(
    name="oracle_floor",
    equation="L(T) = L(mu) + Z exp(-z T / mu)",
    source="Parcae section 5: the floor replaced by the measured loss at T = mu",
    terms=(Term(coefficient="1", g=measured_floor, free=False), RELATIVE_DECAY),
    variables=("floor", "T", "mu"),
)
