"""The page, in a real browser: as it is read, pointed at, typed into and narrowed."""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By

from analysis.prediction.predict import predict
from analysis.report.content.document import Document
from analysis.report.fitted_study import FittedStudy, fit_study
from analysis.report.formats.html import html_page
from analysis.report.mathematics import HTML, prose, typeset
from tests.browser import chromium

from ..points import published_study
from .studies import document_of, published_records


@pytest.fixture(scope="module")
def text(document: Document) -> str:
    return html_page(document)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Chrome, text: str, tmp_path: Path) -> Iterator[Chrome]:
    """The page, opened from a file; whatever a test does, nothing may be logged."""
    path = tmp_path / "report.html"
    path.write_text(text)
    browser.set_window_size(1100, 1000)
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def test_the_page_needs_nothing_beside_it(text: str) -> None:
    addresses = re.findall(r"""(?:src|href|url\()\s*=?\s*["'(]?([^"')\s>]+)""", text)
    assert addresses
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in addresses)


def test_every_number_of_the_tables_is_in_the_page(document: Document, text: str) -> None:
    found = 0
    shown = re.sub(r"</?(span|code)[^>]*>", "", text).replace("&nbsp;", " ")
    for table in (*document.tables, document.runs):
        for row in table.rows:
            for cell in row:
                words = cell if isinstance(cell, str) else cell.text
                set_in_html = prose(words, html.escape, lambda part: typeset(part, HTML), str)
                assert set_in_html in shown
                found += 1
    assert found > 400


def test_formulas_are_typeset() -> None:
    assert typeset("4e18", HTML) == "4 × 10<sup>18</sup>"
    assert typeset("1e-5", HTML) == "10<sup>−5</sup>"
    assert typeset("L = E + X N^-x", HTML) == "<i>L</i> = <i>E</i> + <i>X</i> <i>N</i><sup>−<i>x</i></sup>"
    assert typeset("mu_rec <= 2", HTML) == "<i>&mu;</i><sub>rec</sub> ≤ 2"


def test_a_dot_tells_its_run_and_leads_to_it(page: Chrome, findings: FittedStudy) -> None:
    figure = page.find_element(By.ID, "isoflop-small-140m")
    points = findings.models["small-140m"].points
    dots = figure.find_elements(By.CSS_SELECTOR, '[id$="-axis-runs"] .dot')
    assert len(dots) == len(points)
    for dot, at in ((dots[0], 0), (dots[20], 20)):
        run = points.run_ids[at]
        place = dot.location
        page.execute_script("scrollTo(0, arguments[0] - 300)", place["y"])  # type: ignore[no-untyped-call]
        ActionChains(page).move_to_element(dot).perform()
        told = page.find_element(By.ID, "told").text
        assert told.endswith(f"run {run}")
        assert f"mean recurrence {points.mean_recurrence[at]:g}," in told
        assert f"loss {points.loss[at]:.5g} nats" in told
        dot.send_keys(Keys.ENTER)
        row = page.switch_to.active_element
        assert row.get_attribute("id") == f"run-{run}"
        assert row.is_displayed()
        assert f"{points.loss[at]:.4f}" in row.text


def test_dots_are_where_their_losses_are(page: Chrome, findings: FittedStudy) -> None:
    """What is said of a dot is said of the right one: higher on the screen is a higher loss."""
    points = findings.models["medium-370m"].points
    loss = dict(zip(points.run_ids, points.loss, strict=True))
    for panel in ("axis", "tokens"):
        dots = page.find_elements(By.CSS_SELECTOR, f'#isoflop-medium-370m [id$="-{panel}-runs"] .dot')
        script = "return [arguments[0].getBoundingClientRect().y, arguments[0].getAttribute('aria-label')]"
        drawn = [page.execute_script(script, dot) for dot in dots]  # type: ignore[no-untyped-call]
        places = [(y, loss[label.rpartition("run ")[2]]) for y, label in drawn]
        slopes = [(y - places[0][0]) / (value - places[0][1]) for y, value in places[1:]]
        assert slopes == pytest.approx([slopes[0]] * len(slopes), rel=0.05)


def test_budgets_are_switched_by_keyboard(page: Chrome) -> None:
    figure = page.find_element(By.ID, "isoflop-medium-370m")
    boxes = figure.find_elements(By.CSS_SELECTOR, "fieldset input")
    dots = figure.find_elements(By.CSS_SELECTOR, '[id*="curve-1-"] .dot')
    assert len(boxes) == 3
    assert len(dots) == 12
    boxes[1].send_keys(Keys.SPACE)
    assert not any(dot.is_displayed() for dot in dots)
    assert figure.find_elements(By.CSS_SELECTOR, '[id*="curve-0-"] .dot')[0].is_displayed()
    boxes[1].send_keys(Keys.SPACE)
    assert all(dot.is_displayed() for dot in dots)


def asked(page: Chrome, **fields: str) -> list[list[str]]:
    """What the calculator says: the cells of each row."""
    for name, value in fields.items():
        field = page.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)
    rows = page.find_elements(By.CSS_SELECTOR, "#advice tbody tr")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]


def test_the_calculator_says_what_predict_says(page: Chrome) -> None:
    expected = {
        model: predict(published_study(), model, flops=6.4e19) for model in ("small-140m", "medium-370m")
    }
    rows = asked(page, flops="6.4e19")
    assert [row[0] for row in rows] == ["medium-370m", "small-140m"]
    for row in rows:
        found = expected[row[0]]
        recurrence, loss = found.mean_recurrence, found.loss
        assert row[2] == f"{recurrence.value:g} ({recurrence.low:g} to {recurrence.high:g})"
        assert row[4] == f"{loss.value:.3f} ({loss.low:.3f} to {loss.high:.3f})"
    data = json.loads(page.find_element(By.ID, "answers").get_attribute("textContent") or "")
    parameters = {one["model"]: one["parameters"] for one in data}
    assert [float(row[1]) for row in rows] == pytest.approx(
        [2 * parameters[row[0]] / 2**30 for row in rows], rel=5e-3
    )


def test_the_calculator_keeps_to_the_memory_and_to_what_was_trained(page: Chrome) -> None:
    rows = asked(page, flops="6.4e19", memory="0.2")
    assert [(row[0], "Does not fit." in row[5]) for row in rows] == [
        ("small-140m", False),
        ("medium-370m", True),
    ]
    assert page.find_element(By.CSS_SELECTOR, "#advice .best td").text == "small-140m"
    assert asked(page, flops="1e25", memory="") == []
    assert "the runs of small-140m support" in page.find_element(By.ID, "answered").text
    assert asked(page, flops="-1") == []
    assert "positive" in page.find_element(By.ID, "answered").text


def test_a_narrow_screen_scrolls_tables_and_not_the_page(page: Chrome) -> None:
    page.set_window_size(500, 800)
    wide = page.execute_script(  # type: ignore[no-untyped-call]
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert wide <= 0


def test_words_of_others_are_no_markup(page: Chrome, document: Document) -> None:
    hostile = "</script><script>alert(1)</script><b>&$x$"
    text = html_page(document_of(renamed(hostile), published_records()))
    assert hostile not in text
    path = Path(page.current_url.removeprefix("file://"))
    path.write_text(text)
    page.refresh()
    assert hostile in page.find_element(By.TAG_NAME, "h1").text
    assert page.find_elements(By.CSS_SELECTOR, "#advice tbody td")[0].text == hostile


def renamed(name: str) -> FittedStudy:
    """The published study, its small model called something else."""
    study = published_study()
    points = replace(study.models["small-140m"], model=name)
    return fit_study(replace(study, models={name: points}, curves=()))
