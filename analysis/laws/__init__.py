"""The laws, a file each: terms, bounds, equation and source.

``FORMS`` are the laws of a run's loss in its parameters and tokens, which compete for a study: whatever is
registered is fitted, compared, printed and reported beside the others.
"""

from analysis.laws.coupled import COUPLED
from analysis.laws.equivalence import EQUIVALENCE
from analysis.laws.law import (
    Array,
    Coupling,
    Data,
    Exponent,
    Exponents,
    Law,
    Mask,
    Term,
    Whole,
)
from analysis.laws.saturation import SATURATION
from analysis.laws.tokens_only import TOKENS_ONLY
from analysis.laws.training import TRAINING
from analysis.laws.unified import ORACLE_FLOOR, UNIFIED

__all__ = [
    "COUPLED",
    "EQUIVALENCE",
    "FORMS",
    "ORACLE_FLOOR",
    "SATURATION",
    "TOKENS_ONLY",
    "TRAINING",
    "UNIFIED",
    "Array",
    "Coupling",
    "Data",
    "Exponent",
    "Exponents",
    "Law",
    "Mask",
    "Term",
    "Whole",
    "register",
]

FORMS: dict[str, Law] = {}
"""Name -> law, in the order of tables."""


def register(law: Law) -> Law:
    """Adds `law` to the forms that compete for every study; its variables are those of a model's runs."""
    unknown = set(law.variables) - {"N", "D", "mu", "once", "recurrent"}
    assert not unknown, f"a run has no {unknown}"
    FORMS[law.name] = law
    return law


for _law in (TRAINING, COUPLED, EQUIVALENCE, TOKENS_ONLY):
    register(_law)
