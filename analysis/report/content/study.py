"""The whole report on one study, as content."""

from dataclasses import replace
from functools import partial

from analysis.report.content.abstract import abstract, question, title
from analysis.report.content.calculator import answers as calculated
from analysis.report.content.chapters.again import SOURCES, again_chapter
from analysis.report.content.chapters.frontier import equivalence_chapter, frontier_chapter
from analysis.report.content.chapters.isoflop import isoflop_chapter
from analysis.report.content.chapters.law import law_chapter
from analysis.report.content.chapters.routes import routes_chapter
from analysis.report.content.chapters.sizes import sizes_chapter
from analysis.report.content.chapters.stability import stability_chapter
from analysis.report.content.chapters.sweep import all_runs, sweep_chapter
from analysis.report.content.chapters.test_time import test_time_chapter
from analysis.report.content.document import Chapter, Document
from analysis.report.content.first_page import exponents_table, main_figure
from analysis.report.fitted_study import FittedStudy
from analysis.report.mathematics import literal
from analysis.report.records import Records


def study_report(findings: FittedStudy, records: Records, date: str | None = None) -> Document:
    """Every chapter that the data allow; what they do not is named in the last one.

    `date` is the day of the last result unless given.
    """
    named = {literal(name): found for name, found in findings.models.items()}
    findings = replace(findings, models=named)
    answers: list[Chapter | str] = [
        isoflop_chapter(findings),
        frontier_chapter(findings),
        sizes_chapter(findings),
        law_chapter(findings),
        routes_chapter(findings),
        test_time_chapter(findings),
        equivalence_chapter(findings),
        stability_chapter(records),
    ]
    chapters = [answer for answer in answers if isinstance(answer, Chapter)]
    unanswered = tuple(answer for answer in answers if isinstance(answer, str) and answer)
    return Document(
        title=title(findings),
        sweep=findings.study.name,
        date=records.last_result if date is None else date,
        question=question(findings),
        abstract=abstract(findings),
        first_page=(*main_figure(findings), *exponents_table(findings)),
        chapters=(sweep_chapter(findings, records), *chapters, again_chapter(findings, unanswered)),
        sources=SOURCES,
        runs=all_runs(records),
        calculator=partial(calculated, findings),
    )
