"""Figures: told apart in grey, written as files, with the data that is drawn in them."""

import csv
import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from analysis.report.figures.files import data_csv, rendered, write_figure
from analysis.report.figures.isoflop import isoflop
from analysis.report.figures.power_laws import power_laws
from analysis.report.figures.style import blank, budget_colour, log_axis, model_style, text, whole_axis
from analysis.report.fitted_study import isoflop_of
from parcae.errors import InputError

from ..points import published_study


def luminance(colour: object) -> float:
    return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))  # type: ignore[arg-type]


def test_six_models_differ_by_more_than_colour() -> None:
    styles = [model_style(i) for i in range(6)]
    assert len({style["marker"] for style in styles}) == 6
    assert len({str(style["linestyle"]) for style in styles}) == 6
    assert all(luminance(style["color"]) < 0.45 for style in styles)


def test_budgets_darken_and_none_is_too_light_for_paper() -> None:
    shades = [luminance(budget_colour(i, 6)) for i in range(6)]
    assert all(a > b + 0.04 for a, b in pairwise(shades))
    assert shades[0] < 0.6


@pytest.mark.parametrize(
    ("low", "high"), [(1e18, 6.4e19), (3.2e19, 1.28e20), (1e6, 1.1e6), (1, 1e12), (2, 2.2)]
)
def test_a_logarithmic_axis_has_a_few_readable_labels(low: float, high: float) -> None:
    _, (axes,) = blank()
    axes.plot([low, high], [1, 2])
    log_axis(axes, "budget $C$")
    low, high = axes.get_xlim()
    shown = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 2 <= len(shown) <= 12
    assert axes.xaxis.get_major_formatter()(2e18) == "2×10¹⁸"


def test_labels_of_recurrences_do_not_touch() -> None:
    _, (axes,) = blank()
    whole_axis(axes, range(1, 33), "T")
    logs = np.log(axes.get_xticks())
    assert np.diff(logs).min() > 0.1 * np.ptp(logs)
    assert (axes.get_xticks()[0], axes.get_xticks()[-1]) == (1, 32)


def test_numbers_need_no_mathematics() -> None:
    assert text("$1.6e19$ FLOPs") == "1.6×10¹⁹ FLOPs"
    assert text("$1e-7$") == "10⁻⁷"
    assert text("$mu_rec$") == "$\\mu_{\\mathrm{rec}}$"


def test_every_dot_that_is_drawn_is_in_the_csv() -> None:
    points = published_study().models["medium-370m"]
    figure = isoflop(isoflop_of(points))
    rows = list(csv.DictReader(io.StringIO(data_csv(figure).decode())))
    left = [row for row in rows if row["panel"].startswith("(a)") and row["kind"] == "points"]
    drawn = {(round(float(row["x"])), round(float(row["y"]), 4)) for row in left}
    assert drawn == set(zip(points.mean_recurrence.astype(int), points.loss.round(4), strict=True))
    assert {row["kind"] for row in rows} == {"points", "parabola", "optimum"}


def test_files_are_the_same_each_time_and_fonts_are_in_them(tmp_path: Path) -> None:
    fits = {name: isoflop_of(points) for name, points in published_study().models.items()}
    figure = power_laws(fits)
    paths = write_figure(figure, tmp_path / "figures", "power-laws")
    assert [path.suffix for path in paths] == [".pdf", ".svg", ".png", ".csv"]
    for path in paths[:3]:
        assert rendered(figure, path.suffix[1:]) == path.read_bytes(), path
    assert b"/FontFile2" in paths[0].read_bytes()
    assert b"<text" not in paths[1].read_bytes()


def test_the_same_functions_are_a_library() -> None:
    from analysis.report.figures import library as figures

    study = published_study()
    _, (axes,) = blank()
    assert figures.isoflop(study, "medium-370m", ax=axes) is axes
    assert len([line for line in axes.lines if not str(line.get_label()).startswith("_")]) == 3
    assert figures.power_law(study).get_ylabel().startswith("best mean recurrence")
    assert figures.contours(study, "small-140m").get_xlabel().startswith("tokens")
    assert figures.residuals(study, "small-140m").has_data()
    assert figures.frontier(study, "small-140m").has_data()
    assert figures.gain(study).has_data()
    assert figures.exponents(study, tokens=True).has_data()
    assert figures.saturation(study, "rdm-350m/per-batch").has_data()
    with pytest.raises(InputError, match="name one of small-140m, medium-370m"):
        figures.isoflop(study)
