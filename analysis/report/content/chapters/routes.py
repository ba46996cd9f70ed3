"""The chapter on whether the two routes agree, and how far the law depends on choices."""

import math

from analysis.checks.robustness import Robustness
from analysis.engine.intervals import Interval
from analysis.report.content.document import Block, Cell, Chapter, Drawing, Number, Table
from analysis.report.content.numbers import digits_of, estimate, sentence
from analysis.report.figures.routes import routes
from analysis.report.fitted_study import FittedStudy
from analysis.report.headlines import paper_exponents

NOTHING = "whether two routes agree (there is at most one route to the exponents)"


def routes_chapter(findings: FittedStudy) -> Chapter | str:
    """Both routes to each exponent side by side, which to believe, and the law under other choices."""
    known = {
        name: found
        for name, found in findings.models.items()
        if math.isfinite(found.routes.mean_recurrence.parabolas.value)
        and math.isfinite(found.routes.mean_recurrence.law.value)
    }
    if not known:
        return NOTHING
    words = []
    for name, found in known.items():
        told = [
            sentence(f"{name}: {believed}").replace(name.capitalize(), name)
            for believed in found.routes.believed
        ]
        words += told or [f"For {name} all routes agree within their intervals."]
    paper = paper_exponents(findings)
    blocks: list[Block] = [
        "The optimum is found in two ways: from the isoFLOP curves alone, and as the minimum of the "
        "fitted law along each budget. Neither uses the other, so where they agree the exponent is not an "
        "artefact of the "
        "method. " + " ".join(words),
        Drawing(
            name="routes",
            figure=routes(known, paper),
            caption="Both routes to each exponent with 95 % intervals, over the budgets that both have."
            + (" Dotted: the paper's own values (figure 5)." if paper else ""),
        ),
    ]
    rows = [row for name, found in known.items() for row in _spread(name, found.robustness)]
    if rows:
        blocks.append(
            Table(
                name="robustness",
                columns=("model", "choice", "$E$", "$x$", "$y$", "law's exponent"),
                rows=tuple(rows),
                caption=(
                    "The training law under other choices: the lowest and highest value over Huber's "
                    "$delta$ from 0.0001 to 0.01 and squared error, and over leaving out each budget in "
                    "turn."
                ),
            )
        )
    return Chapter(title="Do two routes agree?", blocks=tuple(blocks))


def _spread(name: str, panel: Robustness) -> list[tuple[Cell, ...]]:
    groups = {
        "the loss function": [v for v in panel.variants if not v.setting.startswith("without")],
        "a budget left out": [v for v in panel.variants if v.setting.startswith("without")],
    }
    rows: list[tuple[Cell, ...]] = []
    for choice, variants in groups.items():
        if variants:
            part = Robustness(variants=tuple(variants))
            columns = ("E", "x", "y", "gamma_mean_recurrence")
            rows.append((name, choice, *(_range(*part.spread(column)) for column in columns)))
    return rows


def _range(low: float, high: float) -> Number:
    if not math.isfinite(low):
        return estimate(Interval(value=math.nan, low=math.nan, high=math.nan))
    return Number(
        text=f"{digits_of(low, 3)} to {digits_of(high, 3)}", value=(low + high) / 2, low=low, high=high
    )
