"""The report as Markdown, as GitHub and Pandoc read it; figures are files beside it."""

from collections.abc import Iterator

from analysis.report.content.document import Block, Document, Drawing, Equation, Listing, Table, text_of
from analysis.report.mathematics import LATEX, prose, typeset

_SPECIAL = set("\\*_<>[]|#")


def markdown(document: Document, figures: str) -> str:
    """The whole document; `figures` is the folder that its figures are in, as seen from the document."""
    return "\n".join(_lines(document, figures))


def _lines(document: Document, figures: str) -> Iterator[str]:
    yield f"# {_prose(document.title)}\n"
    yield f"Sweep `{document.sweep}`" + (f", last result {document.date}" if document.date else "") + "\n"
    yield f"*{_prose(document.question)}*\n"
    if document.abstract:
        yield f"**Abstract.** {' '.join(_prose(sentence) for sentence in document.abstract)}\n"
    for block in document.first_page:
        yield _block(block, figures)
    for number, chapter in enumerate(document.chapters, start=1):
        yield f"## {number} {_prose(chapter.title)}\n"
        for block in chapter.blocks:
            yield _block(block, figures)
    yield "## Sources\n"
    for source in document.sources:
        yield f"- {_prose(source.by)} ({source.year}). *{_prose(source.title)}*. {source.where}."
    yield ""


def _block(block: Block, figures: str) -> str:
    if isinstance(block, str):
        return f"{_prose(block)}\n"
    if isinstance(block, Equation):
        return f"$${typeset(block.formula, LATEX)}$$\n"
    if isinstance(block, Listing):
        return "\n".join(["```", *block.lines, "```", ""])
    if isinstance(block, Drawing):
        return f"![{block.name}]({figures}/{block.name}.svg)\n\n*{_prose(block.caption)}*\n"
    return _table(block)


def _table(table: Table) -> str:
    rows = [table.columns, *(tuple(text_of(cell) for cell in row) for row in table.rows)]
    lines = [f"| {' | '.join(_prose(cell) for cell in row)} |" for row in rows]
    rule = f"|{'---|' * len(table.columns)}"
    return "\n".join([f"*{_prose(table.caption)}*\n", lines[0], rule, *lines[1:], ""])


def _prose(text: str) -> str:
    return prose(text, _escaped, lambda part: f"${typeset(part, LATEX)}$", lambda part: f"`{part}`")


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)
