"""The report: every finding about one study as a PDF."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from analysis.data.points import Study, spaced
from analysis.data.study import as_study
from analysis.report.figures.isoflop import isoflop_figure, power_law_figure
from analysis.report.figures.laws import robustness_figure, routes_figure, training_figure
from analysis.report.figures.page import text_page
from analysis.report.figures.saturation import CURVES_A_PAGE, CURVES_SHOWN, saturation_figure
from analysis.report.figures.summary import provenance_page, summary_page
from analysis.report.figures.unified import unified_figure
from analysis.report.fitted_study import FittedStudy, fit_study
from analysis.report.study_text import equivalence_text, saturation_text
from parcae.files import check_output
from sweeps.folders.paths import PUBLISHED

ROWS_SHOWN = 45
"""Runs in the table of saturation."""
STYLE: dict[Any, Any] = {"pdf.fonttype": 42, "axes.spines.top": False, "axes.spines.right": False}
"""Text stays text in the PDF; no box around the axes."""


def pages(findings: FittedStudy) -> Iterator[Figure]:
    """The report's pages in order; a part that the study has no data for is left out or says so."""
    yield summary_page(findings)
    for name, found in findings.models.items():
        yield isoflop_figure(name, found)
    yield power_law_figure(findings)
    for name, found in findings.models.items():
        yield training_figure(name, found)
    yield routes_figure(findings)
    test_time = findings.test_time
    shown = spaced(test_time.saturation, CURVES_SHOWN)
    note = "Dots: measured; line: L_inf + Z exp(-z T); dashed: mean recurrence; dotted: L_inf; star: best T"
    if findings.study.name == PUBLISHED:
        note += "\nPerplexities of the paper's table 8: four points for three parameters prove little"
    if len(shown) < len(test_time.saturation):
        note += f"\n{len(shown)} of {len(test_time.saturation)} runs, at even distances in model and tokens"
    for first in range(0, len(shown), CURVES_A_PAGE):
        yield saturation_figure(shown[first : first + CURVES_A_PAGE], note)
    yield text_page("Saturation fits", saturation_text(test_time, ROWS_SHOWN))
    for name in test_time.unified:
        yield unified_figure(name, test_time)
    for name, found in findings.models.items():
        yield robustness_figure(name, found.robustness)
    yield text_page("What a recurrence is worth", equivalence_text(findings.equivalence))
    yield provenance_page(findings)


def write_report(
    study: Study | str | Path, output: str | Path | None = None, *, convention: str | None = None
) -> Path:
    """Fits everything about a study and writes it to a PDF, `output` or else NAME.pdf; returns its path.

    `study` is loaded, or the path of a database, whose latest study is taken. `convention` says how FLOPs
    were counted if the runs contradict their own. ``InputError`` if nothing can be fitted or written.
    """
    return fit_and_write(as_study(study), output, convention)[1]


def fit_and_write(
    study: Study, output: str | Path | None, convention: str | None
) -> tuple[FittedStudy, Path]:
    """The fits of ``write_report``, and the path of the PDF."""
    path = check_output(Path(output or f"{study.name}.pdf"))
    if not study.curves:
        study.require_points()
    findings = fit_study(study, convention)
    return findings, write_pdf(findings, path)


def write_pdf(findings: FittedStudy, output: Path) -> Path:
    """Writes the PDF beside its place and renames it into it."""
    output = output.resolve()
    partial = output.with_name(f".{output.name}.partial")
    title = {"Title": f"Scaling laws of sweep {findings.study.name}"}
    with matplotlib.rc_context(STYLE), PdfPages(partial, metadata=title) as pdf:
        for figure in pages(findings):
            pdf.savefig(figure)
    partial.replace(output)
    return output
