"""The unified law: loss against test recurrence T of many runs, the training law plus a decay in T.

All (run, T) points jointly, Huber (Parcae section 5, table 14). The losses of one run share its noise, and
runs of one budget may share theirs: intervals come from draws that do the same
(`analysis.engine.uncertainty`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.budgets import grouped_budgets
from analysis.data.points import TestTimeCurve
from analysis.engine.fit import DELTA, LawFit, fit_law
from analysis.engine.formatting import LIMITS, brief, limits, table
from analysis.engine.intervals import Interval, finite, parameter_intervals
from analysis.engine.mixture import Mixture, Part
from analysis.engine.uncertainty import Uncertainty, uncertainty
from analysis.engine.validation import Table, columns_of, together
from analysis.engine.verdict import FitStatus
from analysis.laws import ORACLE_FLOOR, UNIFIED, Array
from parcae.errors import InputError

PARAMETERS = ("E", "X", "x", "Y", "y", "Z", "z", "gamma", "k")
GAMMA_ONE = "gamma_one"
"""The paper's form of the unified law."""
UNIFIED_STARTS = 1000
"""Starts of the unified law (paper section 5)."""
DRAWS = 400
"""Draws of a unified form: each refits every loss of every run."""
FLOOR_PARAMETERS = 5
"""E, X, x, Y and y, which only differences between runs can decide."""
SPARE_RUNS = 3
"""Runs that intervals need beyond one for each parameter of the floor."""
LEAST_WEIGHT = 0.01
"""A form of less Akaike weight than this is ruled out."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class UnifiedFit:
    """L(T | mu_rec, D) of one model. NaN where the status says that the points do not decide a parameter."""

    form: str
    E: float
    X: float
    x: float
    Y: float
    y: float
    Z: float
    z: float
    gamma: float
    """Power of mu_rec in the decay: 1, learned, or 0 where the form has none."""
    k: float
    """How much size and tokens are coupled; 1 where the floor is the training law's."""
    intervals: Mapping[str, Interval]
    """Of each fitted parameter; empty if the points do not decide them."""
    uncertainty: Uncertainty | None
    huber: float
    """Summed Huber loss over all (run, T) points."""
    mean_error: float
    """Mean of |prediction / loss - 1|, a fraction."""
    status: FitStatus
    message: str
    points: int
    fit: LawFit

    def __repr__(self) -> str:
        return brief(self, "form", *PARAMETERS, "status", "points")

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit unified --json` prints of one form."""
        spread = self.uncertainty
        return {
            **{name: finite(getattr(self, name)) for name in PARAMETERS},
            "huber": finite(self.huber),
            "mean_error": finite(self.mean_error),
            "points": self.points,
            "status": self.status.value,
            "message": self.message,
            "intervals": {name: value.to_dict() for name, value in self.intervals.items()},
            "aicc": finite(spread.aicc) if spread else None,
            "noise_shared_in_a_budget": finite(spread.ratio) if spread else None,
        }

    def summary(self) -> str:
        """The equation, then the parameters with their limits, or why there are none."""
        if not self.intervals or self.uncertainty is None:
            return f"{UNIFIED[self.form].equation}\n{self.status}: {self.message}"
        rows = [(name, *limits(value)) for name, value in self.intervals.items()]
        shared = f"{self.uncertainty.ratio:.2g} of a run's own"
        return "\n".join(
            [
                UNIFIED[self.form].equation,
                table(LIMITS, rows),
                f"noise shared in a budget: {shared}; intervals draw whole runs",
            ]
        )

    @property
    def usable(self) -> bool:
        return self.fit.usable

    def predict(
        self, parameters: ArrayLike, tokens: ArrayLike, mean_recurrence: ArrayLike, test_recurrence: ArrayLike
    ) -> Array:
        """Loss in nats; n values of each, or one for all."""
        arrays = together(
            parameters=parameters,
            tokens=tokens,
            mean_recurrence=mean_recurrence,
            test_recurrence=test_recurrence,
        )
        data = dict(zip(("N", "D", "mu", "T"), arrays, strict=True))
        return np.asarray(self.fit.law.predict(self.fit.vector, data)[0])


def fit_unified_law(
    parameters: ArrayLike | Table,
    tokens: ArrayLike | None = None,
    mean_recurrence: ArrayLike | None = None,
    test_recurrence: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    *,
    form: str = GAMMA_ONE,
    runs: ArrayLike | None = None,
    budgets: ArrayLike | None = None,
    resamples: int = DRAWS,
    starts: int = UNIFIED_STARTS,
    seed: int = 0,
    delta: float = DELTA,
) -> UnifiedFit:
    """L = E + X N^-x + Y D^-y + Z exp(-z T / mu_rec), the best of `starts` (Parcae section 5, table 14).

    For n losses: effective `parameters` N, training `tokens` D, `mean_recurrence` mu_rec, `test_recurrence` T
    and `loss` in nats, all (n,); or a DataFrame with these columns, and `runs` and `budgets` if it has them.
    `runs` (n labels) say which losses belong to one run; without them there are no intervals. `budgets` (n
    labels) are alike for runs that may share noise; without them each run has its own. `form` is one of
    `analysis.laws.UNIFIED`. ``InputError`` for an unknown form or numbers that are not positive and finite.
    """
    given = columns_of(
        {
            "parameters": parameters,
            "tokens": tokens,
            "mean_recurrence": mean_recurrence,
            "test_recurrence": test_recurrence,
            "loss": loss,
        },
        {"runs": runs, "budgets": budgets},
    )
    runs, budgets = given["runs"], given["budgets"]
    if form not in UNIFIED:
        raise InputError(f"there is no unified form {form!r}; the forms are {', '.join(UNIFIED)}")
    data = {
        "N": given["parameters"],
        "D": given["tokens"],
        "mu": given["mean_recurrence"],
        "T": given["test_recurrence"],
    }
    fit = fit_law(UNIFIED[form], data, given["loss"], starts=starts, seed=seed, delta=delta)
    spread, message = None, fit.message
    if runs is not None and fit.usable:
        units, needed = len(np.unique(np.asarray(runs))), FLOOR_PARAMETERS + SPARE_RUNS
        if units >= needed:
            shared = np.asarray(runs if budgets is None else budgets)
            spread = uncertainty(fit, shared, runs=runs, draws=resamples, seed=seed)
        else:
            message += f"; no intervals, which take {needed} runs, and there are {units}"
    fixed_gamma = {"learned_gamma": float("nan"), "no_conditioning": 0.0}
    return UnifiedFit(
        form=form,
        **{"gamma": fixed_gamma.get(form, 1.0), "k": 1.0, **fit.values},
        intervals=parameter_intervals(fit, spread.draws) if spread else {},
        uncertainty=spread,
        huber=fit.huber,
        mean_error=fit.mean_error,
        status=fit.status,
        message=message,
        points=len(fit.residuals),
        fit=fit,
    )


def fit_unified_forms(
    curves: Sequence[TestTimeCurve], *, resamples: int = DRAWS, seed: int = 0
) -> Mapping[str, UnifiedFit]:
    """Every form on the curves of one model; empty where no curve has parameters and tokens."""
    data = stacked(curves)
    if not len(data["loss"]):
        return {}
    return {
        form: fit_unified_law(
            *(data[name] for name in ("N", "D", "mu", "T", "loss")),
            form=form,
            runs=data["run"],
            budgets=data["budget"],
            resamples=resamples,
            seed=seed,
        )
        for form in UNIFIED
    }


def unified_mixture(forms: Mapping[str, UnifiedFit]) -> Mixture | None:
    """The likeliest form by Akaike's criterion, and the draws of all that cannot be distinguished from it.

    None where no form has draws.
    """
    known = {name: fit for name, fit in forms.items() if fit.usable and fit.uncertainty}
    criteria = {name: fit.uncertainty.aicc for name, fit in known.items() if fit.uncertainty}
    if not criteria:
        return None
    best = min(criteria, key=lambda name: criteria[name])
    weights = {name: float(np.exp(-0.5 * (aicc - criteria[best]))) for name, aicc in criteria.items()}
    parts = [
        Part(law=fit.fit.law, draws=fit.uncertainty.draws, weight=weights[name])
        for name, fit in known.items()
        if fit.uncertainty and weights[name] >= LEAST_WEIGHT * sum(weights.values())
    ]
    return Mixture(law=known[best].fit.law, vector=known[best].fit.vector, parts=tuple(parts))


def fit_oracle_floor(curves: Sequence[TestTimeCurve]) -> LawFit:
    """L(T) = L(mu_rec) + Z exp(-z T / mu_rec), the floor of each run its measured loss at T = mu_rec.

    Only points at other T are fitted, and only runs that were measured at their mean recurrence.
    """
    rows = []
    for curve in curves:
        at = curve.test_recurrence == curve.mean_recurrence
        if at.any():
            floor = curve.loss[at][0]
            rows += [
                (floor, t, curve.mean_recurrence, loss)
                for t, loss in zip(curve.test_recurrence[~at], curve.loss[~at], strict=True)
            ]
    table = np.array(rows, dtype=float).reshape(-1, 4)
    data = {"floor": table[:, 0], "T": table[:, 1], "mu": table[:, 2]}
    return fit_law(ORACLE_FLOOR, data, table[:, 3], starts=UNIFIED_STARTS)


def stacked(curves: Sequence[TestTimeCurve]) -> Mapping[str, Array]:
    """All (run, T) points of curves whose parameters and tokens are known, one array (n,) a variable.

    `run` numbers the curves, which are independent; `budget` is alike for those that may share noise.
    """
    known = [c for c in curves if np.isfinite(c.tokens) and np.isfinite(c.effective_parameters)]
    lengths = [len(c.loss) for c in known]
    if not known:
        return {name: np.empty(0) for name in ("N", "D", "mu", "T", "loss", "run", "budget")}
    budgets = grouped_budgets([c.flops for c in known])
    alone = ~np.isfinite(budgets)
    return {
        "N": np.repeat([c.effective_parameters for c in known], lengths),
        "D": np.repeat([c.tokens for c in known], lengths),
        "mu": np.repeat([c.mean_recurrence for c in known], lengths),
        "T": np.concatenate([c.test_recurrence for c in known]),
        "loss": np.concatenate([c.loss for c in known]),
        "run": np.repeat(np.arange(len(known)), lengths),
        "budget": np.repeat(np.where(alone, -1.0 - np.cumsum(alone), budgets), lengths),
    }
