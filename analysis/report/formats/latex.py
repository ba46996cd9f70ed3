"""The report as LaTeX: tables with booktabs, figures as PDF files beside it, and BibTeX of the sources."""

from collections.abc import Iterator

from analysis.report.content.document import Block, Document, Drawing, Equation, Listing, Table, text_of
from analysis.report.mathematics import LATEX, prose, typeset

_SPECIAL = {
    "\\": "\\textbackslash{}",
    "{": "\\{",
    "}": "\\}",
    "$": "\\$",
    "&": "\\&",
    "%": "\\%",
    "#": "\\#",
    "_": "\\_",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "–": "--",
    "±": "$\\pm$",
    "·": "$\\cdot$",
}
_HEAD = r"""\documentclass[10pt,a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{amsmath,booktabs,graphicx,adjustbox}
\usepackage[margin=2.1cm]{geometry}
\usepackage[hidelinks]{hyperref}
"""


def latex(document: Document, figures: str, bibliography: str) -> str:
    """The whole document; `figures` is the folder of its figures, `bibliography` the BibTeX file's name."""
    return "\n".join(_lines(document, figures, bibliography))


def bibtex(document: Document) -> str:
    """The sources."""
    entries = []
    for source in document.sources:
        fields = {
            "author": " and ".join(source.authors),
            "title": f"{{{_prose(source.title)}}}",
            "howpublished": source.where,
            "year": str(source.year),
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        entries.append("\n".join([f"@misc{{{source.key},", *lines, "}"]))
    return "\n\n".join(entries) + "\n"


def _lines(document: Document, figures: str, bibliography: str) -> Iterator[str]:
    yield _HEAD
    yield f"\\title{{{_prose(document.title)}}}"
    yield f"\\author{{Sweep \\texttt{{{_escaped(document.sweep)}}}}}"
    yield f"\\date{{{_escaped(document.date)}}}"
    yield "\\begin{document}\n\\maketitle\n"
    yield f"\\noindent\\emph{{{_prose(document.question)}}}\n"
    if document.abstract:
        yield f"\\begin{{abstract}}\n{' '.join(_prose(s) for s in document.abstract)}\n\\end{{abstract}}\n"
    for block in document.first_page:
        yield _block(block, figures)
    for chapter in document.chapters:
        yield f"\\section{{{_prose(chapter.title)}}}\n"
        for block in chapter.blocks:
            yield _block(block, figures)
    yield "\\nocite{*}\n\\bibliographystyle{plain}"
    yield f"\\bibliography{{{bibliography}}}\n\\end{{document}}\n"


def _block(block: Block, figures: str) -> str:
    if isinstance(block, str):
        return f"{_prose(block)}\n"
    if isinstance(block, Equation):
        return f"\\begin{{equation*}}\n{typeset(block.formula, LATEX)}\n\\end{{equation*}}\n"
    if isinstance(block, Listing):
        return "\n".join(["\\begin{verbatim}", *block.lines, "\\end{verbatim}", ""])
    if isinstance(block, Drawing):
        share = block.figure.get_figwidth() / 6.7
        return (
            "\\begin{figure}[tbp]\n\\centering\n"
            f"\\includegraphics[width={share:.2f}\\linewidth]{{{figures}/{block.name}.pdf}}\n"
            f"\\caption{{{_prose(block.caption)}}}\\label{{fig:{block.name}}}\n\\end{{figure}}\n"
        )
    return _table(block)


def _table(table: Table) -> str:
    aligned = "".join("l" if table.wordy(i) else "r" for i in range(len(table.columns)))
    rows = [" & ".join(_prose(text_of(cell)) for cell in row) + " \\\\" for row in table.rows]
    return "\n".join(
        [
            "\\begin{table}[tbp]\n\\centering\n\\small",
            f"\\caption{{{_prose(table.caption)}}}\\label{{tab:{table.name}}}",
            "\\begin{adjustbox}{max width=\\linewidth}",
            f"\\begin{{tabular}}{{{aligned}}}",
            "\\toprule",
            " & ".join(_prose(column) for column in table.columns) + " \\\\",
            "\\midrule",
            *rows,
            "\\bottomrule",
            "\\end{tabular}\n\\end{adjustbox}\n\\end{table}\n",
        ]
    )


def _prose(text: str) -> str:
    return prose(
        text, _escaped, lambda part: f"${typeset(part, LATEX)}$", lambda part: f"\\texttt{{{_escaped(part)}}}"
    )


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
