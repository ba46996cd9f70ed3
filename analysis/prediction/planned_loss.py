"""Predicted losses for a plan: from the model's own finished runs, or else from the published points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.study import build_study
from analysis.fits.forms import FormFit, fit_forms
from analysis.published import published_tables
from parcae.config import ModelConfig
from parcae.flops import counted_parameters
from parcae.presets import PRESETS

FEW = 10
"""Draws of an uncertainty that is not looked at."""
_NO_LOSSES = pd.DataFrame({"run_id": [], "test_recurrence": [], "loss": []})


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """A loss that a plan may expect."""

    loss: float
    """Nats."""
    form: str
    """The form of the law that says so."""


def foreseen_losses(
    model_name: str,
    model: ModelConfig,
    points: Sequence[tuple[float, float]],
    runs: pd.DataFrame | None,
    *,
    published: bool = True,
) -> list[Foreseen | None]:
    """The loss at each (mean recurrence, tokens), and its form; None where no form covers the model.

    `runs` is a study's table of runs; its finished runs of `model_name` are used when they decide a form, and
    the published points otherwise, for a published model of the published shape, unless `published` is false:
    on another text they say nothing.
    """
    chosen = _chosen(runs, model_name) if runs is not None else None
    if chosen is None and published and model_name in PRESETS and PRESETS[model_name].model == model:
        chosen = _chosen(published_tables()[0], model_name)
    if chosen is None or not points:
        return [None] * len(points)
    once, recurrent = counted_parameters(model)
    recurrences, tokens = (np.array(values, dtype=float) for values in zip(*points, strict=True))
    at = {
        "N": once + recurrences * recurrent,
        "D": tokens,
        "mu": recurrences,
        "once": np.full(len(points), float(once)),
        "recurrent": np.full(len(points), float(recurrent)),
    }
    losses = chosen.law.predict(chosen.fit.vector, at)[0]
    return [Foreseen(loss=float(loss), form=chosen.law.name) for loss in losses]


def predicted_losses(
    model_name: str,
    model: ModelConfig,
    points: Sequence[tuple[float, float]],
    runs: pd.DataFrame | None,
) -> list[float | None]:
    """The losses of ``foreseen_losses`` alone."""
    return [found.loss if found else None for found in foreseen_losses(model_name, model, points, runs)]


def _chosen(runs: pd.DataFrame, model_name: str) -> FormFit | None:
    points = build_study("plan", "planned", runs, _NO_LOSSES).models.get(model_name)
    return fit_forms(points, resamples=FEW).chosen if points is not None else None
