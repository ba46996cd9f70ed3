"""The coupled law: size and tokens limit the loss together, the more so the larger k is.

X N^-x and Y D^-y are the two terms on their own, whatever k; with A = X^(1/k) and B = Y^(1/k) the law reads
L = E + (A N^(-x/k) + B D^(-y/k))^k.
"""

from analysis.laws.law import Law
from analysis.laws.terms import FLOOR, SIZE, SIZE_WITH_TOKENS, TOKENS

COUPLED = Law(
    name="coupled",
    equation="L = E + ((X N^-x)^(1/k) + (Y D^-y)^(1/k))^k",
    source="arXiv 2608.07222; k = 1 is the training law",
    terms=(FLOOR, SIZE, TOKENS),
    coupling=SIZE_WITH_TOKENS,
    variables=("N", "D"),
)
