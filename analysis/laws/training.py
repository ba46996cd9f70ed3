"""The training law of the paper."""

from analysis.laws.law import Law
from analysis.laws.terms import FLOOR, SIZE, TOKENS

TRAINING = Law(
    name="training",
    equation="L = E + X N^-x + Y D^-y",
    source="Parcae section 5; with N the plain parameters, Hoffmann et al. arXiv 2203.15556 equation 2",
    terms=(FLOOR, SIZE, TOKENS),
    variables=("N", "D"),
)
