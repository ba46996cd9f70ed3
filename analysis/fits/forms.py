"""Which form of the law a model's runs support: every registered form fitted, scored on runs it has not seen.

Rolling: each budget is predicted from the smaller ones. Forms that Akaike's criterion (AICc) of all runs is
clearly against are ruled out. Of the rest the simplest is chosen whose error on unseen runs is within one
standard error of the smallest (Breiman et al. 1984), and all enter every interval of what is predicted, by
their Akaike weights.
Shapes: n runs, R draws of all forms together, B budgets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from analysis.data.budgets import grouped_budgets
from analysis.data.points import ModelPoints
from analysis.engine.fit import STARTS, LawFit, fit_each
from analysis.engine.intervals import NOTHING, RESAMPLES, Interval, finite, parameter_intervals
from analysis.engine.lack_of_fit import UNTESTED, LackOfFit, lack_of_fit
from analysis.engine.mixture import Mixture, Part
from analysis.engine.uncertainty import Uncertainty, uncertainty
from analysis.laws import FORMS, Array, Data, Law, Mask

FOLDS = 3
"""Budgets that are held out in turn, the largest ones."""
FOLD_STARTS = 30
"""Starts, at most, of a fit that is only scored: thirty end where five hundred do."""
LEAST_WEIGHT = 0.01
"""A form of less Akaike weight than this is ruled out."""
FEWEST_FOLDS = 3
"""Held-out budgets without which a paired difference rules nothing out: runs of one share their noise."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FormFit:
    """One form on all runs of a model, and how it did on the runs held out."""

    law: Law
    fit: LawFit
    uncertainty: Uncertainty | None
    """None if the fit decides nothing."""
    intervals: Mapping[str, Interval]
    """Of each parameter."""
    errors: Array
    """|prediction / loss - 1| (n,) of each held-out run, in percent; NaN where it was not predicted."""
    rolling_error_percent: float
    """Mean of the errors over the budgets that every usable form predicted."""
    held_out_error_percent: float
    """Mean error at the largest budget, fitted to all smaller ones."""
    behind: Interval
    """Mean paired difference of the errors to the best form's, percent, with its 95 % limits."""
    behind_error: float
    """The difference's standard error."""
    weight: float
    """Akaike weight among the forms that are not ruled out; 0 for one that is."""
    lack_of_fit: LackOfFit

    def __repr__(self) -> str:
        return f"FormFit({self.fit!r}, weight={self.weight:.2f})"

    def to_dict(self) -> dict[str, Any]:
        """What `--json` prints of every form."""
        return {
            "form": self.law.name,
            "equation": self.law.equation,
            "source": self.law.source,
            "status": self.fit.status.value,
            "message": self.fit.message,
            "huber": finite(self.fit.huber),
            "aicc": finite(self.uncertainty.aicc) if self.uncertainty else None,
            "weight": finite(self.weight),
            "rolling_error_percent": finite(self.rolling_error_percent),
            "held_out_error_percent": finite(self.held_out_error_percent),
            "behind_percent": {**self.behind.to_dict(), "standard_error": finite(self.behind_error)},
            "lack_of_fit": self.lack_of_fit.to_dict(),
        }

    @property
    def ruled_out(self) -> bool:
        return bool(self.weight == 0)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelForms:
    """Every form on one model; `chosen` is None if none is usable."""

    points: ModelPoints
    forms: Mapping[str, FormFit]
    chosen: FormFit | None

    def __repr__(self) -> str:
        chosen = self.chosen.law.name if self.chosen else "none chosen"
        return f"ModelForms({self.points.model}: {chosen} of {', '.join(self.forms)})"

    @property
    def alike(self) -> tuple[FormFit, ...]:
        """The chosen form, then those that cannot be distinguished from it, the weightiest first."""
        kept = [form for form in self.forms.values() if not form.ruled_out]
        return tuple(sorted(kept, key=lambda form: (form is not self.chosen, -form.weight)))

    @property
    def mixture(self) -> Mixture | None:
        """The draws of all forms that cannot be distinguished and know a loop, by their weights.

        None if no form is chosen, or if its loss does not depend on the loop.
        """
        return self.together(knows_loop)

    def together(self, serves: Callable[[Law], bool] = lambda law: True) -> Mixture | None:
        """The draws of all forms that cannot be distinguished and that serve, by their weights.

        None if no form is chosen, or if that does not serve.
        """
        if self.chosen is None or not serves(self.chosen.law):
            return None
        parts = [
            Part(law=form.law, draws=form.uncertainty.draws, weight=form.weight)
            for form in self.alike
            if form.uncertainty is not None and serves(form.law)
        ]
        return Mixture(law=self.chosen.law, vector=self.chosen.fit.vector, parts=tuple(parts))


def knows_loop(law: Law) -> bool:
    """Whether the law's loss depends on the mean recurrence for given tokens."""
    return bool({"N", "mu"} & set(law.variables))


def form_data(points: ModelPoints) -> Data:
    """The variables that forms may use, an array (n,) each; NaN where a run has none."""
    return {
        "N": points.effective_parameters,
        "D": points.tokens,
        "mu": points.mean_recurrence,
        "once": points.once_parameters,
        "recurrent": points.recurrent_parameters,
    }


def forms_for(data: Data) -> list[Law]:
    """The registered forms whose variables these runs all have."""
    return [law for law in FORMS.values() if all(np.isfinite(data[name]).all() for name in law.variables)]


def fit_forms(
    points: ModelPoints, *, resamples: int = RESAMPLES, seed: int = 0, starts: int = STARTS
) -> ModelForms:
    """All forms on the runs of one model that have parameters and tokens."""
    return fit_forms_each(points, [points.loss], resamples=resamples, seed=seed, starts=starts)[0]


def fit_forms_each(
    points: ModelPoints,
    losses: Sequence[Array],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    starts: int = STARTS,
) -> list[ModelForms]:
    """``fit_forms`` for several lists of losses (n,) of the same runs; each form fits all in one race."""
    studies = [replace(points, loss=loss).select(points.sized) for loss in losses]
    data, budgets, weights = form_data(studies[0]), noise_groups(studies[0]), studies[0].weights
    laws = forms_for(data)
    each = [study.loss for study in studies]
    fits: list[dict[Law, LawFit]] = [{} for _ in studies]
    errors: list[dict[Law, Array]] = [{} for _ in studies]
    for law in laws:
        own = {name: data[name] for name in law.variables}
        for i, fit in enumerate(fit_each(law, own, each, starts=starts, seed=seed, weights=weights)):
            fits[i][law] = fit
        usable = [i for i in range(len(studies)) if fits[i][law].usable]
        fewer = min(starts, FOLD_STARTS)
        rolled = _rolling(law, own, [each[i] for i in usable], weights, budgets, fewer, seed)
        for i, error in zip(usable, rolled, strict=True):
            errors[i][law] = error
    return [
        _compared(study, fits[i], errors[i], budgets, resamples, seed + i) for i, study in enumerate(studies)
    ]


def _compared(
    points: ModelPoints,
    fits: Mapping[Law, LawFit],
    errors: Mapping[Law, Array],
    budgets: Array,
    resamples: int,
    seed: int,
) -> ModelForms:
    """The forms that are `fits`, by what they say of unseen runs, `errors` (n,) of the usable ones."""
    common = _common(list(errors.values()), budgets)
    rolling = {law: _mean(values[common]) for law, values in errors.items()}
    best = min(rolling, key=lambda law: (np.isnan(rolling[law]), rolling[law])) if rolling else None
    spreads = {law: uncertainty(fits[law], budgets, draws=resamples, seed=seed) for law in errors}
    behind = {
        law: _paired(values - errors[best], common, budgets) if best else (NOTHING, np.nan)
        for law, values in errors.items()
    }
    weights = _weights(spreads, behind)
    nothing = np.full(len(points), np.nan)
    forms = {
        law.name: FormFit(
            law=law,
            fit=fit,
            uncertainty=spreads.get(law),
            intervals=parameter_intervals(
                fit, spreads[law].draws if law in spreads else np.full((1, len(law.parameters)), np.nan)
            ),
            errors=errors.get(law, nothing),
            rolling_error_percent=rolling.get(law, np.nan),
            held_out_error_percent=_mean(errors.get(law, nothing)[_largest(budgets)]),
            behind=behind.get(law, (NOTHING, np.nan))[0],
            behind_error=behind.get(law, (NOTHING, np.nan))[1],
            weight=weights.get(law, 0.0),
            lack_of_fit=lack_of_fit(fit, points, budgets, spreads[law].ratio) if law in spreads else UNTESTED,
        )
        for law, fit in fits.items()
    }
    return ModelForms(points=points, forms=forms, chosen=_chosen(list(forms.values())))


def _chosen(forms: Sequence[FormFit]) -> FormFit | None:
    """The simplest form within a standard error of the best; where no error is known, of largest weight."""
    kept = [form for form in forms if not form.ruled_out]
    scored = [form for form in kept if form.rolling_error_percent >= 0]
    if not scored:
        return max(kept, key=lambda form: form.weight, default=None)
    close = [form for form in scored if form.behind.value <= form.behind_error]
    best = min(scored, key=lambda form: form.rolling_error_percent)
    return min(close or [best], key=lambda form: (len(form.law.parameters), form.rolling_error_percent))


def noise_groups(points: ModelPoints) -> Array:
    """Labels (n,), alike for runs that may share noise: a run's budget, or a number if it has none."""
    budgets = grouped_budgets(points.flops)
    alone = ~np.isfinite(budgets)
    return np.where(alone, -1.0 - np.cumsum(alone), budgets)


def _folds(budgets: Array) -> list[float]:
    """The largest budgets but for the smallest of all, ascending."""
    known = np.unique(budgets[budgets > 0])
    return [float(budget) for budget in known[1:][-FOLDS:]]


def _largest(budgets: Array) -> Mask:
    return np.asarray((budgets == budgets.max()) & (budgets > 0)) if len(budgets) else budgets > 0


def _rolling(
    law: Law,
    own: Data,
    losses: Sequence[Array],
    weights: Array,
    budgets: Array,
    starts: int,
    seed: int,
) -> list[Array]:
    """Errors (n,) in percent at each fold's budget, fitted to all smaller ones, for each list of losses."""
    errors, folds = [np.full(len(loss), np.nan) for loss in losses], _folds(budgets)
    if not folds or not losses:
        return errors
    every = [(i, budget) for i in range(len(losses)) for budget in folds]
    seen = np.stack([weights * (budgets < budget) for _, budget in every])
    fits = fit_each(law, own, [losses[i] for i, _ in every], starts=starts, seed=seed, weights=seen)
    for (i, budget), fit in zip(every, fits, strict=True):
        if fit.usable:
            unseen = budgets == budget
            errors[i][unseen] = 100 * np.abs(np.expm1(fit.residuals[unseen]))
    return errors


def _common(errors: Sequence[Array], budgets: Array) -> Mask:
    """Runs at the budgets that most forms predicted; a form that predicted none of them is not compared."""
    counts = {
        budget: sum(bool(np.isfinite(e[budgets == budget]).all()) for e in errors)
        for budget in _folds(budgets)
    }
    most = max(counts.values(), default=0)
    kept = [budget for budget, count in counts.items() if count == most and count]
    return np.isin(budgets, kept)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _paired(difference: Array, common: Mask, budgets: Array) -> tuple[Interval, float]:
    """Mean of the differences (percent) with its limits, and its standard error.

    The runs of a budget count as one, where there are budgets enough; limits need that.
    """
    values, labels = difference[common], budgets[common]
    if not len(values) or not np.isfinite(values).all():
        return NOTHING, float("nan")
    mean, folds = float(values.mean()), np.unique(labels)
    if len(folds) < FEWEST_FOLDS:
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
        return Interval(value=mean, low=float("nan"), high=float("nan")), error
    means = np.array([values[labels == budget].mean() for budget in folds])
    error = float(means.std(ddof=1) / np.sqrt(len(means)))
    half = float(stdtrit(len(folds) - 1, 0.975)) * error
    return Interval(value=mean, low=mean - half, high=mean + half), error


def _weights(
    spreads: Mapping[Law, Uncertainty], behind: Mapping[Law, tuple[Interval, float]]
) -> Mapping[Law, float]:
    """Akaike weights of the forms that are not ruled out: by the criterion, or by their unseen runs."""
    kept = [law for law in spreads if not behind[law][0].low > 0]
    aicc = np.array([spreads[law].aicc for law in kept])
    if not np.isfinite(aicc).any():  # too few runs for the criterion
        aicc = np.zeros(len(kept))
    relative = np.exp(-0.5 * (aicc - aicc.min(initial=np.inf)))
    relative[relative < LEAST_WEIGHT * relative.sum()] = 0.0
    return dict(zip(kept, (relative / max(relative.sum(), 1e-300)).tolist(), strict=True))
