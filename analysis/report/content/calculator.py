"""The answers for budgets that nobody asked about yet: what a page's calculator chooses from."""

import math
from collections.abc import Sequence

import numpy as np

from analysis.prediction.budgets import supported
from analysis.prediction.predict import predictions_at, spent_on
from analysis.report.content.document import Answers
from analysis.report.fitted_study import FittedModel, FittedStudy

EACH_DECADE = 24
"""Budgets of the grid, 10 % apart: no budget is further than 5 % from one of it."""


def answers(findings: FittedStudy) -> Sequence[Answers]:
    """For each model whose laws are decided: what ``predict`` says over the budgets that its runs support.

    The budgets that any model was trained at are among them.
    """
    found = []
    trained = {float(c) for model in findings.models.values() for c in model.points.budgets}
    for name, model in findings.models.items():
        shape = model.shape
        predictions = predictions_at(model.points, shape, model.forms, _grid(model, trained)) if shape else ()
        if shape and predictions:
            parameters = shape.once_parameters + shape.recurrent_parameters
            found.append(Answers(model=name, parameters=parameters, predictions=tuple(predictions)))
    return found


def _grid(model: FittedModel, trained: set[float]) -> Sequence[float]:
    assert model.shape is not None
    low, high = supported(spent_on(model.points, model.shape))
    steps = np.arange(math.ceil(EACH_DECADE * np.log10(low)), math.floor(EACH_DECADE * np.log10(high)) + 1)
    grid = 10.0 ** (steps / EACH_DECADE)
    return sorted({*map(float, grid), *trained})
