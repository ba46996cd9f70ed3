"""The chapter on the optimum of each budget."""

import math
from functools import partial

from analysis.data.axis import Axis
from analysis.data.points import ModelPoints, spaced
from analysis.fits.isoflop.result import IsoflopFit
from analysis.report.content.document import Block, Cell, Chapter, Dot, Drawing, Panel, Series, Table
from analysis.report.content.numbers import (
    NONE,
    amount,
    counted,
    digits_of,
    estimate,
    flops,
    listed,
    plain,
    sentence,
    tokens,
)
from analysis.report.figures.isoflop import curve_id, isoflop, isoflop_curves
from analysis.report.figures.power_laws import optima, power_laws, worth_drawing
from analysis.report.figures.style import MOST_SHOWN
from analysis.report.fitted_study import FittedModel, FittedStudy

SYMBOLS = {Axis.MEAN_RECURRENCE: "mu_rec", Axis.TOKENS: "D", Axis.PARAMETERS: "N"}
ROWS = 12
"""Budgets of a model in the table; of more, so many at even distances."""
NOTHING = "the optimum of each budget (no budget has runs at four or more places along one axis)"


def isoflop_chapter(findings: FittedStudy) -> Chapter | str:
    """Each model's curves, what they say, and the power laws through the optima."""
    drawn = {
        name: found
        for name, found in findings.models.items()
        if any(o.along_axis is not None for o in found.isoflop.optima)
    }
    if not drawn:
        return NOTHING
    blocks: list[Block] = [
        "For each budget a parabola of the loss in the logarithm of what was varied is fitted by least "
        "squares. Its vertex is an optimum only where the curve opens upward beyond its noise and the "
        "vertex lies within what was sampled; anything else is not counted."
    ]
    for name, found in drawn.items():
        blocks.append(_reading(name, found))
        blocks.append(
            Drawing(
                name=f"isoflop-{slug(name)}",
                figure=isoflop(found.isoflop),
                caption=_caption(name, found),
                panels=_panels(found.isoflop),
                series=_series(found),
            )
        )
    fits = {name: found.isoflop for name, found in drawn.items()}
    if any(fit.interior for fit in fits.values()):
        blocks.append(_optima(fits))
    if worth_drawing(fits):
        blocks.append(
            Drawing(
                name="power-laws",
                figure=power_laws(fits),
                panels={"axis": partial(optima, fits), "tokens": partial(optima, fits, tokens=True)},
                caption="The optima over budgets, with least-squares lines in the logarithms. Marks are the "
                "parabolas' own vertices, whiskers the 95 % interval of each with the parabola's bias "
                "taken off.",
            )
        )
    blocks.append(_laws(fits))
    axis = next(iter(fits.values())).axis
    title = "How often to loop" if axis is Axis.MEAN_RECURRENCE else "How large a model"
    return Chapter(title=f"{title}, on how many tokens?", blocks=tuple(blocks))


def _panels(fit: IsoflopFit) -> dict[str, Panel]:
    along: dict[str, Panel] = {fit.axis.value: partial(isoflop_curves, fit)}
    if fit.axis is not Axis.TOKENS and any(o.curve.log_d is not None for o in fit.optima):
        along["tokens"] = partial(isoflop_curves, fit, tokens=True)
    return along


def _series(found: FittedModel) -> tuple[Series, ...]:
    """Each budget's curve, with what there is to say of its runs."""
    axis = found.isoflop.axis
    points = found.points.select(found.points.along(axis))
    return tuple(
        Series(
            label=flops(optimum.flops),
            gid=curve_id(position),
            dots=tuple(_dot(points, int(run)) for run in optimum.curve.position),
        )
        for position, optimum in enumerate(spaced(found.isoflop.optima, MOST_SHOWN))
    )


def _dot(points: ModelPoints, at: int) -> Dot:
    words = [f"mean recurrence {points.mean_recurrence[at]:g}"]
    for what, value in (("parameters", points.effective_parameters[at]), ("tokens", points.tokens[at])):
        if math.isfinite(value):
            words.append(f"{value:.3g} {what}")
    words.append(f"loss {points.loss[at]:.5g} nats")
    return Dot(run_id=points.run_ids[at], text=", ".join(words))


def slug(name: str) -> str:
    """A model's name as part of a file's."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name).strip("-")


def _reading(name: str, found: FittedModel) -> str:
    fit = found.isoflop
    interior, all_of = fit.interior, fit.optima
    words = [f"{name}: an optimum at {len(interior)} of {counted(len(all_of), 'budget')}."]
    if found.points.passed_over:
        words.append(
            f"Only the best run of each cell is fitted; {counted(found.points.passed_over, 'run')} of other "
            "hyperparameters were passed over."
        )
    if len(interior) > 1:
        first, last = interior[0], interior[-1]
        words.append(
            f"The best {fit.axis.words} moves from {digits_of(first.on_axis, 3)} at {flops(first.flops)} "
            f"FLOPs to {digits_of(last.on_axis, 3)} at {flops(last.flops)}."
        )
    warnings = list(dict.fromkeys(found.routes.warnings))
    words += [sentence(warning) for warning in warnings[:4]]
    if len(warnings) > 4:
        words.append(f"{len(warnings) - 4} more warnings are printed by `parcae-fit isoflop`.")
    return " ".join(words)


def _caption(name: str, found: FittedModel) -> str:
    fit = found.isoflop
    beside = "" if fit.axis is Axis.TOKENS else f" (a) along {fit.axis.words} and (b) along tokens"
    some = f" {MOST_SHOWN} of {len(fit.optima)} budgets are drawn." if len(fit.optima) > MOST_SHOWN else ""
    return (
        f"IsoFLOP curves of {name}{beside}. Dots are runs, lines parabolas in the logarithm; open stars "
        f"mark optima, and a dotted line is a parabola without one.{some}"
    )


def _optima(fits: dict[str, IsoflopFit]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    along = {fit.axis for fit in fits.values()}
    symbol = SYMBOLS[next(iter(along))] if len(along) == 1 else "v"
    shortened = False
    for name, fit in fits.items():
        corrected = {o.flops: o for o in fit.corrected.optima} if fit.corrected else {}
        shown = spaced(fit.optima, ROWS)
        shortened = shortened or len(shown) < len(fit.optima)
        for optimum in shown:
            fixed = corrected.get(optimum.flops)
            rows.append(
                (
                    name,
                    amount(optimum.flops),
                    plain(optimum.on_axis) if fit.axis is Axis.MEAN_RECURRENCE else tokens(optimum.on_axis),
                    (estimate(fixed.on_axis) if fixed.used else "beyond the grid") if fixed else NONE,
                    tokens(optimum.tokens),
                    tokens(fixed.tokens.value) if fixed and fixed.used else NONE,
                    plain(optimum.loss, 4),
                    optimum.verdict.value,
                )
            )
    return Table(
        name="optima",
        columns=(
            "model",
            "budget",
            f"${symbol}^*$",
            f"${symbol}^*$ corrected",
            "$D^*$",
            "$D^*$ corrected",
            "loss",
            "verdict",
        ),
        rows=tuple(rows),
        caption=(
            "The optimum of each budget: the parabola's vertex, the same with the parabola's bias taken "
            "off and its 95 % interval, tokens by a parabola in tokens and as what the budget buys at the "
            "corrected optimum, and "
            "the loss there in nats." + (" Some budgets, at even distances." if shortened else "")
        ),
    )


def _laws(fits: dict[str, IsoflopFit]) -> str:
    words = []
    for name, fit in fits.items():
        parts = []
        for symbol, law in ((SYMBOLS[fit.axis], fit.gamma_axis), ("D", fit.gamma_tokens)):
            if math.isfinite(law.exponent.value):
                limits = law.exponent
                inside = (
                    f" ({digits_of(limits.low, 3)} to {digits_of(limits.high, 3)})"
                    if math.isfinite(limits.low)
                    else ""
                )
                parts.append(f"${symbol}^* = {_bare(law.k)} C^{digits_of(limits.value, 3)}${inside}")
        if parts:
            words.append(f"{name}: {listed(parts)}, {fit.gamma_axis.message.partition(';')[0]}")
        else:
            words.append(f"{name}: no power law, {fit.gamma_axis.message}")
    return " ".join(sentence(word) if not word[0].islower() else word + "." for word in words)


def _bare(value: float) -> str:
    return digits_of(value, 3).strip("$")
