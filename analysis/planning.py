"""Predicted losses for a plan: from the model's own finished runs, or else from the published points."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.dataset import ModelPoints, build_study
from analysis.published import published_tables
from analysis.training import TrainingFit, fit_training_law
from parcae.config import ModelConfig
from parcae.flops import effective_parameters
from parcae.presets import PRESETS

_NO_LOSSES = pd.DataFrame({"run_id": [], "test_recurrence": [], "loss": []})


def predicted_losses(
    model_name: str,
    model: ModelConfig,
    points: Sequence[tuple[float, float]],
    runs: pd.DataFrame | None,
) -> list[float | None]:
    """Loss in nats at each (mean recurrence, tokens); None where no identified law covers the model.

    `runs` is a study's table of runs; its finished runs of `model_name` are used when they decide a law, and
    the published points otherwise, for a published model of the published shape.
    """
    law = _law(runs, model_name) if runs is not None else None
    if law is None and model_name in PRESETS and PRESETS[model_name].model == model:
        law = _law(published_tables()[0], model_name)
    if law is None or not points:
        return [None] * len(points)
    sizes = [effective_parameters(model, mean_recurrence) for mean_recurrence, _ in points]
    losses = law.predict(np.array(sizes), np.array([tokens for _, tokens in points], dtype=float))
    return [float(loss) for loss in losses]


def _law(runs: pd.DataFrame, model_name: str) -> TrainingFit | None:
    found: ModelPoints | None = build_study("plan", "planned", runs, _NO_LOSSES).models.get(model_name)
    if found is None:
        return None
    law = fit_training_law(found.effective_parameters, found.tokens, found.loss)
    return law if law.usable else None
