"""The law in which a recurrence is worth nothing."""

from analysis.laws.law import Law
from analysis.laws.terms import FLOOR, TOKENS

TOKENS_ONLY = Law(
    name="tokens_only",
    equation="L = E + Y D^-y",
    source="Kaplan et al. arXiv 2001.08361; the law in which a recurrence is worth nothing",
    terms=(FLOOR, TOKENS),
    variables=("D",),
)
