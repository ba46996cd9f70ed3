"""The forms of L(T) of one trained model."""

from analysis.laws.law import Law, Term
from analysis.laws.terms import DECAY, LIMIT, power, rate

SATURATION: dict[str, Law] = {
    law.name: law
    for law in (
        Law(
            name="exponential",
            equation="L(T) = L_inf + Z exp(-z T)",
            source="Parcae section 5, table 12",
            terms=(LIMIT, DECAY),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
        Law(
            name="shifted_power",
            equation="L(T) = L_inf + Z (1 + T)^-z",
            source="Parcae table 12",
            terms=(LIMIT, Term(coefficient="Z", g=power("T", 1.0), exponents=(rate("z"),))),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
        Law(
            name="power",
            equation="L(T) = L_inf + Z T^-z",
            source="Parcae table 12",
            terms=(LIMIT, Term(coefficient="Z", g=power("T"), exponents=(rate("z"),))),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
        Law(
            name="power_no_floor",
            equation="L(T) = Z T^-z",
            source="Parcae table 12",
            terms=(Term(coefficient="Z", g=power("T"), exponents=(rate("z"),)),),
            variables=("T",),
            spare_points=1,  # table 8 has four points a run
        ),
    )
}
