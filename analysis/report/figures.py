"""The report's figures: one pure function each, from findings to a matplotlib Figure (A4, portrait).

Below each figure stand the numbers it shows, as `analysis.report.study_text` prints them.
"""

import math
from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.checks.robustness import Robustness
from analysis.data.axis import Axis
from analysis.data.study import TestTimeCurve, spaced
from analysis.engine.fit import LawFit
from analysis.engine.intervals import Interval
from analysis.engine.verdict import Status
from analysis.fits.isoflop.parabola import Parabola
from analysis.fits.isoflop.power_law import PowerLaw
from analysis.fits.saturation import SaturationFit
from analysis.fits.unified import GAMMA_ONE
from analysis.laws import UNIFIED, Array
from analysis.prediction.frontier import best_recurrence
from analysis.report.fitted_study import Findings, ModelFindings, TestTimeFindings
from analysis.report.headlines import extrapolations, headlines, warnings
from analysis.report.law_text import forms_text, frontier_text, training_text
from analysis.report.study_text import (
    PUBLISHED_GAMMAS,
    isoflop_text,
    provenance_text,
    robustness_text,
    routes_text,
    spell,
    unified_text,
)

PAGE_INCHES = (8.27, 11.69)
BOTTOM = 0.04
CURVES_A_PAGE = 12
CURVES_SHOWN = 24
ROWS_SHOWN = 45
LEGEND_ENTRIES = 8
MODEL_COLOURS = ("#1f4e8c", "#c8641e", "#2f7d4f", "#8b3a8f", "#7a6a1f", "#4a4a4a")
BUDGET_COLOURS = colormaps["viridis"]
Colour = tuple[float, float, float, float]
RED = "#d62728"
LEFT, WIDTH = 0.10, 0.82
SPACING = 1.3
PANELS = ((0.10, 0.49, 0.38, 0.40), (0.57, 0.49, 0.38, 0.40))
"""Two panels side by side, and where the text below them starts."""
BELOW = 0.43


def page(title: str, subtitle: str = "") -> Figure:
    """An empty page with its title."""
    figure = Figure(figsize=PAGE_INCHES)
    figure.text(LEFT, 0.95, title, fontsize=16, weight="bold", va="bottom")
    if subtitle:
        figure.text(LEFT, 0.943, subtitle, fontsize=9, color="#555555", va="top")
    return figure


def write(figure: Figure, top: float, text: str) -> float:
    """A block of fixed-width text from `top` (fraction of the page) down, shrunk to the page's width.

    What the page has no room for is cut off and counted. Returns where the next block can start.
    """
    lines = text.split("\n")
    longest = max(len(line) for line in lines)
    fits = WIDTH * PAGE_INCHES[0] * 72 / (0.602 * max(longest, 1))  # 0.602: DejaVu Sans Mono's advance
    size = min(8.5, fits)
    room = max(int((top - BOTTOM) / _line(size)), 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"… {len(lines) - room + 1} lines more: `parcae-fit` prints them all"]
    text = "\n".join(lines)
    figure.text(LEFT, top, text, fontsize=size, family="DejaVu Sans Mono", va="top", linespacing=SPACING)
    return top - (len(lines) + 1.0) * _line(size)


def _line(size: float) -> float:
    """Height of a line of text of `size` points, as a fraction of the page (DejaVu: 1.164 em)."""
    return 1.164 * SPACING * size / (72 * PAGE_INCHES[1])


def summary_page(findings: Findings) -> Figure:
    """What was found, and what to beware of."""
    study = findings.study
    figure = page("Scaling laws of a looped language model", f"Sweep {study.name}: {study.used} runs fitted")
    place = 0.90
    parts = {"Findings": headlines, "Extrapolated": extrapolations, "Warnings": warnings}
    for heading, told in parts.items():
        sentences = told(findings)
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


def isoflop_figure(name: str, findings: ModelFindings) -> Figure:
    """Loss along the axis and against tokens, a parabola a budget, vertices starred."""
    passed_over, isoflop = findings.points.passed_over, findings.isoflop
    best = f"; the best run of each cell, {passed_over} passed over" if passed_over else ""
    figure = page(
        f"IsoFLOP curves, {name}", f"A parabola in the logarithm per budget; stars are interior optima{best}"
    )
    if not isoflop.optima:
        write(
            figure,
            0.88,
            "No run has both a FLOP budget and a place on an axis, so there is no curve to draw.",
        )
        return figure
    panels = [figure.add_axes(place) for place in PANELS]
    named = spaced(isoflop.optima, LEGEND_ENTRIES)
    tokens_known = any(optimum.curve.log_d is not None for optimum in isoflop.optima)
    for position, optimum in enumerate(isoflop.optima):
        colour, curve = _budget_colour(position, len(isoflop.optima)), optimum.curve
        label = f"{optimum.flops:.3g}" if optimum in named else None
        for axes, logs, fitted, vertex in (
            (panels[0], curve.log_v, optimum.along_axis, optimum.on_axis),
            (panels[1], curve.log_d, optimum.in_tokens, optimum.tokens),
        ):
            if logs is None:
                continue
            axes.scatter(np.exp(logs), curve.losses, color=colour, s=16, zorder=3, label=label)
            if fitted is not None:
                _draw_parabola(axes, fitted, np.exp(logs), vertex, colour)
    _log_axis(panels[0], isoflop.axis.words)
    panels[0].set_ylabel("validation loss (nats)")
    panels[0].legend(title="FLOPs", fontsize=7, title_fontsize=7, frameon=False)
    if tokens_known:
        _log_axis(panels[1], "tokens D")
    else:
        _nothing(
            panels[1],
            "tokens are the axis" if isoflop.axis is Axis.TOKENS else "the runs' tokens are unknown",
        )
    _sentences(figure, write(figure, BELOW, isoflop_text(isoflop)), findings.routes.warnings)
    return figure


def power_law_figure(findings: Findings) -> Figure:
    """Optimal mean recurrence and tokens against FLOPs, with intervals, beside the paper's exponents."""
    figure = page("Power laws of the optimum", "Stars: isoFLOP vertices; band: 95 % interval of the exponent")
    panels = [figure.add_axes(place) for place in PANELS]
    lines = []
    for index, (name, found) in enumerate(findings.models.items()):
        colour = MODEL_COLOURS[index % len(MODEL_COLOURS)]
        paper = PUBLISHED_GAMMAS.get(name, (math.nan, math.nan))
        symbol_v = "gamma_N" if found.isoflop.axis is Axis.PARAMETERS else "gamma_mu"
        for axes, law, quantity, published, symbol in (
            (panels[0], found.isoflop.gamma_axis, "on_axis", paper[0], symbol_v),
            (panels[1], found.isoflop.gamma_tokens, "tokens", paper[1], "gamma_D"),
        ):
            optima = [o for o in found.isoflop.interior if math.isfinite(getattr(o, quantity))]
            if optima:
                flops = np.array([o.flops for o in optima])
                values = [getattr(o, quantity) for o in optima]
                axes.scatter(flops, values, color=colour, marker="*", s=60, zorder=4, label=name)
            if optima and math.isfinite(law.exponent.value):
                _draw_power_law(axes, law, flops, colour)
                beside = f"; paper {published:.2f}" if math.isfinite(published) else ""
                lines.append(f"{name}: {symbol} = {spell(law.exponent)}{beside}; {law.message}")
            else:
                lines.append(f"{name}: no {symbol}: {law.message}")
    for axes, label in zip(panels, (_optimal(findings), "optimal tokens D"), strict=True):
        if not axes.has_data():
            _nothing(axes, "no interior optimum")
            continue
        _log_axis(axes, "FLOPs")
        _log_axis(axes, label, vertical=True)
        axes.legend(fontsize=7, frameon=False)
    write(figure, BELOW, "\n".join(lines) or "No model has runs.")
    return figure


def _optimal(findings: Findings) -> str:
    """What the models' curves run along, for a label."""
    axes = {found.isoflop.axis.words for found in findings.models.values()}
    return f"optimal {' or '.join(sorted(axes)) or 'mean recurrence'}"


def training_figure(name: str, findings: ModelFindings) -> Figure:
    """The training law's contours with the runs and its own optimum, and its residuals."""
    form = findings.forms.chosen
    shown = form.fit if form and not set(form.law.variables) - {"N", "D"} else findings.training.law.fit
    figure = page(f"Training law, {name}", f"{shown.law.name}: {shown.law.equation}, Huber on log loss")
    points, top = findings.training.points, 0.88
    if shown.usable:
        left, right = (figure.add_axes(place) for place in PANELS)
        _contours(left, findings, shown)
        for position, budget in enumerate(points.budgets):
            at = points.budget == budget
            colour = _budget_colour(position, len(points.budgets))
            right.scatter(points.loss[at], 100 * shown.residuals[at], color=colour, s=16)
        rest = ~np.isfinite(points.flops)
        right.scatter(points.loss[rest], 100 * shown.residuals[rest], color="#555555", s=12)
        right.axhline(0, color="black", lw=0.6)
        right.set_xlabel("measured loss (nats)")
        right.set_ylabel("predicted over measured (%)")
        right.tick_params(labelsize=7)
        top = BELOW
    top = write(figure, top, training_text(findings.training))
    top = write(figure, top, frontier_text(findings))
    write(figure, top, forms_text(findings.forms))
    return figure


def routes_figure(findings: Findings) -> Figure:
    """Both routes to each exponent, with intervals."""
    figure = page(
        "Two routes to the optimum",
        "IsoFLOP parabolas against the training law's own minimum, 95 % intervals",
    )
    names = list(findings.models)
    height = min(0.34, 0.06 + 0.05 * len(names))
    panels = [
        figure.add_axes((0.24, 0.88 - height, 0.31, height)),
        figure.add_axes((0.62, 0.88 - height, 0.31, height)),
    ]
    for axes, which in zip(panels, ("mean_recurrence", "tokens"), strict=True):
        for row, name in enumerate(names):
            route = getattr(findings.models[name].routes, which)
            _whisker(axes, row - 0.14, route.parabolas, MODEL_COLOURS[0], "parabolas" if row == 0 else None)
            _whisker(axes, row, route.corrected, MODEL_COLOURS[2], "corrected" if row == 0 else None)
            _whisker(axes, row + 0.14, route.law, MODEL_COLOURS[1], "training law" if row == 0 else None)
            paper = PUBLISHED_GAMMAS.get(name)
            if paper:
                published = paper[0] if which == "mean_recurrence" else paper[1]
                axes.plot([published] * 2, [row - 0.35, row + 0.35], color="black", lw=1, ls=":")
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_yticks(range(len(names)), names if which == "mean_recurrence" else [""] * len(names))
        axes.set_xlabel(f"exponent of {which.replace('_', ' ')}")
    panels[1].legend(fontsize=7, frameon=False)
    text = "\n\n".join(f"{name}\n{routes_text(found)}" for name, found in findings.models.items())
    top = write(figure, 0.80 - height, text + "\n\nDotted: the paper's exponents (figure 5).")
    _sentences(figure, top, warnings(findings))
    return figure


def saturation_figure(shown: Sequence[tuple[TestTimeCurve, SaturationFit]], note: str) -> Figure:
    """L(T) of up to ``CURVES_A_PAGE`` runs, measured and fitted."""
    figure = page("Test-time saturation", note)
    columns = 3 if len(shown) > 4 else 2
    rows = math.ceil(len(shown) / columns)
    height = min(0.26, 0.84 / rows)
    for position, (curve, fit) in enumerate(shown):
        row, column = divmod(position, columns)
        axes = figure.add_axes(
            (
                LEFT + column * (WIDTH + 0.06) / columns,
                0.91 - (row + 1) * height + 0.05,
                (WIDTH + 0.06) / columns - 0.07,
                height - 0.075,
            )
        )
        axes.scatter(curve.test_recurrence, curve.loss, s=12, color=MODEL_COLOURS[0], zorder=3)
        if math.isfinite(fit.z):
            t = np.linspace(curve.test_recurrence.min(), curve.test_recurrence.max(), 200)
            axes.plot(t, fit.predict(t), color=MODEL_COLOURS[1], lw=1.2)
        if math.isfinite(fit.L_inf):
            axes.axhline(fit.L_inf, color=MODEL_COLOURS[1], lw=0.7, ls=":")
        if fit.status is Status.TURNS_UP:
            axes.scatter([fit.best_test_recurrence], [fit.best_loss], marker="*", s=60, color=RED, zorder=4)
        axes.axvline(curve.mean_recurrence, color="#888888", lw=0.7, ls="--")
        axes.set_title(f"{curve.run_id}, mu_rec {curve.mean_recurrence:g}\n{fit.status}", fontsize=7)
        axes.tick_params(labelsize=6)
        if row == rows - 1:
            axes.set_xlabel("test recurrence T", fontsize=7)
        if column == 0:
            axes.set_ylabel("loss (nats)", fontsize=7)
    return figure


def unified_figure(name: str, found: TestTimeFindings) -> Figure:
    """Measured against predicted loss under the unified law, coloured by T over mean recurrence."""
    figure = page(f"Unified law, {name}", UNIFIED[GAMMA_ONE].equation)
    fit = found.unified[name][GAMMA_ONE]
    top = 0.88
    if fit.usable:
        axes = figure.add_axes((0.10, 0.47, 0.80, 0.42))
        points = fit.fit.points
        data = points.problem.data
        depth = data["T"][:-1] / data["mu"][:-1]
        measured = np.exp(points.log_loss + points.log_unit)
        predicted = measured * np.exp(fit.fit.residuals[points.order])
        dots = axes.scatter(measured, predicted, c=depth, s=9, cmap="viridis", norm="log")
        ends = [measured.min(), measured.max()]
        axes.plot(ends, ends, color="black", lw=0.6)
        axes.set_xlabel("measured loss (nats)")
        axes.set_ylabel("predicted loss (nats)")
        figure.colorbar(dots, ax=axes, label="T / mean recurrence")
        top = 0.40
    write(figure, top, unified_text(found, name))
    return figure


def robustness_figure(name: str, panel: Robustness) -> Figure:
    """Each refit's exponents, beside their spread."""
    figure = page(
        f"Robustness, {name}", "The training law under other choices: Huber's delta, budgets left out"
    )
    columns = ("E", "x", "y", "gamma_mean_recurrence")
    labels = ("E (nats)", "x", "y", "gamma, law")
    height = min(0.40, 0.05 + 0.025 * len(panel.variants))
    for position, (column, label) in enumerate(zip(columns, labels, strict=True)):
        axes = figure.add_axes((0.27 + 0.175 * position, 0.89 - height, 0.145, height))
        values = [getattr(variant, column) for variant in panel.variants]
        axes.scatter(values, range(len(values)), s=18, color=MODEL_COLOURS[0], zorder=3)
        low, high = panel.spread(column)
        if math.isfinite(low):
            axes.axvspan(low, high, color=MODEL_COLOURS[0], alpha=0.08)
            pad = max(high - low, 1e-3 * abs(high), 1e-6) * 0.2
            axes.set_xlim(low - pad, high + pad)
        axes.set_ylim(len(values) - 0.5, -0.5)
        ticks = [variant.setting for variant in panel.variants] if position == 0 else [""] * len(values)
        axes.set_yticks(range(len(values)), ticks, fontsize=7)
        axes.tick_params(axis="x", labelsize=6)
        axes.set_xlabel(label, fontsize=8)
        axes.locator_params(axis="x", nbins=3)
    write(figure, 0.82 - height, robustness_text(panel))
    return figure


def text_page(title: str, text: str, subtitle: str = "") -> Figure:
    figure = page(title, subtitle)
    write(figure, 0.90, text)
    return figure


def provenance_page(findings: Findings) -> Figure:
    return text_page("Provenance", provenance_text(findings.study))


def _budget_colour(position: int, count: int) -> Colour:
    return BUDGET_COLOURS(0.9 * position / max(count - 1, 1))


def _draw_parabola(axes: Axes, curve: Parabola, values: Array, vertex: float, colour: Colour) -> None:
    """The curve over its runs, solid with a star when its `vertex` is an optimum, dotted when NaN."""
    low, high = float(values.min()), float(values.max())
    if math.isfinite(vertex):
        low, high = min(low, vertex), max(high, vertex)
        on_top = axes.scatter([vertex], curve([vertex]), marker="*", s=120, color=RED, zorder=5)
        on_top.set_edgecolor("white")
    line = np.geomspace(low, high, 100)
    axes.plot(line, curve(line), color=colour, lw=1, ls="-" if math.isfinite(vertex) else ":")


def _draw_power_law(axes: Axes, law: PowerLaw, flops: Array, colour: str) -> None:
    line = np.geomspace(flops.min() / 2, flops.max() * 2, 50)
    middle = np.exp(np.log(flops).mean())
    axes.plot(line, law(line), color=colour, lw=1.3)
    gamma = law.exponent
    if math.isfinite(gamma.low):
        low, high = (law(middle) * (line / middle) ** exponent for exponent in (gamma.low, gamma.high))
        axes.fill_between(line, np.minimum(low, high), np.maximum(low, high), color=colour, alpha=0.15)


def _nothing(axes: Axes, why: str) -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, why, ha="center", color="#555555", transform=axes.transAxes)


def _contours(axes: Axes, findings: ModelFindings, fit: LawFit) -> None:
    """The runs over the law's contours; its continuous optimum in red."""
    points, law, shape = findings.training.points, fit.law, findings.shape
    tokens = np.geomspace(points.tokens.min() / 1.5, points.tokens.max() * 1.5, 80)
    sizes = points.effective_parameters
    axes.scatter(
        points.tokens, sizes, c=points.loss, cmap="viridis_r", s=18, zorder=3, edgecolors="white", lw=0.4
    )
    grid = np.geomspace(sizes.min() / 1.1, sizes.max() * 1.1, 80)
    mesh_d, mesh_n = np.meshgrid(tokens, grid)
    mesh = {"N": mesh_n.ravel(), "D": mesh_d.ravel()}
    loss = law.predict(fit.vector, mesh)[0].reshape(mesh_n.shape)
    lines = axes.contour(tokens, grid, loss, levels=12, cmap="viridis_r", linewidths=0.8)
    axes.clabel(lines, fontsize=6, fmt="%.2f")
    _log_axis(axes, "tokens D")
    _log_axis(axes, "effective parameters N", vertical=True)
    if shape is not None and len(points.budgets):
        budgets = np.geomspace(points.budgets.min(), points.budgets.max(), 60)
        best = np.maximum(best_recurrence(fit.vector, shape, budgets, law)[0], 1.0)
        axes.plot(budgets / shape.flops_per_token(best), shape.parameters(best), color=RED, lw=1.6)
        axes.set_xlim(tokens[0], tokens[-1])
        axes.set_ylim(grid[0], grid[-1])


def _whisker(axes: Axes, row: float, value: Interval, colour: str, label: str | None) -> None:
    axes.plot([value.value], [row], marker="o", ms=4, color=colour, ls="none", label=label)
    if math.isfinite(value.low):
        axes.plot([value.low, value.high], [row, row], color=colour, lw=1.5)


def _log_axis(axes: Axes, label: str, *, vertical: bool = False) -> None:
    """A logarithmic axis whose ticks can be read even when it spans less than a decade."""
    axis = axes.yaxis if vertical else axes.xaxis
    if vertical:
        axes.set_yscale("log")
    else:
        axes.set_xscale("log")
    axis.set_label_text(label)
    axes.tick_params(labelsize=7)
    low, high = axes.get_ylim() if vertical else axes.get_xlim()
    if high / low < 100:
        subs = (1, 2, 5) if high / low > 10 else (1, 1.5, 2, 3, 4, 6, 8)
        axis.set_major_locator(LogLocator(base=10, subs=subs))
        axis.set_major_formatter(FuncFormatter(_tick))
    axis.set_minor_formatter(NullFormatter())


def _tick(value: float, _position: int) -> str:
    """8, 150, 2.5e9: as the tables write numbers, without an exponent's sign and zeros."""
    return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")


def _sentences(figure: Figure, top: float, sentences: Sequence[str]) -> None:
    lines = [line for sentence in sentences for line in wrap(f"- {sentence}", 92, subsequent_indent="  ")]
    if lines and top - BOTTOM > 3 * _line(8.5):
        write(figure, top, "\n".join(["Warnings", *lines]))
