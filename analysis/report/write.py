"""The report as a file in the format asked for, and its figures as files."""

import json
import os
from pathlib import Path

from analysis.report.content.document import Document
from analysis.report.figures.files import write_figure
from analysis.report.formats.latex import bibtex, latex
from analysis.report.formats.markdown import markdown
from analysis.report.formats.plain_json import plain_document
from analysis.report.formats.typst import pdf
from analysis.report.output_format import ReportFormat
from parcae.errors import InputError
from parcae.files import check_output, write_atomically


def output_path(name: str, output: Path | None, form: ReportFormat | None) -> tuple[Path, ReportFormat]:
    """Where to write and as what: by the format asked for, else by the ending of `output`, else as PDF.

    ``InputError`` for an ending that is no format, or not the one asked for.
    """
    if output is None:
        form = form or ReportFormat.PDF
        return check_output(Path(f"{name}.{form}")), form
    ending = output.suffix.removeprefix(".").lower()
    if form is not None and ending == form.value:
        return check_output(output), form
    if form is not None or ending not in list(ReportFormat):
        expected = f"end in .{form}" if form else f"end in {', '.join(f'.{one}' for one in ReportFormat)}"
        raise InputError(f"cannot write a report as {output.name!r}: its name must {expected}")
    return check_output(output), ReportFormat(ending)


def write_document(
    document: Document, path: Path, form: ReportFormat, figures: Path | None = None
) -> list[Path]:
    """Writes the document, whole or not at all, and returns every file written, the document first.

    `figures` is a folder for every figure as PDF, SVG, PNG and CSV. Markdown and LaTeX show figures from
    files, in NAME-figures beside the document unless a folder is given.
    """
    shown = form in (ReportFormat.MARKDOWN, ReportFormat.LATEX)
    folder = figures or (path.with_name(f"{path.stem}-figures") if shown else None)
    files = []
    if folder is not None:
        for drawing in document.drawings:
            files += write_figure(drawing.figure, folder, drawing.name)
    where = Path(os.path.relpath(folder, path.parent)).as_posix() if folder else ""
    beside = path.with_suffix(".bib")
    contents = {path: _content(document, form, where, beside.stem)}
    if form is ReportFormat.LATEX:
        contents[beside] = bibtex(document).encode()
    for place, content in contents.items():
        write_atomically(place, content)
    return [*contents, *files]


def _content(document: Document, form: ReportFormat, figures: str, bibliography: str) -> bytes:
    match form:
        case ReportFormat.PDF:
            return pdf(document)
        case ReportFormat.MARKDOWN:
            return markdown(document, figures).encode()
        case ReportFormat.LATEX:
            return latex(document, figures, bibliography).encode()
        case ReportFormat.JSON:
            return (json.dumps(plain_document(document), indent=2, allow_nan=False) + "\n").encode()
