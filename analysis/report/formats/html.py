"""The report as one page that needs neither server nor network: figures, styles and script are in it.

Without the script everything but the calculator can be read. With it, runs in the curves can be pointed at,
by mouse or by keyboard, and lead to their row in the table of runs; budgets can be hidden.
"""

import base64
import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from analysis.engine.formatting import span
from analysis.engine.intervals import Interval
from analysis.report.content.document import (
    Answers,
    Block,
    Cell,
    Document,
    Drawing,
    Equation,
    Listing,
    Table,
    text_of,
)
from analysis.report.content.numbers import amount, estimate, sentence
from analysis.report.figures.files import rendered
from analysis.report.figures.isoflop import RUNS
from analysis.report.mathematics import HTML, bare, literal, prose, typeset

PRECISIONS = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes of a weight."""


def html_page(document: Document) -> str:
    """The whole document."""
    return "\n".join(_lines(document))


def _lines(document: Document) -> Iterator[str]:
    here = files("analysis.report.formats")
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{html.escape(bare(document.title))}</title>"
    yield f"<style>\n{(here / 'page.css').read_text()}</style>\n</head>\n<body>"
    under = f"Sweep `{document.sweep}`" + (f" · last result {document.date}" if document.date else "")
    yield f"<header>\n<h1>{_prose(document.title)}</h1>\n<p>{_prose(under)}</p>"
    yield f"<p><em>{_prose(document.question)}</em></p>"
    if document.abstract:
        yield f"<p><strong>Abstract.</strong> {' '.join(_prose(s) for s in document.abstract)}</p>"
    yield "</header>"
    answers = document.calculator()
    yield from _contents(document, bool(answers))
    yield "<main>"
    yield from map(_block, document.first_page)
    if answers:
        yield from _calculator(answers)
    for number, chapter in enumerate(document.chapters, start=1):
        yield f'<h2 id="chapter-{number}">{number} {_prose(chapter.title)}</h2>'
        yield from map(_block, chapter.blocks)
    yield f'<h2 id="runs">Runs</h2>\n<details>\n<summary>{_prose(document.runs.caption)}</summary>'
    yield _grid(document.runs, by_first="run-") + "\n</details>"
    yield '<h2 id="sources">Sources</h2>\n<ul>'
    for source in document.sources:
        yield (
            f"<li>{_prose(source.by)} ({source.year}). <em>{_prose(source.title)}</em>. "
            f"{_prose(source.where)}.</li>"
        )
    yield '</ul>\n</main>\n<div id="told" role="status" hidden></div>'
    yield f'<script type="application/json" id="answers">{_as_data(_answers(answers))}</script>'
    yield f"<script>\n{(here / 'page.js').read_text()}</script>\n</body>\n</html>\n"


def _contents(document: Document, calculator: bool) -> Iterator[str]:
    named = [(f"chapter-{i}", _prose(one.title)) for i, one in enumerate(document.chapters, start=1)]
    links = [*([("calculator", "Calculator")] if calculator else []), *named, ("runs", "Runs")]
    joined = " · ".join(f'<a href="#{where}">{title}</a>' for where, title in links)
    yield f"<nav>{joined}</nav>"


def _calculator(answers: Sequence[Answers]) -> Iterator[str]:
    trained = [p.flops for one in answers for p in one.predictions if not p.extrapolated]
    largest = max(trained or [answers[0].predictions[-1].flops])
    options = "".join(
        f'<option value="{size}"{" selected" * (name == "bfloat16")}>{name}</option>'
        for name, size in PRECISIONS.items()
    )
    columns = ("model", "weights (GiB)", "$mu_rec$", "tokens", "loss (nats)", "remarks")
    yield f'''<h2 id="calculator">Calculator</h2>
<noscript><p>{_prose("The calculator needs JavaScript; `parcae-fit predict` answers too.")}</p></noscript>
<form id="ask">
<label>Budget in FLOPs <input name="flops" value="{largest:.3g}" inputmode="decimal"></label>
<label>Memory for weights in GiB <input name="memory" placeholder="any" inputmode="decimal"></label>
<label>Weights in <select name="bytes">{options}</select></label>
</form>
<p id="answered" aria-live="polite"></p>
<div class="wide"><table id="advice">
<thead><tr>{_cells("th", columns, ["left"] * len(columns))}</tr></thead>
<tbody></tbody>
</table></div>
<p class="caption">What <code>parcae-fit predict</code> says at the nearest of the budgets computed for this
page, with 95 % intervals. Memory is that of the stored weights; a loop shares them. The lowest loss that fits
is bold.</p>'''


def _answers(answers: Sequence[Answers]) -> list[dict[str, Any]]:
    return [
        {
            "model": _prose(one.model),
            "parameters": one.parameters,
            "answers": [
                {
                    "flops": p.flops,
                    "budget": _prose(amount(p.flops).text),
                    "mean_recurrence": _whole(p.mean_recurrence),
                    "tokens": _prose(estimate(p.tokens).text),
                    "loss": _prose(estimate(p.loss, 4).text),
                    "value": p.loss.value,
                    "extrapolated": [_prose(sentence(literal(words))) for words in p.extrapolated],
                }
                for p in one.predictions
            ],
        }
        for one in answers
    ]


def _whole(value: Interval) -> str:
    """An advised mean recurrence, such as 6 (5 to 8)."""
    limits = f" ({span(value.low, value.high)})" if math.isfinite(value.low) else ""
    return f"{value.value:g}{limits}"


def _as_data(value: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _block(block: Block) -> str:
    if isinstance(block, str):
        return f"<p>{_prose(block)}</p>"
    if isinstance(block, Equation):
        return f'<p class="equation">{_formula(block.formula)}</p>'
    if isinstance(block, Listing):
        return f"<pre>{html.escape(chr(10).join(block.lines))}</pre>"
    if isinstance(block, Drawing):
        return _drawing(block)
    return (
        f'<figure id="table-{html.escape(block.name)}">\n'
        f"<figcaption>{_prose(block.caption)}</figcaption>\n{_grid(block)}\n</figure>"
    )


def _drawing(drawing: Drawing) -> str:
    """A figure; in the page itself where its marks can be pointed at, else as a picture."""
    svg, name = rendered(drawing.figure, "svg"), html.escape(drawing.name)
    width = f'style="max-width: {drawing.figure.get_figwidth() / 6.7 * 100:.0f}%"'
    if not drawing.series:
        data = base64.b64encode(svg).decode()
        shown = (
            f'<img {width} src="data:image/svg+xml;base64,{data}" alt="{html.escape(bare(drawing.caption))}">'
        )
        return f'<figure id="{name}">\n{shown}\n<figcaption>{_prose(drawing.caption)}</figcaption>\n</figure>'
    prefix = f"{name}-"
    series = [
        {
            "label": _prose(one.label),
            "gid": prefix + one.gid + "-",
            "dots": [{"run": dot.run_id, "text": dot.text} for dot in one.dots],
        }
        for one in drawing.series
    ]
    return (
        f'<figure id="{name}" class="curves" data-runs="-{RUNS}">\n'
        f'<fieldset class="budgets" hidden><legend>Budgets</legend></fieldset>\n'
        f'<div class="wide">{_inline(svg.decode(), prefix)}</div>\n'
        f"<figcaption>{_prose(drawing.caption)}</figcaption>\n"
        f'<script type="application/json">{_as_data(series)}</script>\n</figure>'
    )


def _inline(svg: str, prefix: str) -> str:
    """The drawing as an element of the page, its ids its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}', svg)
    return re.sub(r"url\(#", f"url(#{prefix}", svg)


def _grid(table: Table, by_first: str | None = None) -> str:
    """The table's cells; with `by_first`, each row's id is this and the text of its first cell."""
    sides = ["left" if table.wordy(i) else "right" for i in range(len(table.columns))]
    lines = ['<div class="wide"><table>']
    if any(table.columns):
        lines.append(f"<thead><tr>{_cells('th', table.columns, sides)}</tr></thead>")
    lines.append("<tbody>")
    for row in table.rows:
        named = f' id="{html.escape(by_first + bare(text_of(row[0])))}" tabindex="-1"' if by_first else ""
        lines.append(f"<tr{named}>{_cells('td', row, sides)}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _cells(kind: str, row: Sequence[Cell], sides: Sequence[str]) -> str:
    each = zip(row, sides, strict=True)
    return "".join(f'<{kind} class="{side}">{_prose(text_of(cell))}</{kind}>' for cell, side in each)


def _formula(formula: str) -> str:
    return f'<span class="formula">{typeset(formula, HTML)}</span>'


def _prose(text: str) -> str:
    return prose(text, _escaped, _formula, lambda part: f"<code>{html.escape(part)}</code>")


def _escaped(text: str) -> str:
    return html.escape(text).replace(" %", "&nbsp;%")
