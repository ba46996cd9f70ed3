"""The chapter on models without a loop: how large, and on how many tokens, for each budget."""

from analysis.data.points import spaced
from analysis.engine.intervals import Interval
from analysis.report.content.chapters.frontier import ROWS
from analysis.report.content.document import Block, Cell, Chapter, Table
from analysis.report.content.numbers import amount, digits_of, estimate, sentence, tokens
from analysis.report.fitted_study import FittedStudy
from sweeps.store.rows import NO_LOOP

NOTHING = "the best size without a loop (no law knows it from runs of two sizes or more)"


def sizes_chapter(findings: FittedStudy) -> Chapter | str:
    """The best parameters, tokens and loss of each budget; nothing to say of loops."""
    rows: list[tuple[Cell, ...]] = []
    blocks: list[Block] = []
    for name, found in findings.models.items():
        supported = [p for p in found.sizes.points if p.supported] if found.sizes else []
        if found.sizes is None or not supported:
            continue
        price, growth = found.sizes.price, found.sizes.exponents
        blocks.append(
            f"The law of {name} is minimised over parameters at fixed FLOPs ({price.costs}). The best "
            f"parameters grow as {_power(growth.on_axis)} and the best tokens as {_power(growth.tokens)}."
        )
        blocks += [sentence(f"{name}: {warning}") for warning in found.sizes.warnings]
        rows += [
            (name, amount(p.flops), amount(p.parameters.value), tokens(p.tokens.value), estimate(p.loss, 4))
            for p in spaced(supported, ROWS)
        ]
    if not rows:
        flat = any(found.points.architecture == NO_LOOP for found in findings.models.values())
        return NOTHING if flat else ""
    blocks.append(
        Table(
            name="sizes",
            columns=("model", "budget", "parameters", "tokens", "loss (nats)"),
            rows=tuple(rows),
            caption="The best size without a loop: parameters, tokens and loss, with its 95 % interval.",
        )
    )
    return Chapter(title="Which size does the law advise?", blocks=tuple(blocks))


def _power(value: Interval) -> str:
    shown = digits_of(value.value, 3)
    return f"$C^{shown}${estimate(value).text.removeprefix(shown)}"
