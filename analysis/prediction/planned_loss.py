"""Predicted losses for a plan: from the model's own finished runs, or else from the published points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.frames import runs_frame
from analysis.data.study import build_study
from analysis.fits.forms import FormFit, fit_forms
from analysis.published import published_sweep
from parcae.config import ModelConfig
from parcae.flops import counted_parameters
from parcae.presets import PRESETS
from sweeps.store.rows import RunRow

FEW = 10
"""Draws of an uncertainty that is not used."""
_NO_LOSSES = pd.DataFrame({"run_id": [], "test_recurrence": [], "loss": []})


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """The predicted loss of a planned run."""

    loss: float
    """Nats."""
    form: str
    """The form of the law that predicts it."""


def foreseen_losses(
    model_name: str,
    model: ModelConfig,
    points: Sequence[tuple[float, float]],
    runs: Sequence[RunRow] | None,
    *,
    published: bool = True,
) -> list[Foreseen | None]:
    """The loss at each (mean recurrence, tokens), and its form; None where no form covers the model.

    `runs` are a study's; the finished runs of `model_name` are used when they decide a form, and the
    published points otherwise, for a published model of the published shape. With `published` false, these
    are not used: they do not hold for another text.
    """
    chosen = _chosen(runs, model_name) if runs is not None else None
    if chosen is None and published and model_name in PRESETS and PRESETS[model_name].model == model:
        chosen = _chosen(published_sweep().runs, model_name)
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
    runs: Sequence[RunRow] | None,
) -> list[float | None]:
    """The losses of ``foreseen_losses`` alone."""
    return [found.loss if found else None for found in foreseen_losses(model_name, model, points, runs)]


def _chosen(runs: Sequence[RunRow], model_name: str) -> FormFit | None:
    points = build_study("plan", "planned", runs_frame(runs), _NO_LOSSES).models.get(model_name)
    return fit_forms(points, resamples=FEW).chosen if points is not None else None
