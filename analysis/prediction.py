"""The best recurrence and tokens for a budget, the loss to expect there, and how sure that is.

From the training law's own minimum (`analysis.frontier`); L(T) from the unified law where the model has
losses at several test recurrences. Beyond what the runs support the answer is a refusal, unless asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.dataset import ModelPoints, Study
from analysis.frontier import (
    DEEPEST_FACTOR,
    Shape,
    best_recurrence,
    deepest_supported,
    losses_at,
    shape_of,
)
from analysis.intervals import RESAMPLES, Interval, bootstrap, interval
from analysis.laws import UNIFIED, Array
from analysis.testtime import GAMMA_ONE, fit_unified_law, stacked
from analysis.training import study_training_law
from parcae.errors import InputError

FURTHEST = 4.0
"""Budgets up to this factor beyond the sampled ones are predicted: where coverage was measured."""


@dataclass(frozen=True, kw_only=True)
class TestTimeLoss:
    __test__ = False

    test_recurrence: float
    loss: Interval


@dataclass(frozen=True, kw_only=True)
class Prediction:
    model: str
    flops: float
    mean_recurrence: Interval
    tokens: Interval
    loss: Interval
    """Loss of the law at the point estimate of the optimum, nats."""
    test_time: tuple[TestTimeLoss, ...]
    warnings: tuple[str, ...]


def predict(
    study: Study,
    model: str | None = None,
    *,
    flops: float | None = None,
    tokens: float | None = None,
    test_recurrence: Sequence[float] = (),
    extrapolate: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Prediction:
    """The optimum for a budget of `flops`, or the one whose best tokens are `tokens`, for one model.

    ``InputError`` when the model is unknown, its law is not decided, or the request lies further out than the
    data support and `extrapolate` is not given.
    """
    points = _model(study, model)
    shape = shape_of(points)
    if shape is None:
        raise InputError(
            f"cannot predict for {points.model!r}: the cost of its loop is unknown, which takes runs of one "
            "shape at two or more mean recurrences with their FLOPs"
        )
    if (flops is None) == (tokens is None):
        raise InputError("give either a budget in FLOPs or tokens, not both and not neither")
    given, name = (flops, "budget") if flops is not None else (tokens, "tokens")
    if given is None or not (np.isfinite(given) and given > 0):
        raise InputError(f"{name} is {given}; it must be a positive number")
    fitted = study_training_law(points, resamples=resamples, seed=seed)
    if not fitted.law.usable:
        raise InputError(
            f"cannot predict for {points.model!r}: its training law is {fitted.law.status}: "
            f"{fitted.law.message}"
        )
    rows = np.concatenate([fitted.law.fit.vector, fitted.draws])
    budget = float(flops) if flops is not None else _budget_for(rows[:1], shape, float(given))
    warnings = _unsupported(points, shape, rows[:1], budget, test_recurrence, study)
    if warnings and not extrapolate:
        raise InputError(f"{warnings[0]}; give --extrapolate to have the answer all the same")
    best = best_recurrence(rows, shape, [budget])
    best_tokens = budget / shape.flops_per_token(best)
    at = np.repeat(best[:1], len(rows), axis=0)
    loss = losses_at(rows, shape.parameters(at), budget / shape.flops_per_token(at))
    return Prediction(
        model=points.model,
        flops=budget,
        mean_recurrence=interval(float(best[0, 0]), best[1:, 0]),
        tokens=interval(float(best_tokens[0, 0]), best_tokens[1:, 0]),
        loss=interval(float(loss[0, 0]), loss[1:, 0]),
        test_time=_test_time(study, points, shape, best[0, 0], best_tokens[0, 0], test_recurrence, seed),
        warnings=tuple(warnings),
    )


def _model(study: Study, model: str | None) -> ModelPoints:
    study.require_points()
    names = ", ".join(study.models)
    if model is None:
        if len(study.models) > 1:
            raise InputError(f"sweep {study.name!r} has several models; name one of {names} with --model")
        return next(iter(study.models.values()))
    if model not in study.models:
        raise InputError(f"sweep {study.name!r} has no model {model!r}; it has {names}")
    return study.models[model]


def _budget_for(row: Array, shape: Shape, tokens: float) -> float:
    """The budget C whose best tokens D*(C) are `tokens`, by bisection: D* grows with C."""
    low = np.log(tokens * float(shape.flops_per_token(1.0)))
    high = low + np.log(1e6)
    for _ in range(60):
        middle = (low + high) / 2
        best = best_recurrence(row, shape, [np.exp(middle)])
        if float(np.exp(middle) / shape.flops_per_token(best)[0, 0]) < tokens:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _unsupported(
    points: ModelPoints, shape: Shape, row: Array, budget: float, wanted: Sequence[float], study: Study
) -> list[str]:
    """What in the request lies further out than the runs support, a sentence each."""
    found = []
    sized = points.select(points.sized)
    spent = sized.tokens * shape.flops_per_token(sized.mean_recurrence)
    low, high = spent.min() / FURTHEST, spent.max() * FURTHEST
    if not low * 0.99 <= budget <= high * 1.01:
        found.append(
            f"a budget of {budget:.3g} FLOPs is too far from the runs of {points.model}, which support "
            f"{low:.3g} to {high:.3g} ({FURTHEST:g} times beyond what was trained)"
        )
    best = float(best_recurrence(row, shape, [budget])[0, 0])
    deepest = deepest_supported(points)
    if best > deepest:
        found.append(
            f"the law puts the best mean recurrence at {best:.3g}, too far from the runs of {points.model}, "
            f"which support up to {deepest:g} ({DEEPEST_FACTOR:g} times the largest trained)"
        )
    for t in wanted:
        if not t >= 1:
            raise InputError(f"test recurrence is {t:g}; it must be at least 1")
    measured = [c.test_recurrence.max() for c in study.curves if c.model == points.model]
    if wanted and measured and max(wanted) > DEEPEST_FACTOR * max(measured):
        found.append(
            f"test recurrence {max(wanted):g} is too far from the measured losses of {points.model}, which "
            f"support up to {DEEPEST_FACTOR * max(measured):g}"
        )
    return found


def _test_time(
    study: Study,
    points: ModelPoints,
    shape: Shape,
    mean_recurrence: float,
    tokens: float,
    wanted: Sequence[float],
    seed: int,
) -> tuple[TestTimeLoss, ...]:
    if not wanted:
        return ()
    data = stacked([curve for curve in study.curves if curve.model == points.model])
    law = fit_unified_law(
        data["N"], data["D"], data["mu"], data["T"], data["loss"], form=GAMMA_ONE, seed=seed
    )
    if not law.usable:
        raise InputError(
            f"cannot predict the loss at test recurrence {wanted[0]:g} for {points.model!r}: its unified law "
            f"is {law.status}: {law.message}"
        )
    draws = bootstrap(law.fit, data["run"], seed=seed)
    t = np.array(wanted, dtype=float)
    at = {
        "N": np.full(len(t), float(shape.parameters(mean_recurrence))),
        "D": np.full(len(t), tokens),
        "mu": np.full(len(t), mean_recurrence),
        "T": t,
    }
    value, drawn = UNIFIED[GAMMA_ONE].predict(law.fit.vector, at)[0], UNIFIED[GAMMA_ONE].predict(draws, at)
    return tuple(
        TestTimeLoss(test_recurrence=float(t[i]), loss=interval(float(value[i]), drawn[:, i]))
        for i in range(len(t))
    )
