"""What isoFLOP curves say: each budget's optimum, the exponents through them, and both without the bias."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.data.axis import Axis
from analysis.engine.formatting import brief, number, spell, table
from analysis.engine.intervals import Interval, finite
from analysis.fits.isoflop.optimum import Optimum
from analysis.fits.isoflop.power_law import PowerLaw

SYMBOLS = {Axis.MEAN_RECURRENCE: "mu_rec*", Axis.PARAMETERS: "N*", Axis.TOKENS: "D*"}


@dataclass(frozen=True, kw_only=True)
class CorrectedOptimum:
    """One budget's vertex with the parabola's bias taken off."""

    flops: float
    on_axis: Interval
    tokens: Interval
    """What the budget buys there."""
    of_laws: float
    """The laws' own optimum along the axis, the median of their draws."""
    used: bool
    """False where the laws' own optimum lies outside the sampled range: extrapolated, so in no exponent. (The
    laws decide, whose optimum rests on all runs: a choice by the budget's own noise would bias the exponent.)
    """


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Corrected:
    """The optima and exponents with the parabolas' bias taken off."""

    forms: Mapping[str, float]
    """The laws that the bias was measured on, with their weights."""
    optima: tuple[CorrectedOptimum, ...]
    """Of the budgets whose vertex is interior."""
    gamma_axis: PowerLaw
    gamma_tokens: PowerLaw
    plain_axis: PowerLaw
    """By plain parabolas, over the same budgets."""
    plain_tokens: PowerLaw
    bias: float
    """Of the plain exponent of the axis."""

    def __repr__(self) -> str:
        return brief(self, "gamma_axis", "gamma_tokens", "bias")

    def to_dict(self, axis: Axis) -> dict[str, Any]:
        """Tokens are what the budget buys at the corrected optimum."""
        return {
            "forms": dict(self.forms),
            "optima": [
                {
                    "flops": o.flops,
                    axis.column: o.on_axis.to_dict(),
                    "tokens": o.tokens.to_dict(),
                    f"{axis.column}_of_laws": finite(o.of_laws),
                    "used": o.used,
                }
                for o in self.optima
            ],
            f"gamma_{axis.column}": self.gamma_axis.to_dict(),
            "gamma_tokens": self.gamma_tokens.to_dict(),
            "bias": finite(self.bias),
        }


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class IsoflopFit:
    """Curves, optima and exponents of one model."""

    axis: Axis
    optima: tuple[Optimum, ...]
    gamma_mean_recurrence: PowerLaw
    gamma_parameters: PowerLaw
    gamma_tokens: PowerLaw
    gamma_tokens_tied: PowerLaw
    """Through `tokens_tied`."""
    corrected: Corrected | None
    """None if no law could be fitted, or none was given."""
    warnings: tuple[str, ...]

    @property
    def interior(self) -> tuple[Optimum, ...]:
        return tuple(optimum for optimum in self.optima if optimum.interior)

    @property
    def gamma_axis(self) -> PowerLaw:
        law: PowerLaw = getattr(self, f"gamma_{self.axis.column}")
        return law

    def __repr__(self) -> str:
        law = "" if math.isnan(self.gamma_axis.exponent.value) else f", C^{spell(self.gamma_axis.exponent)}"
        found = f"{len(self.interior)} of {len(self.optima)} budgets have an optimum"
        return f"IsoflopFit({self.axis.words}: {found}{law})"

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit isoflop --json` prints of the curves."""
        return {
            "axis": self.axis.words,
            "optima": [optimum.to_dict() for optimum in self.optima],
            "gamma_mean_recurrence": self.gamma_mean_recurrence.to_dict(),
            "gamma_parameters": self.gamma_parameters.to_dict(),
            "gamma_tokens": self.gamma_tokens.to_dict(),
            "gamma_tokens_tied": self.gamma_tokens_tied.to_dict(),
            "corrected": None if self.corrected is None else self.corrected.to_dict(self.axis),
        }

    def summary(self) -> str:
        """Optima and exponents as text, plain and corrected."""
        symbol = SYMBOLS[self.axis]
        laws = [(symbol, self.gamma_axis), ("D*", self.gamma_tokens)][: 1 if self.axis is Axis.TOKENS else 2]
        lines = [_power_law_text(f"{name} = k C^gamma", law) for name, law in laws]
        far = [f"{o.flops:.3g}" for o in self.interior if o.tokens_extrapolated]
        if far:
            lines.append(f"D* at {', '.join(far)} FLOPs is extrapolated; only this plain exponent uses it")
        found = self.corrected
        fixed = {} if found is None else {o.flops: o for o in found.optima}
        if found is not None:
            forms = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.forms.items())
            lines.append(f"corrected for the bias of parabolas, as measured on the laws ({forms}):")
            lines.append("  " + _power_law_text(f"{symbol} corrected", found.gamma_axis))
            if self.axis is not Axis.TOKENS:
                lines.append(
                    "  " + _power_law_text(f"D*, the budget over the cost at {symbol}", found.gamma_tokens)
                )
        rows = [
            (
                f"{o.flops:.3g}",
                str(o.points),
                number(o.on_axis, 3),
                *([] if self.axis is Axis.TOKENS else [number(o.tokens, 3)]),
                *(_corrected_cells(fixed.get(o.flops), self.axis) if found else []),
                number(o.loss),
                o.verdict.value,
            )
            for o in self.optima
        ]
        tokens = [] if self.axis is Axis.TOKENS else ["D*"]
        beside = [f"{symbol} corrected", *(f"{name} corrected" for name in tokens)] if found else []
        columns = ("FLOPs", "runs", symbol, *tokens, *beside, "loss*", "verdict")
        lines += ["", table(columns, rows)]
        beyond = [f"{number(o.of_laws, 3)} at {o.flops:.3g} FLOPs" for o in fixed.values() if not o.used]
        if beyond:
            lines.append(
                "* not used in a corrected exponent, because the laws' own optimum lies outside the sampled "
                f"range: {', '.join(beyond)}"
            )
        return "\n".join(lines)


def _power_law_text(name: str, law: PowerLaw) -> str:
    return f"{name}: {law.summary()}"


def _corrected_cells(optimum: CorrectedOptimum | None, axis: Axis) -> list[str]:
    if optimum is None:
        return ["–"] * (1 if axis is Axis.TOKENS else 2)
    mark = "" if optimum.used else "*"
    cells = [optimum.on_axis] if axis is Axis.TOKENS else [optimum.on_axis, optimum.tokens]
    return [number(value.value, 3) + mark for value in cells]
