"""The report: on studies of every kind, the same numbers in every format."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdf
import pytest

from analysis.report.content.document import Document, Number
from analysis.report.fitted_study import FittedStudy, FittedTestTime, fit_model, fit_study
from analysis.report.formats.html import html_page
from analysis.report.formats.latex import bibtex, latex
from analysis.report.formats.markdown import markdown
from analysis.report.formats.plain_json import plain_document
from analysis.report.formats.typst import pages, pdf
from analysis.report.json_output import isoflop_json, training_json
from analysis.report.law_text import isoflop_text
from analysis.report.mathematics import LATEX, bare, prose, typeset
from analysis.report.output_format import ReportFormat
from analysis.report.study_text import saturation_text
from analysis.report.write import output_path, write_document
from parcae.errors import InputError

from ..fits.test_unified import curves
from ..points import published_study
from .studies import document_of, only

FULL = 2 / 3
"""How far down a page its content reaches at least, but for the last page."""


@pytest.fixture(scope="module")
def document_pdf(document: Document) -> bytes:
    return pdf(document)


def squeezed(text: str) -> str:
    """Text without spaces, so that a line break or a gap in a PDF makes no difference."""
    return re.sub(r"\s+", "", text).replace("−", "-")


def as_drawn(text: str) -> str:
    """A cell's text as it comes out of a PDF: powers of ten lose their raise, and 1 times 10 its 1."""
    text = re.sub(r"\$1e(-?\d+)\$", r"10\1", text)
    return squeezed(bare(re.sub(r"(\d)e(-?\d+)", r"\1×10\2", text)))


def numbers(document: Document) -> Iterator[Number]:
    for table in document.tables:
        for row in table.rows:
            yield from (cell for cell in row if isinstance(cell, Number))


def test_every_number_of_the_tables_is_in_pdf_markdown_latex_and_json(
    document: Document, document_pdf: bytes
) -> None:
    read = pypdf.PdfReader(io.BytesIO(document_pdf))
    drawn = squeezed("".join(page.extract_text() for page in read.pages))
    in_markdown, in_latex = markdown(document, "figures"), latex(document, "figures", "sources")
    in_json = json.dumps(plain_document(document))
    found = list(numbers(document))
    assert len(found) > 150
    for number in found:
        assert as_drawn(number.text) in drawn, number
        set_in_latex = prose(number.text, str, lambda part: f"${typeset(part, LATEX)}$", str)
        assert set_in_latex.replace("–", "--") in in_latex, number
        assert set_in_latex in in_markdown, number
        assert json.dumps(bare(number.text)) in in_json, number


def test_the_marks_of_the_abstract_are_in_the_pdf(document: Document, document_pdf: bytes) -> None:
    drawn = squeezed(pypdf.PdfReader(io.BytesIO(document_pdf)).pages[0].extract_text())
    assert sum(sentence.count(";") for sentence in document.abstract) >= 5
    for part in re.findall(r"[a-z]*; [a-z]+", bare(" ".join(document.abstract))):
        assert squeezed(part) in drawn, part


def test_what_is_printed_is_the_value(document: Document) -> None:
    for number in numbers(document):
        printed = [float(part) for part in re.findall(r"-?\d[\d.]*(?:e-?\d+)?", number.text)]
        values = [v for v in (number.value, number.low, number.high) if np.isfinite(v)]
        if " to " in number.text and "(" not in number.text:
            values = [number.low, number.high]
        assert printed == pytest.approx(values, rel=0.06), number


def test_the_tables_hold_the_fits_own_numbers(document: Document, findings: FittedStudy) -> None:
    plain = plain_document(document)
    tables = {block["name"]: block for block in plain["first_page"] if block["kind"] == "table"}
    for chapter in plain["chapters"]:
        tables |= {block["name"]: block for block in chapter["blocks"] if block["kind"] == "table"}
    for name in findings.models:
        isoflop = isoflop_json(findings.models)["models"][name]
        rows = [row for row in tables["exponents"]["rows"] if row[0] == name]
        rows = [next(row for row in rows if row[1] == of) for of in ("mean recurrence", "tokens")]
        for row, key in zip(rows, ("gamma_mean_recurrence", "gamma_tokens"), strict=True):
            for cell, value in ((row[3], isoflop[key]), (row[5], isoflop["training_law"][key])):
                assert {side: cell[side] for side in ("value", "low", "high")} == {
                    side: value[side] for side in ("value", "low", "high")
                }
        optima = [row for row in tables["optima"]["rows"] if row[0] == name]
        for row, optimum in zip(optima, isoflop["optima"], strict=True):
            assert row[1]["value"] == optimum["flops"]
            assert row[2]["value"] == optimum["mean_recurrence"]
            assert row[4]["value"] == optimum["tokens"]
            assert row[6]["value"] == optimum["loss"]
        training = training_json(findings.models)["models"][name]
        frontier = [row for row in tables["frontier"]["rows"] if row[0] == name]
        for row, point in zip(frontier, training["frontier"], strict=True):
            assert row[2]["value"] == point["mean_recurrence"]["value"]
            assert row[5]["value"] == point["loss"]["value"]
            assert row[7]["high"] == point["gain_percent"]["high"]


def test_the_published_report_is_short_and_its_pages_are_full(
    document: Document, document_pdf: bytes
) -> None:
    import matplotlib.image as images

    assert len(pypdf.PdfReader(io.BytesIO(document_pdf)).pages) <= 8
    drawn = pages(document, 40)
    for png in drawn[:-1]:
        ink = images.imread(io.BytesIO(png))[..., :3].min(axis=2) < 0.8
        height = len(ink)
        rows = np.flatnonzero(ink[: int(0.93 * height)].any(axis=1))
        gaps = np.diff(np.concatenate([[0.05 * height], rows, [0.93 * height]])) / height
        assert rows[-1] / height > FULL
        assert gaps[gaps > 0.03].sum() < 1 - FULL


def test_the_same_content_is_the_same_file(document: Document, document_pdf: bytes) -> None:
    assert pdf(document) == document_pdf
    assert b"CreationDate" not in document_pdf


def test_fonts_are_embedded(document_pdf: bytes) -> None:
    for page in pypdf.PdfReader(io.BytesIO(document_pdf)).pages:
        for font in page["/Resources"].get("/Font", {}).values():
            inner = font.get_object()["/DescendantFonts"][0].get_object()
            descriptor = inner["/FontDescriptor"].get_object()
            assert any(key in descriptor for key in ("/FontFile2", "/FontFile3"))


def test_the_first_page_answers(document: Document) -> None:
    assert document.title == "Scaling laws of small-140m and medium-370m"
    found, sure, not_shown = document.abstract
    assert "grows with the training budget $C$ as $C^0.401$" in found
    assert "agree within their 95 % intervals" in sure
    assert not_shown.startswith("Not shown: no model was trained without a loop")
    assert [block.name for block in document.first_page] == ["summary", "exponents"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("one run", "gives a curve or a law yet: 1 finished run of 58"),
        ("three runs", "gives a curve or a law yet: 3 finished runs of 58"),
        ("one budget", "the best mean recurrence of small-140m is 4.01"),
        ("two budgets", "no power law"),
        ("equal losses", "small-140m"),
        ("monotone", "small-140m"),
        ("no tokens", "as $C^0.401$"),
        ("no budgets", "with a mean error of"),
        ("a wild run", "far off the training law"),
    ],
)
def test_any_study_makes_a_report(keep: str, said: str) -> None:
    document = document_of(fit_study(only(keep)))
    assert pdf(document).startswith(b"%PDF")
    assert html_page(document).endswith("</html>\n")
    words = " ".join([*document.abstract, *(block for block in document.blocks() if isinstance(block, str))])
    assert said in words
    assert "nan" not in words.replace("dominan", "")
    assert "paper" not in words  # the name of a model says nothing of where its runs come from
    if keep in ("one run", "three runs"):
        assert [chapter.title for chapter in document.chapters] == [
            "The sweep at a glance",
            "To do this again",
        ]


def test_curves_bring_saturation_and_the_unified_law() -> None:
    study = published_study()
    named = tuple(replace(curve, model="small-140m") for curve in curves(noise=0.001))
    models = {"small-140m": study.models["small-140m"].select(np.arange(36) < 1)}
    document = document_of(fit_study(replace(study, name="mine", models=models, curves=named)))
    assert document.title == "Losses over test recurrences of small-140m"
    assert {"saturation", "unified-small-140m"} <= {drawing.name for drawing in document.drawings}
    words = next(d.caption for d in document.drawings if d.name == "saturation")
    assert f"8 of {len(named)} runs" in words
    assert len(pypdf.PdfReader(io.BytesIO(pdf(document))).pages) <= 4


def test_no_run_at_all_is_one_page() -> None:
    empty = replace(published_study(), name="mine", models={}, curves=())
    document = document_of(fit_study(empty))
    assert 'id="calculator"' not in html_page(document)
    assert len(pypdf.PdfReader(io.BytesIO(pdf(document))).pages) == 1
    assert not document.drawings


def test_formats_write_their_files(document: Document, tmp_path: Path) -> None:
    short = replace(document, first_page=document.first_page[:1], chapters=document.chapters[:1])
    for form in ReportFormat:
        path, same = output_path("mine", tmp_path / f"report.{form}", None)
        assert same is form
        files = write_document(short, path, form)
        assert files[0] == path
        assert all(file.stat().st_size for file in files)
    assert "![summary](report-figures/summary.svg)" in (tmp_path / "report.md").read_text()
    assert {file.name for file in (tmp_path / "report-figures").iterdir()} == {
        f"summary.{kind}" for kind in ("pdf", "svg", "png", "csv")
    }
    assert "\\toprule" in (tmp_path / "report.tex").read_text()
    assert "@misc{parcae," in bibtex(document)
    assert json.loads((tmp_path / "report.json").read_text())["title"] == document.title


def test_a_name_that_is_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"'x\.png': its name must end in \.pdf, \.html, \.md, \.tex, \.json"
    ):
        output_path("mine", tmp_path / "x.png", None)
    with pytest.raises(InputError, match=r"'x\.pdf': its name must end in \.md"):
        output_path("mine", tmp_path / "x.pdf", ReportFormat.MARKDOWN)


def test_a_report_says_what_the_data_do_not_answer() -> None:
    document = document_of(fit_study(only("one budget")))
    last = document.chapters[-1].blocks[0]
    assert isinstance(last, str)
    assert last.startswith("The data do not answer: a loop against none")


def test_sources_are_bibtex(document: Document) -> None:
    entries = bibtex(document)
    assert "author = {Hoffmann and others}," in entries
    assert "author = {Schwethelm and Rueckert and Kaissis}," in entries
    assert "Schwethelm, Rueckert and Kaissis (2026)." in markdown(document, "figures")


def test_refits_are_made_only_for_what_prints_them() -> None:
    """The robustness panel is two thirds of the time, and `isoflop` doesn't show it."""
    found = {"small-140m": fit_model(published_study().models["small-140m"])}
    assert isoflop_text(found)
    assert isoflop_json(found)
    assert "robustness" not in vars(found["small-140m"])
    of_curves = FittedTestTime(curves=curves(noise=0.001))
    assert saturation_text(of_curves)
    assert not {"unified", "oracle"} & set(vars(of_curves))


def test_names_and_reasons_are_somebody_elses_words() -> None:
    study = only("one budget")
    nasty = 'a $b_c`#x "d" $e\\n 日本 & 100% *y* [z]'
    points = replace(study.models["small-140m"], model=nasty)
    named = tuple(
        replace(curve, model=nasty, run_id=f"{nasty} {i}") for i, curve in enumerate(curves(0.001)[:6])
    )
    document = document_of(fit_study(replace(study, models={nasty: points}, curves=named)))
    drawn = pypdf.PdfReader(io.BytesIO(pdf(document))).pages[0].extract_text()
    assert squeezed("a $b_c`#x") in squeezed(drawn)
    assert "a $b\\_c`\\#x" in markdown(document, "figures")
    assert "a \\$b\\_c`\\#x" in latex(document, "figures", "sources")
