"""Prediction tests: forms fitted to the smaller budgets and scored on the runs they have not seen.

Each held-out run's error stands beside the interval promised for it, which holds the law's own uncertainty
and a single run's scatter (`analysis.engine.uncertainty`). Forms are ranked by held-out error.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.data.budgets import grouped_budgets
from analysis.data.points import ModelPoints, Study, TestTimeCurve, pooled
from analysis.engine.fit import LawFit, fit_law
from analysis.engine.intervals import RESAMPLES, Interval, finite, interval
from analysis.engine.uncertainty import uncertainty
from analysis.engine.verdict import FitStatus
from analysis.fits.forms import form_data, forms_for, noise_groups
from analysis.fits.unified import stacked
from analysis.laws import UNIFIED, Array, Data, Law, Mask
from parcae.errors import InputError


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """One unseen loss: measured, predicted, and the interval promised for it, nats."""

    run_id: str
    flops: float
    test_recurrence: float
    """NaN for a run's validation loss."""
    loss: float
    predicted: Interval

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "flops": finite(self.flops),
            "test_recurrence": finite(self.test_recurrence),
            "loss": self.loss,
            "predicted": self.predicted.to_dict(),
            "error_percent": finite(self.error_percent),
            "covered": self.covered,
        }

    @property
    def error_percent(self) -> float:
        return 100 * (self.predicted.value / self.loss - 1)

    @property
    def covered(self) -> bool:
        return self.predicted.low <= self.loss <= self.predicted.high


@dataclass(frozen=True, kw_only=True)
class FormResult:
    form: str
    equation: str
    status: FitStatus
    message: str
    fitted: int
    """Points that the form was fitted to."""
    train_error_percent: float
    """Mean absolute error on them; NaN when nothing was fitted."""
    held_out_error_percent: float
    """Mean absolute error on the unseen points."""
    coverage: float
    """Fraction of unseen points inside their promised interval."""
    held_out: tuple[HeldOut, ...]

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit compare --json` prints of one form."""
        return {
            "form": self.form,
            "equation": self.equation,
            "status": self.status.value,
            "message": self.message,
            "fitted": self.fitted,
            "train_error_percent": finite(self.train_error_percent),
            "held_out_error_percent": finite(self.held_out_error_percent),
            "coverage": finite(self.coverage),
            "held_out": [run.to_dict() for run in self.held_out],
        }


def holdout(points: ModelPoints, *, top_budgets: int = 1, runs: Collection[str] = ()) -> Mask:
    """Which runs (n,) to hold out: those named, or those of the `top_budgets` largest budgets."""
    if runs:
        return np.array([run in runs for run in points.run_ids])
    budgets = grouped_budgets(points.spent)
    return np.isin(budgets, np.unique(budgets[np.isfinite(budgets)])[-top_budgets:])


def compare_training(points: ModelPoints, held_out: Mask, *, seed: int = 0) -> tuple[FormResult, ...]:
    """Every registered form whose variables the runs have, on one model; best first."""
    held_out, points = held_out[points.sized], points.select(points.sized)
    data = form_data(points)

    def describe(i: int) -> tuple[str, float, float]:
        return points.run_ids[i], float(points.spent[i]), float("nan")

    return _ranked(forms_for(data), data, points.loss, held_out, noise_groups(points), describe, seed)


def compare_unified(
    curves: Sequence[TestTimeCurve], held_out_runs: Collection[str], *, seed: int = 0
) -> tuple[FormResult, ...]:
    """The unified forms on all (run, T) points of one model; best first."""
    known = [c for c in curves if np.isfinite(c.tokens) and np.isfinite(c.effective_parameters)]
    data = stacked(known)
    runs = [known[int(i)].run_id for i in data["run"]]
    held_out = np.array([run in held_out_runs for run in runs], dtype=bool)

    def describe(i: int) -> tuple[str, float, float]:
        return runs[i], float("nan"), float(data["T"][i])

    laws = list(UNIFIED.values())
    return _ranked(laws, data, data["loss"], held_out, data["budget"], describe, seed, runs=data["run"])


def _ranked(
    forms: Sequence[Law],
    data: Data,
    loss: Array,
    held_out: Mask,
    groups: Array,
    describe: Callable[[int], tuple[str, float, float]],
    seed: int,
    runs: Array | None = None,
) -> tuple[FormResult, ...]:
    results = []
    for law in forms:
        fit = fit_law(
            law, {name: data[name][~held_out] for name in law.variables}, loss[~held_out], seed=seed
        )
        unseen: tuple[HeldOut, ...] = ()
        if fit.usable:
            unseen = _unseen(law, fit, data, loss, held_out, groups, describe, seed, runs)
        results.append(
            FormResult(
                form=law.name,
                equation=law.equation,
                status=fit.status,
                message=fit.message,
                fitted=int((~held_out).sum()),
                train_error_percent=100 * fit.mean_error,
                held_out_error_percent=float(np.mean([abs(u.error_percent) for u in unseen]))
                if unseen
                else float("nan"),
                coverage=float(np.mean([u.covered for u in unseen])) if unseen else float("nan"),
                held_out=unseen,
            )
        )
    return tuple(
        sorted(results, key=lambda r: (np.isnan(r.held_out_error_percent), r.held_out_error_percent))
    )


def _unseen(
    law: Law,
    fit: LawFit,
    data: Data,
    loss: Array,
    held_out: Mask,
    groups: Array,
    describe: Callable[[int], tuple[str, float, float]],
    seed: int,
    runs: Array | None,
) -> tuple[HeldOut, ...]:
    at = {name: data[name][held_out] for name in law.variables}
    seen = None if runs is None else runs[~held_out]
    spread = uncertainty(fit, groups[~held_out], draws=RESAMPLES, runs=seen, seed=seed)
    value, drawn = law.predict(fit.vector, at)[0], law.predict(spread.draws, at)
    noise = np.random.default_rng(seed).standard_normal(drawn.shape)
    promised = drawn * np.exp(spread.scatter[:, None] * noise)
    found = []
    for column, i in enumerate(np.flatnonzero(held_out)):
        run_id, flops, test_recurrence = describe(int(i))
        found.append(
            HeldOut(
                run_id=run_id,
                flops=flops,
                test_recurrence=test_recurrence,
                loss=float(loss[i]),
                predicted=interval(float(value[column]), promised[:, column]),
            )
        )
    return tuple(found)


def compare_study(
    study: Study, *, top_budgets: int = 1, runs: Collection[str] = (), seed: int = 0
) -> Mapping[str, tuple[FormResult, ...]]:
    """Model -> forms of its training law, "MODEL, test time" -> unified forms if there are curves, and
    "ARCHITECTURE, all sizes" -> forms of all its sizes together, each without its own largest budgets.

    ``InputError`` when the choice leaves no model with something to fit and something to score.
    """
    study.require_points()
    known = {run for points in study.models.values() for run in points.run_ids}
    runs = [run if run in known else f"{study.name}:{run}" for run in runs]  # as the file names it
    unknown = sorted(set(runs) - known)
    if unknown:
        name = unknown[0].removeprefix(f"{study.name}:")
        raise InputError(f"sweep {study.name!r} has no finished run {name!r} to hold out")
    if top_budgets < 1:
        raise InputError(f"the number of budgets to hold out is {top_budgets}; it must be at least 1")
    results: dict[str, tuple[FormResult, ...]] = {}
    for name, points in study.models.items():
        held_out = holdout(points, top_budgets=top_budgets, runs=runs)
        if not held_out.any() or held_out.all():
            continue
        results[name] = compare_training(points, held_out, seed=seed)
        curves = [curve for curve in study.curves if curve.model == name]
        unseen = {run for run, out in zip(points.run_ids, held_out, strict=True) if out}
        if any(curve.run_id in unseen for curve in curves):
            results[f"{name}, test time"] = compare_unified(curves, unseen, seed=seed)
    for architecture in dict.fromkeys(points.architecture for points in study.models.values()):
        sizes = [points for points in study.models.values() if points.architecture == architecture]
        out = [holdout(points, top_budgets=top_budgets, runs=runs) for points in sizes]
        if len(sizes) > 1 and any(one.any() for one in out) and not all(one.all() for one in out):
            name = f"{architecture}, all sizes"
            results[name] = compare_training(pooled(name, sizes), np.concatenate(out), seed=seed)
    if results and not any(form.held_out for forms in results.values() for form in forms):
        form = next(iter(results.values()))[0]
        raise InputError(
            f"sweep {study.name!r} has nothing to compare: {form.form} is {form.status}: {form.message}"
        )
    if not results:
        raise InputError(
            f"sweep {study.name!r} has no model with more than {top_budgets} budget"
            f"{'s' * (top_budgets != 1)}, so holding out the largest leaves nothing to fit or to score"
        )
    return results
