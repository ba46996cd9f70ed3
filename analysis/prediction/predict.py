"""The best recurrence and tokens for a budget, the loss to expect there, and how sure that is.

From the chosen form's own minimum (`analysis.prediction.frontier`), as a whole recurrence at the planner's
price; L(T) from the unified law where the model has losses at several test recurrences. Beyond what the runs
support, a prediction is refused unless it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.data.budgets import grouped_budgets
from analysis.data.points import ModelPoints, Study
from analysis.data.study import as_study
from analysis.engine.formatting import brief, number, span, spell
from analysis.engine.intervals import RESAMPLES, Interval, finite, holding
from analysis.engine.mixture import Mixture
from analysis.engine.verdict import FitStatus
from analysis.fits.forms import ModelForms, fit_forms
from analysis.fits.unified import GAMMA_ONE, fit_unified_forms, unified_mixture
from analysis.prediction.budgets import Range, beyond_trained, budget_for, too_far
from analysis.prediction.frontier import (
    DEEPEST_FACTOR,
    NO_LOOP_PAYS,
    advice,
    at_least_one,
    best_recurrence,
    deepest_supported,
    loss_at,
    outward,
    pays_for_none,
    tokens_of,
    trained_range,
    untrained,
    whole_tokens,
)
from analysis.prediction.shape import Shape, shape_of
from analysis.prediction.sizes import SizePrediction, predict_size
from parcae.errors import InputError
from sweeps.store.rows import NO_LOOP


@dataclass(frozen=True, kw_only=True)
class TestTimeLoss:
    __test__ = False

    test_recurrence: float
    loss: Interval

    def to_dict(self) -> dict[str, Any]:
        return {"test_recurrence": self.test_recurrence, "loss": self.loss.to_dict()}


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction:
    """The optimum for a budget, and the loss to expect there."""

    model: str
    form: str
    """The form whose optimum this is."""
    alike: tuple[str, ...]
    """The forms that cannot be distinguished from it; their spread is in the intervals."""
    flops: float
    mean_recurrence: Interval
    """The whole recurrence advised."""
    tokens: Interval
    """Tokens of the advised recurrence at the planner's price."""
    loss: Interval
    """Loss of the law at the advised recurrence, nats."""
    continuous_recurrence: Interval
    """The optimum under the smooth price, which no run can have."""
    continuous_tokens: Interval
    continuous_loss: Interval
    near_best: tuple[float, float]
    """Smallest and largest whole recurrence, trained or not, within 0.1 % of the advised one's loss."""
    trained: tuple[float, float]
    """Smallest and largest mean recurrence of the runs."""
    test_time: tuple[TestTimeLoss, ...]
    extrapolated: tuple[str, ...]
    """What of this lies beyond the trained runs, one sentence each."""
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self, "model", "flops", "form", "mean_recurrence", "tokens", "loss")

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit predict --json` prints."""
        return {
            "model": self.model,
            "form": self.form,
            "alike": list(self.alike),
            "flops": self.flops,
            "mean_recurrence": self.mean_recurrence.value,
            "tokens": self.tokens.value,
            "loss": self.loss.to_dict(),
            "intervals": {
                "mean_recurrence": self.mean_recurrence.to_dict(),
                "tokens": self.tokens.to_dict(),
            },
            "continuous": {
                "mean_recurrence": self.continuous_recurrence.to_dict(),
                "tokens": self.continuous_tokens.to_dict(),
                "loss": self.continuous_loss.to_dict(),
            },
            "within_0.1_percent": [finite(end) for end in self.near_best],
            "trained": list(self.trained),
            "test_time": [loss.to_dict() for loss in self.test_time],
            "extrapolated": list(self.extrapolated),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        beside = f", widened by {' and '.join(self.alike)}" if self.alike else ""
        lines = [
            f"{self.model} at {self.flops:.3g} FLOPs, by the {self.form} law{beside}",
            f"best mean recurrence  {spell(self.mean_recurrence)}; "
            f"{span(*self.near_best)} within 0.1 % of its loss{self._untrained}",
            f"tokens                {spell(self.tokens)}",
            f"loss (nats)           {spell(self.loss, 4)}",
            f"continuous optimum    mean recurrence {spell(self.continuous_recurrence, 4)}, tokens "
            f"{number(self.continuous_tokens.value)}, loss {number(self.continuous_loss.value, 6)}",
            *(f"loss at T = {t.test_recurrence:<8g} {spell(t.loss, 4)}" for t in self.test_time),
            *(f"extrapolated: {sentence}" for sentence in self.extrapolated),
        ]
        return "\n".join(lines)

    @property
    def _untrained(self) -> str:
        """What of the advice's limits and of the recurrences as good was not trained."""
        ends = [*self.near_best, self.mean_recurrence.low, self.mean_recurrence.high]
        beyond = untrained((float(np.nanmin(ends)), float(np.nanmax(ends))), self.trained)
        return f"; {beyond}" if beyond else ""


def predict(
    study: Study | str | Path,
    model: str | None = None,
    *,
    flops: float | None = None,
    tokens: float | None = None,
    test_recurrence: Sequence[float] = (),
    extrapolate: bool = False,
    convention: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Prediction | SizePrediction:
    """The best mean recurrence and tokens for `flops`, or for the budget whose best tokens are `tokens`.

    `study` is loaded, or the path of a database, whose latest study is taken; `model` is needed if it has
    several. The losses at each `test_recurrence` come from the unified law. `convention` says how FLOPs were
    counted if the runs contradict their own. Losses are in nats, intervals 95 %.
    ``InputError`` if the model is unknown, no form is decided, or the request lies further out than the data
    support and `extrapolate` is not given. Source: Parcae section 5, with the price of `parcae.flops`.
    """
    study = as_study(study)
    points = _model(study, model)
    if (flops is None) == (tokens is None):
        raise InputError("give either a budget in FLOPs or a number of tokens")
    given, name = (flops, "budget") if flops is not None else (tokens, "tokens")
    if given is None or not (np.isfinite(given) and given > 0):
        raise InputError(f"{name} is {given}; it must be a positive number")
    if points.architecture == NO_LOOP:
        if test_recurrence:
            raise InputError(f"{points.model!r} has no loop, so there is no test recurrence")
        forms = fit_forms(points, resamples=resamples, seed=seed)
        return predict_size(
            _mixture(points.model, forms),
            points,
            flops=flops,
            tokens=tokens,
            extrapolate=extrapolate,
            alike=tuple(form.law.name for form in forms.alike[1:]),
        )
    shape = shape_of(points, convention)
    if shape is None:
        raise InputError(
            f"cannot predict for {points.model!r}: the cost of its loop is unknown; it takes runs of one "
            "shape at two or more mean recurrences, with their FLOPs"
        )
    forms = fit_forms(points, resamples=resamples, seed=seed)
    mixture = _mixture(points.model, forms)
    budget = float(flops) if flops is not None else budget_for(mixture, shape, float(given), 1.0)
    warnings = _unsupported(points, shape, mixture, budget, test_recurrence, study)
    if warnings and not extrapolate:
        raise InputError(f"{warnings[0]}; use --extrapolate to predict it anyway")
    found = prediction_of(points, shape, forms, mixture, budget, float(given) if tokens is not None else None)
    wanted = _test_time(
        study, points, shape, found.mean_recurrence.value, found.tokens.value, test_recurrence, seed
    )
    return replace(found, test_time=wanted, warnings=(*warnings, *found.warnings))


def predictions_at(
    points: ModelPoints, shape: Shape, forms: ModelForms, budgets: Sequence[float]
) -> list[Prediction]:
    """What ``predict`` says for each of the budgets that the runs support, from fits made before."""
    mixture = forms.mixture
    if mixture is None:
        return []
    return [
        prediction_of(points, shape, forms, mixture, budget)
        for budget in budgets
        if not _unsupported(points, shape, mixture, budget)
    ]


def spent_on(points: ModelPoints, shape: Shape) -> Range:
    """What the runs spent at the smooth price: FLOPs of the smallest and the largest."""
    sized = points.select(points.sized)
    spent = sized.tokens * shape.flops_per_token(sized.mean_recurrence)
    return float(spent.min()), float(spent.max())


def prediction_of(
    points: ModelPoints,
    shape: Shape,
    forms: ModelForms,
    mixture: Mixture,
    budget: float,
    tokens: float | None = None,
) -> Prediction:
    """The optimum for a budget in FLOPs, or at exactly `tokens`, without losses over test recurrences."""
    value, draws, weights = mixture.evaluate(lambda law, rows: best_recurrence(rows, shape, [budget], law))
    continuous = at_least_one(holding(float(value[0]), draws[:, 0], weights))
    smooth = tokens_of(budget, shape, continuous)
    trained = trained_range(points)
    deepest = max(deepest_supported(points), 2 * continuous.value)
    within = trained if _is_trained(points, budget) else (1.0, deepest)
    advised, near_best, anywhere = advice(mixture, shape, budget, within, deepest)
    if tokens is not None:
        budget = tokens * float(shape.price(advised))
    best_tokens = whole_tokens(budget, shape, advised, continuous)
    return Prediction(
        model=points.model,
        form=mixture.law.name,
        alike=tuple(form.law.name for form in forms.alike[1:]),
        flops=budget,
        mean_recurrence=outward(advised, continuous),
        tokens=best_tokens,
        loss=loss_at(mixture, shape, advised, best_tokens.value),
        continuous_recurrence=continuous,
        continuous_tokens=smooth,
        continuous_loss=loss_at(mixture, shape, continuous.value, smooth.value),
        near_best=near_best,
        trained=trained,
        test_time=(),
        extrapolated=tuple(_extrapolated(points, mixture, shape, budget, advised, anywhere)),
        warnings=(NO_LOOP_PAYS,) if pays_for_none(continuous) else (),
    )


def _mixture(model: str, forms: ModelForms) -> Mixture:
    if forms.mixture is not None:
        return forms.mixture
    if forms.chosen is not None:
        raise InputError(
            f"cannot predict for {model!r}: the {forms.chosen.law.name} form does best, and in it the "
            "loss does not depend on the mean recurrence, so there is no best one"
        )
    fit = forms.forms["training"].fit
    raise InputError(f"cannot predict for {model!r}: its training law is {fit.status}: {fit.message}")


def _is_trained(points: ModelPoints, budget: float) -> bool:
    """Whether runs of this budget were trained, as far as achieved FLOPs tell."""
    known = points.flops[np.isfinite(points.flops)]
    groups = grouped_budgets(known)
    return bool((np.abs(np.log(np.append(known, groups) / budget)) < 0.01).any()) if len(known) else False


def _extrapolated(
    points: ModelPoints, mixture: Mixture, shape: Shape, budget: float, advised: float, anywhere: float
) -> list[str]:
    """What of an answer lies beyond the trained budgets and recurrences, one sentence each."""
    found = beyond_trained(spent_on(points, shape), budget)
    low, high = trained_range(points)
    if not low <= advised <= high:
        found.append(f"mean recurrence {advised:g} lies beyond the trained {low:g} to {high:g}")
    if anywhere != advised:
        loss = loss_at(mixture, shape, anywhere, budget / float(shape.price(anywhere)))
        found.append(
            f"the law's best recurrence of all is {anywhere:g}, beyond the trained {low:g} to {high:g}, with "
            f"a loss of {loss.value:.4g} ({loss.low:.4g} to {loss.high:.4g})"
        )
    return found


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


def _unsupported(
    points: ModelPoints,
    shape: Shape,
    mixture: Mixture,
    budget: float,
    wanted: Sequence[float] = (),
    study: Study | None = None,
) -> list[str]:
    """What in the request lies further out than the runs support, one sentence each."""
    found = too_far(points.model, spent_on(points, shape), budget)
    best = float(best_recurrence(mixture.vector, shape, [budget], mixture.law)[0, 0])
    deepest = deepest_supported(points)
    if best > deepest:
        found.append(
            f"the law puts the best mean recurrence at {best:.3g}, too far from the runs of {points.model}, "
            f"which support up to {deepest:g} ({DEEPEST_FACTOR:g} times the largest trained)"
        )
    for t in wanted:
        if not t >= 1:
            raise InputError(f"test recurrence is {t:g}; it must be at least 1")
    measured = [c.test_recurrence.max() for c in (study.curves if study else ()) if c.model == points.model]
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
    forms = fit_unified_forms([curve for curve in study.curves if curve.model == points.model], seed=seed)
    mixture = unified_mixture(forms)
    if mixture is None:
        law = forms.get(GAMMA_ONE)
        status, why = (
            (law.status, law.message)
            if law
            else (FitStatus.TOO_FEW_POINTS, "no run has losses at several test recurrences")
        )
        raise InputError(
            f"cannot predict the loss at test recurrence {wanted[0]:g} for {points.model!r}: its unified law "
            f"is {status}: {why}"
        )
    t = np.array(wanted, dtype=float)
    at = {
        "N": np.full(len(t), float(shape.parameters(mean_recurrence))),
        "D": np.full(len(t), tokens),
        "mu": np.full(len(t), mean_recurrence),
        "T": t,
    }
    losses = mixture.intervals(lambda law, rows: law.predict(rows, at))
    return tuple(
        TestTimeLoss(test_recurrence=float(depth), loss=loss) for depth, loss in zip(t, losses, strict=True)
    )
