"""The unified law of one model."""

import numpy as np
from matplotlib.figure import Figure

from analysis.fits.unified import GAMMA_ONE
from analysis.laws import UNIFIED
from analysis.report.figures.page import page, write
from analysis.report.fitted_study import FittedTestTime
from analysis.report.study_text import unified_text


def unified_figure(name: str, found: FittedTestTime) -> Figure:
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
