"""Losses of single runs over their test recurrences."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from analysis.data.points import TestTimeCurve
from analysis.engine.verdict import FitStatus
from analysis.fits.saturation import SaturationFit
from analysis.report.figures.page import LEFT, MODEL_COLOURS, RED, WIDTH, page

CURVES_A_PAGE = 12
CURVES_SHOWN = 24


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
        if fit.status is FitStatus.TURNS_UP:
            axes.scatter([fit.best_test_recurrence], [fit.best_loss], marker="*", s=60, color=RED, zorder=4)
        axes.axvline(curve.mean_recurrence, color="#888888", lw=0.7, ls="--")
        axes.set_title(f"{curve.run_id}, mu_rec {curve.mean_recurrence:g}\n{fit.status}", fontsize=7)
        axes.tick_params(labelsize=6)
        if row == rows - 1:
            axes.set_xlabel("test recurrence T", fontsize=7)
        if column == 0:
            axes.set_ylabel("loss (nats)", fontsize=7)
    return figure
