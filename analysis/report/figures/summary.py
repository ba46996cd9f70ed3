"""Page 1, and the page on where the numbers come from."""

from textwrap import wrap

from matplotlib.figure import Figure

from analysis.report.figures.page import LEFT, page, text_page
from analysis.report.fitted_study import FittedStudy
from analysis.report.headlines import extrapolations, headlines, warnings
from analysis.report.study_text import provenance_text


def summary_page(findings: FittedStudy) -> Figure:
    """The findings and warnings."""
    study = findings.study
    figure = page("Scaling laws of a looped language model", f"Sweep {study.name}: {study.used} runs fitted")
    place = 0.90
    parts = {"Findings": headlines, "Extrapolated": extrapolations, "Warnings": warnings}
    for heading, sentences_of in parts.items():
        sentences = sentences_of(findings)
        figure.text(LEFT, place, heading, fontsize=12, weight="bold", va="top")
        place -= 0.028
        for sentence in sentences or ["None."]:
            lines = wrap(sentence, 105)
            if place - 0.0165 * len(lines) < 0.05:
                figure.text(LEFT, place, "… and more, on the pages that follow.", fontsize=9, va="top")
                break
            figure.text(LEFT, place, "\n".join(lines), fontsize=9, va="top", linespacing=1.4)
            place -= 0.0165 * len(lines) + 0.008
        place -= 0.02
    return figure


def provenance_page(findings: FittedStudy) -> Figure:
    return text_page("Provenance", provenance_text(findings.study))
