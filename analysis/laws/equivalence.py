"""Recurrence equivalence: a recurrence is worth r^phi unique blocks."""

import numpy as np

from analysis.laws.law import Array, Data, Exponent, Exponents, Law, Term
from analysis.laws.terms import FLOOR, exponent, power


def equivalent_parameters(data: Data, theta: Array) -> Exponents:
    """g = -alpha ln(once + mu^phi recurrent)."""
    log_mu = np.atleast_2d(np.log(data["mu"]))
    alpha, looped = theta[:, :1], np.exp(theta[:, 1:2] * log_mu) * data["recurrent"]
    total = data["once"] + looped
    log_total, share = np.log(total), looped / total
    slope = share * log_mu
    return Exponents(
        -alpha * log_total,
        (-log_total, -alpha * slope),
        {(0, 1): -slope, (1, 1): -alpha * slope * log_mu * (1 - share)},
    )


EQUIVALENCE = Law(
    name="equivalence",
    equation="L = E + A (N_once + r^phi N_rec)^-alpha + B D^-beta",
    source="Schwethelm et al. arXiv 2604.21106",
    terms=(
        FLOOR,
        Term(
            coefficient="A",
            g=equivalent_parameters,
            exponents=(
                exponent("alpha"),
                Exponent(name="phi", low=-1.0, high=3.0, start_low=0.05, start_high=1.5),
            ),
        ),
        Term(coefficient="B", g=power("D"), exponents=(exponent("beta"),)),
    ),
    variables=("once", "recurrent", "mu", "D"),
)
