"""The first page's figure, and the exponents by every route."""

from analysis.report.content.abstract import is_scaling
from analysis.report.content.document import Block, Cell, Drawing, Table
from analysis.report.content.numbers import NONE, estimate, flops, plain
from analysis.report.figures.composite import composite
from analysis.report.fitted_study import FittedStudy
from analysis.report.headlines import paper_exponents


def main_figure(findings: FittedStudy) -> list[Block]:
    """The panels that answer the question; none where a chapter's own figure says as much."""
    drawn = composite(findings) if is_scaling(findings) else None
    if drawn is None:
        return []
    figure, captions = drawn
    words = [f"({which}) {caption}" for which, caption in zip("abc", captions, strict=False)]
    return [Drawing(name="summary", figure=figure, caption=" ".join(words))]


def exponents_table(findings: FittedStudy) -> list[Block]:
    rows, paper = [], paper_exponents(findings)
    for name, found in findings.models.items():
        for route in found.routes.rows:
            values = (route.parabolas, route.corrected, route.law)
            over = f"{flops(route.budgets[0])} to {flops(route.budgets[-1])}" if route.budgets else "–"
            cells: list[Cell] = [name, route.quantity, over, *(estimate(value) for value in values)]
            if paper:
                position = int(route.quantity == "tokens")
                cells.append(plain(paper[name][position], 2) if name in paper else NONE)
            rows.append(tuple(cells))
    if not rows:
        return []
    columns = (
        "model",
        "exponent of",
        "over (FLOPs)",
        "parabolas",
        "parabolas corrected",
        "law's own minimum",
    )
    return [
        Table(
            name="exponents",
            columns=(*columns, "paper") if paper else columns,
            rows=tuple(rows),
            caption="Exponents of the optimum in the budget, $C^gamma$, by each route over the same budgets, "
            "with 95 % intervals. "
            "Corrected: with the bias taken off that parabolas have on this grid, as measured on the fitted "
            "laws.",
        )
    ]
