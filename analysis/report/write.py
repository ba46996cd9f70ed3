"""The report as a file in the format asked for, and its figures as files."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from analysis.data.points import Study
from analysis.data.study import read_sweep, study_of
from analysis.report.content.document import Document
from analysis.report.content.study import study_report
from analysis.report.figures.files import write_figure
from analysis.report.figures.style import SINGLE, blank
from analysis.report.fitted_study import THREADS, FittedStudy, fit_study
from analysis.report.formats.html import html_page
from analysis.report.formats.latex import bibtex, latex
from analysis.report.formats.markdown import markdown
from analysis.report.formats.plain_json import plain_document
from analysis.report.formats.typst import pdf
from analysis.report.output_format import ReportFormat
from analysis.report.records import Records, records_of, records_of_study
from parcae.errors import InputError
from parcae.files import check_output, write_atomically


def write_report(
    study: Study | str | Path,
    output: str | Path | None = None,
    *,
    form: ReportFormat | str | None = None,
    figures: str | Path | None = None,
    date: str | None = None,
    convention: str | None = None,
) -> Path:
    """Fits everything about a study and writes it to `output`, or else to NAME.FORMAT; returns its path.

    `study` is loaded, or the path of a database, whose latest study is taken. `form` is pdf (the default),
    html, md, tex or json, which the ending of `output` says too; `figures` a folder for every figure as PDF,
    SVG, PNG and CSV; `date` stands on the first page in place of the last result's. `convention` says how
    FLOPs were counted if the runs contradict their own. ``InputError`` if nothing can be written.
    """
    if isinstance(study, Study):
        records = records_of_study(study)
    else:
        rows = read_sweep(Path(study), None)
        records, study = records_of(rows, Path(study)), study_of(rows)
    plan = Plan(
        output=Path(output) if output else None,
        form=ReportFormat(form) if form else None,
        figures=Path(figures) if figures else None,
        date=date,
        convention=convention,
    )
    return fit_and_write(study, records, plan)[1][0]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to write, and where."""

    output: Path | None = None
    form: ReportFormat | None = None
    figures: Path | None = None
    date: str | None = None
    convention: str | None = None


def fit_and_write(study: Study, records: Records, plan: Plan) -> tuple[FittedStudy, list[Path]]:
    """The fits of ``write_report``, and every file it wrote, the report first."""
    path, form = output_path(study.name, plan.output, plan.form)
    if plan.figures is not None and plan.figures.exists() and not plan.figures.is_dir():
        raise InputError(f"cannot write figures to {plan.figures}: it is a file; name a folder")
    findings = fit_study(study, plan.convention)
    with ThreadPoolExecutor(THREADS) as threads:  # the refits, which are made on first use
        list(threads.map(lambda found: found.robustness, findings.models.values()))
    document = study_report(findings, records, plan.date)
    return findings, write_document(document, path, form, plan.figures)


def output_path(name: str, output: Path | None, form: ReportFormat | None) -> tuple[Path, ReportFormat]:
    """Where to write and as what: by the format asked for, else by the ending of `output`, else as PDF.

    ``InputError`` for an ending that is no format, or not the one asked for.
    """
    if output is None:
        form = form or ReportFormat.PDF
        return check_output(Path(f"{name}.{form}")).absolute(), form
    if output.is_dir():
        check_output(output)
    ending = output.suffix.removeprefix(".").lower()
    if form is not None and ending == form.value:
        return check_output(output).absolute(), form
    if form is not None or ending not in list(ReportFormat):
        expected = f"end in .{form}" if form else f"end in {', '.join(f'.{one}' for one in ReportFormat)}"
        raise InputError(f"cannot write a report as {output.name!r}: its name must {expected}")
    return check_output(output).absolute(), ReportFormat(ending)


def write_document(
    document: Document, path: Path, form: ReportFormat, figures: Path | None = None
) -> list[Path]:
    """Writes the document, whole or not at all, and returns every file written, the document first.

    `figures` is a folder for every figure as PDF, SVG, PNG and CSV, at the width of a page, and panels on
    their own at that of a column. Markdown and LaTeX show figures from
    files, in NAME-figures beside the document unless a folder is given.
    """
    shown = form in (ReportFormat.MARKDOWN, ReportFormat.LATEX)
    folder = figures or (path.with_name(f"{path.stem}-figures") if shown else None)
    files = []
    if folder is not None:
        for drawing in document.drawings:
            files += write_figure(drawing.figure, folder, drawing.name)
            for name, draw in drawing.panels.items() if figures else ():
                column, (axes,) = blank(width=SINGLE)
                draw(axes)
                files += write_figure(column, folder, f"{drawing.name}-{name}")
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
        case ReportFormat.HTML:
            return html_page(document).encode()
        case ReportFormat.MARKDOWN:
            return markdown(document, figures).encode()
        case ReportFormat.LATEX:
            return latex(document, figures, bibliography).encode()
        case ReportFormat.JSON:
            return (json.dumps(plain_document(document), indent=2, allow_nan=False) + "\n").encode()
