"""The report on studies of every kind: whole, tiny, without optima, without tokens, with curves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.data.points import Study
from analysis.engine.formatting import number, table
from analysis.report import study_text as text
from analysis.report.figures.page import text_page
from analysis.report.fitted_study import FittedTestTime, fit_model, fit_study
from analysis.report.headlines import headlines, warnings
from analysis.report.json_output import isoflop_json
from analysis.report.law_text import isoflop_text
from analysis.report.pdf import pages, write_pdf
from analysis.report.study_text import saturation_text

from ..fits.test_unified import curves
from ..points import published_study


def only(study: Study, keep: str) -> Study:
    """The published study's small model, cut down to a hard case."""
    points = study.models["small-140m"]
    n = len(points)
    cut = {
        "one run": points.select(np.arange(n) == 0),
        "three runs": points.select(np.arange(n) < 3),
        "one budget": points.select(points.flops == 4e18),
        "two budgets": points.select(points.flops <= 2e18),
        "equal losses": replace(points, loss=np.full(n, 3.0)),
        "monotone": replace(points, loss=3.5 - 0.05 * np.log(points.mean_recurrence)),
        "no tokens": replace(points, tokens=np.full(n, np.nan)),
        "no budgets": replace(points, flops=np.full(n, np.nan)),
        "a wild run": replace(points, loss=np.where(np.arange(n) == 9, 30.0, points.loss)),
    }[keep]
    return replace(study, models={"small-140m": cut}, curves=())


@pytest.mark.parametrize(
    "keep",
    [
        "one run",
        "three runs",
        "one budget",
        "two budgets",
        "equal losses",
        "monotone",
        "no tokens",
        "no budgets",
        "a wild run",
    ],
)
def test_any_study_makes_a_report(keep: str, tmp_path: Path) -> None:
    findings = fit_study(only(published_study(), keep))
    path = write_pdf(findings, tmp_path / "report.pdf")
    assert path.read_bytes().startswith(b"%PDF")
    words = " ".join(headlines(findings) + warnings(findings))
    assert "nan" not in words
    if keep == "three runs":
        assert "no training law, too few points" in words
        assert "no power law" in words
    if keep == "a wild run":
        assert "far off the training law" in words
        assert "far off the curve" in words


def test_pages_of_the_published_study() -> None:
    titles = [figure.texts[0].get_text() for figure in pages(fit_study(published_study()))]
    assert titles == [
        "Scaling laws of a looped language model",
        "IsoFLOP curves, small-140m",
        "IsoFLOP curves, medium-370m",
        "Power laws of the optimum",
        "Training law, small-140m",
        "Training law, medium-370m",
        "Two routes to the optimum",
        "Test-time saturation",
        "Saturation fits",
        "Robustness, small-140m",
        "Robustness, medium-370m",
        "What a recurrence is worth",
        "Provenance",
    ]


def test_the_pdf_holds_the_text_of_the_fits() -> None:
    findings = fit_study(published_study())
    drawn = [t.get_text() for figure in pages(findings) for t in figure.texts]
    for name, found in findings.models.items():
        assert found.training.summary() in drawn, name
        assert found.isoflop.summary() in drawn, name
    assert text.provenance_text(findings.study) in drawn


def test_curves_bring_saturation_and_unified_pages() -> None:
    study = published_study()
    named = tuple(replace(curve, model="small-140m") for curve in curves(noise=0.001))
    report = list(pages(fit_study(replace(study, curves=named))))
    titles = [figure.texts[0].get_text() for figure in report]
    saturation = [f for f in report if f.texts[0].get_text() == "Test-time saturation"]
    assert [len(figure.axes) for figure in saturation] == [12, 12]  # however many runs there are
    assert f"24 of {len(named)} runs" in saturation[0].texts[1].get_text()
    assert "Unified law, small-140m" in titles


def test_provenance_counts_every_run() -> None:
    words = text.provenance_text(published_study())
    assert "54 (small-140m: 36, medium-370m: 18)" in words
    assert "convention" in words
    for package in ("numpy", "scipy", "python"):
        assert package in words


def test_tables_line_up() -> None:
    lines = table(("a", "b"), [("x", "10"), ("yyy", "2")]).splitlines()
    assert lines == ["a     b", "x    10", "yyy   2"]
    assert number(float("nan")) == "–"


def test_text_without_room_is_cut_and_counted() -> None:
    lines = text_page("Long", "\n".join(f"line {i}" for i in range(500))).texts[-1].get_text().split("\n")
    assert lines[0] == "line 0"
    assert lines[-1] == f"… {500 - len(lines) + 1} lines more: `parcae-fit` prints them all"


def test_refits_are_made_only_for_what_prints_them() -> None:
    """The robustness panel is two thirds of the time, and `isoflop` doesn't show it."""
    found = {"small-140m": fit_model(published_study().models["small-140m"])}
    assert isoflop_text(found)
    assert isoflop_json(found)
    assert "robustness" not in vars(found["small-140m"])
    of_curves = FittedTestTime(curves=curves(noise=0.001))
    assert saturation_text(of_curves)
    assert not {"unified", "oracle"} & set(vars(of_curves))
