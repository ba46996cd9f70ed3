"""The report as Typst, and the PDF that Typst makes of it."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from matplotlib import get_data_path

from analysis.report.content.document import Block, Document, Drawing, Equation, Listing, Table, text_of
from analysis.report.figures.files import rendered
from analysis.report.mathematics import TYPST, bare, prose, typeset

LONG = 8
"""Rows that a table may have without being broken between pages."""
_SPECIAL = set("\\#$*_@<>[]`~/=+-")
_PAGE = """
#set document(title: {title}, author: (), date: none)
#set page(
  paper: "a4",
  margin: (x: 2.1cm, top: 1.9cm, bottom: 2.1cm),
  footer: context [
    #set text(8.5pt, fill: luma(90))
    {running} #h(1fr) #counter(page).display("1 / 1", both: true)
  ],
)
#set text(font: ("Libertinus Serif", "New Computer Modern"), size: 10pt, lang: "en")
#set par(justify: true, leading: 0.58em, spacing: 0.85em)
#set heading(numbering: "1")
#show heading: set block(above: 1.35em, below: 0.7em)
#show heading: set text(size: 12.5pt)
#show math.equation.where(block: true): set block(above: 0.75em, below: 0.75em)
#show raw: set text(font: "DejaVu Sans Mono", size: 0.84em)
#set figure(gap: 0.55em)
#show figure: set block(above: 1.15em, below: 1.15em)
#show figure.caption: set text(8.8pt)
#show figure.caption: set par(leading: 0.5em)
#show figure.caption: it => block(sticky: true, width: 100%)[
  #set align(left)
  *#it.supplement #context it.counter.display(it.numbering).* #it.body
]
#show figure.where(kind: table): set figure.caption(position: top)
#show figure.where(kind: table): set align(left)
#show figure.where(kind: table): set text(8.6pt)
#show figure.where(kind: table): set par(justify: false, leading: 0.45em)
#set table(stroke: none, inset: (x: 4.5pt, y: 2.6pt))
"""
_CONTENTS = """
#context {
  let chapters = query(heading.where(level: 1))
  set text(8.8pt)
  set par(justify: false)
  [*Contents.* ]
  chapters
    .map(it => {
      let at = it.location()
      link(at)[#counter(heading).at(at).first()~#it.body,~p.~#at.page()]
    })
    .join([ · ])
}
"""


def typst_text(document: Document) -> str:
    """The whole document as Typst, its figures as files beside it, NAME.svg."""
    return "\n".join(_lines(document))


def pdf(document: Document) -> bytes:
    """The document as PDF, fonts embedded; the same content gives the same bytes."""
    return _compiled(document, "pdf")[0]


def pages(document: Document, dots_per_inch: float = 144) -> list[bytes]:
    """Each page as PNG."""
    return _compiled(document, "png", dots_per_inch)


def _compiled(document: Document, form: Literal["pdf", "png"], dots_per_inch: float = 144) -> list[bytes]:
    import typst

    with tempfile.TemporaryDirectory() as folder:
        _lay_out(document, Path(folder))
        compiler = typst.Compiler(
            Path(folder, "report.typ"),
            root=Path(folder),
            font_paths=[Path(get_data_path(), "fonts", "ttf")],
            ignore_system_fonts=True,
        )
        found = compiler.compile(format=form, ppi=dots_per_inch)
    return list(found) if isinstance(found, list) else [found] if found else []


def _lay_out(document: Document, folder: Path) -> None:
    for drawing in document.drawings:
        (folder / f"{drawing.name}.svg").write_bytes(rendered(drawing.figure, "svg", text=True))
    (folder / "report.typ").write_text(typst_text(document))


def _lines(document: Document) -> Iterator[str]:
    running = f"Sweep {document.sweep}" + (f", {document.date}" if document.date else "")
    yield _PAGE.replace("{title}", _string(bare(document.title))).replace("{running}", typst_prose(running))
    yield "#place(top, float: true, clearance: 1em)[#block(width: 100%)[#set align(left)"
    yield from _first_page(document)
    yield "]]"
    for chapter in document.chapters:
        yield f"= {typst_prose(chapter.title)}\n"
        for block in chapter.blocks:
            yield _block(block)
    if document.sources:
        yield "#block(breakable: false)[#heading(numbering: none, outlined: false, level: 2)[Sources]"
        yield "#set text(8.8pt)"
        for source in document.sources:
            yield (
                f"- {typst_prose(source.by)} ({source.year}). _{typst_prose(source.title)}_. "
                f"{typst_prose(source.where)}."
            )
        yield "]"


def _first_page(document: Document) -> Iterator[str]:
    """What stands above everything else, the figures that float to the top of their page too."""
    yield f'#text(19pt, weight: "bold")[{typst_prose(document.title)}]\n'
    under = f"Sweep `{document.sweep}`" + (f" · last result {document.date}" if document.date else "")
    yield f"#text(9.5pt, fill: luma(70))[{typst_prose(under)}]\n"
    yield f"_{typst_prose(document.question)}_\n"
    if document.abstract:
        yield f"*Abstract.* {' '.join(typst_prose(sentence) for sentence in document.abstract)}\n"
    yield _CONTENTS
    for block in document.first_page:
        yield _block(block, "none")


def _block(block: Block, placement: str = "auto") -> str:
    if isinstance(block, str):
        return f"{typst_prose(block)}\n"
    if isinstance(block, Equation):
        return f"$ {typeset(block.formula, TYPST)} $\n"
    if isinstance(block, Listing):
        return f"#block(breakable: false, raw({_string(chr(10).join(block.lines))}, block: true))\n"
    if isinstance(block, Drawing):
        width = f"{block.figure.get_figwidth() / 6.7 * 100:.0f}%"
        return (
            f"#figure(image({_string(block.name + '.svg')}, width: {width}, alt: "
            f"{_string(bare(block.caption))}), "
            f"placement: {placement}, caption: [{typst_prose(block.caption)}])\n"
        )
    return _table(block)


def _table(table: Table) -> str:
    left = [i for i in range(len(table.columns)) if table.wordy(i)]
    align = ", ".join("left" if i in left else "right" for i in range(len(table.columns)))
    head = ", ".join(f"[#strong[{typst_prose(column)}]]" for column in table.columns)
    header = f"table.header({head}), table.hline(stroke: 0.4pt)," if any(table.columns) else ""
    widths = ", ".join("1fr" if _long(table, i) else "auto" for i in range(len(table.columns)))
    rows = ",\n".join(", ".join(f"[{typst_prose(text_of(cell))}]" for cell in row) for row in table.rows)
    breakable = "#show figure: set block(breakable: true)" if len(table.rows) > LONG else ""
    return (
        f"#[{breakable}\n#figure(caption: [{typst_prose(table.caption)}], kind: table, supplement: [Table], "
        f"table(columns: ({widths},), align: ({align},), table.hline(stroke: 0.8pt), {header}"
        f"\n{rows},\ntable.hline(stroke: 0.8pt)))]\n"
    )


def _long(table: Table, column: int) -> bool:
    return max((len(bare(text_of(row[column]))) for row in table.rows), default=0) > 45


def typst_prose(text: str) -> str:
    """Prose as Typst markup; a semicolon ends each call, or what follows would be taken for a part of it."""
    return prose(
        text,
        _escaped,
        lambda part: f"#box[${typeset(part, TYPST)}$];",
        lambda part: f"#raw({_string(part)});",
    )


def _escaped(text: str) -> str:
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text).replace(" %", "\u00a0%")
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)


def _string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
