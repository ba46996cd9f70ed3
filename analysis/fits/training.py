"""The training law, L = E + X N^-x + Y D^-y, and the coupled law, fitted to plain arrays or a model's runs.

With N the plain parameters of models without a loop the first is the Chinchilla law (Hoffmann et al. arXiv
2203.15556, approach 3); with N(mu_rec) it is the looped model's (Parcae section 5, table 11). The coupled law
has one exponent more, k, and is the training law at k = 1 (`analysis.laws.coupled`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.points import ModelPoints
from analysis.engine.fit import DELTA, STARTS, LawFit, fit_law
from analysis.engine.formatting import LIMITS, brief, limits, number, table
from analysis.engine.intervals import Interval, finite
from analysis.engine.lack_of_fit import Fits, LackOfFit
from analysis.engine.validation import Table, columns_of, together
from analysis.engine.verdict import FitStatus, noise
from analysis.fits.forms import FormFit
from analysis.laws import COUPLED, TRAINING, Array, Law

FAR_OFF = 0.03
"""A run this far (as a fraction) from the law is worth a look (assumption)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainingFit:
    """The law's parameters, NaN where the status says that the points do not decide them."""

    E: float
    """Irreducible loss, nats."""
    X: float
    x: float
    Y: float
    y: float
    k: float = 1.0
    """How closely size and tokens are coupled; 1 in the training law."""
    huber: float
    """Summed Huber loss of log(prediction) - log(loss)."""
    status: FitStatus
    message: str
    points: int
    fit: LawFit

    def __repr__(self) -> str:
        return brief(self, *self._names, "status", "points")

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit training-law --json` prints of the law alone."""
        return {
            **{name: finite(getattr(self, name)) for name in self._names},
            "huber": finite(self.huber),
            "status": self.status.value,
            "message": self.message,
            "points": self.points,
        }

    def summary(self) -> str:
        """The verdict first, then the parameters."""
        lines = [self.fit.law.equation, f"{self.status}: {self.message}"]
        if self.fit.decided:
            rows = [(name, number(getattr(self, name))) for name in self._names]
            lines += [table(("", "value"), rows), self.accuracy]
        return "\n".join(lines)

    @property
    def accuracy(self) -> str:
        error = f"mean error {100 * self.fit.mean_error:.3f} %"
        return f"summed Huber {self.huber:.3g}, {error} on {self.points} runs"

    @property
    def _names(self) -> tuple[str, ...]:
        """Parameters in the order of the equation."""
        return ("E", "X", "x", "Y", "y", *(["k"] if self.fit.law is COUPLED else []))

    @property
    def usable(self) -> bool:
        return self.fit.usable

    def predict(self, parameters: ArrayLike, tokens: ArrayLike) -> Array:
        """Loss in nats for N effective parameters and D tokens (n values, or one for all)."""
        sizes, seen = together(parameters=parameters, tokens=tokens)
        return np.asarray(self.fit.law.predict(self.fit.vector, {"N": sizes, "D": seen})[0])


def fit_training_law(
    parameters: ArrayLike | Table,
    tokens: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    *,
    starts: int = STARTS,
    seed: int = 0,
    delta: float = DELTA,
    weights: ArrayLike | None = None,
) -> TrainingFit:
    """L = E + X N^-x + Y D^-y, the best of `starts` (Parcae section 5; Hoffmann et al. approach 3).

    For n runs: effective `parameters` N (n,), training `tokens` D (n,), `loss` (n,) in nats; or a DataFrame
    with these columns, and `weights` if it has them. `weights` (n,) are inverse variances; a run of weight 0
    is left out. `delta` is where Huber's loss of log(prediction) - log(loss) turns linear; infinite is least
    squares. ``InputError`` for numbers that are not positive and finite; points that do not decide the law
    give a verdict.
    """
    return _fitted(TRAINING, parameters, tokens, loss, weights, starts, seed, delta)


def fit_coupled_law(
    parameters: ArrayLike | Table,
    tokens: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    *,
    starts: int = STARTS,
    seed: int = 0,
    delta: float = DELTA,
    weights: ArrayLike | None = None,
) -> TrainingFit:
    """``fit_training_law`` for the coupled law, L = E + ((X N^-x)^(1/k) + (Y D^-y)^(1/k))^k.

    Source: arXiv 2608.07222. At k = 1 it is the training law.
    """
    return _fitted(COUPLED, parameters, tokens, loss, weights, starts, seed, delta)


def _fitted(
    law: Law,
    parameters: ArrayLike | Table,
    tokens: ArrayLike | None,
    loss: ArrayLike | None,
    weights: ArrayLike | None,
    starts: int,
    seed: int,
    delta: float,
) -> TrainingFit:
    given = columns_of({"parameters": parameters, "tokens": tokens, "loss": loss}, {"weights": weights})
    data = {"N": given["parameters"], "D": given["tokens"]}
    fit = fit_law(law, data, given["loss"], weights=given["weights"], starts=starts, seed=seed, delta=delta)
    return as_training(fit)


def as_training(fit: LawFit) -> TrainingFit:
    """A fit of either law by the names of its parameters."""
    return TrainingFit(
        **fit.values,
        huber=fit.huber,
        status=fit.status,
        message=fit.message,
        points=len(fit.residuals),
        fit=fit,
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelTrainingLaw:
    """One model's training law with its intervals."""

    law: TrainingFit
    points: ModelPoints
    """The runs that were fitted, in the order of the law's residuals."""
    intervals: Mapping[str, Interval]
    lack_of_fit: LackOfFit

    def __repr__(self) -> str:
        return f"ModelTrainingLaw({self.points.model}: {self.law!r})"

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.law.to_dict(),
            "intervals": {name: value.to_dict() for name, value in self.intervals.items()},
        }

    def summary(self) -> str:
        """The verdict first, then parameters with intervals."""
        law = self.law
        lines = [law.fit.law.equation, f"{law.status}: {law.message}"]
        if self.lack_of_fit.verdict is Fits.DOES_NOT_FIT:
            lines.append(f"does not fit: {self.lack_of_fit.message}")
        if law.fit.decided:
            rows = [(name, *limits(self.intervals[name])) for name in ("E", "X", "x", "Y", "y")]
            lines += [
                table(LIMITS, rows),
                law.accuracy,
                *_table_11(self.points.model),
                *(f"far off: {run}, predicted {100 * off:+.1f} %" for run, off in self.far_off.items()),
            ]
        return "\n".join(lines)

    @property
    def far_off(self) -> Mapping[str, float]:
        """Runs far off the law, and how far (predicted / measured - 1): an outlier hardly moves the fit.

        Beyond ten standard deviations of the residuals and beyond ``FAR_OFF``.
        """
        residuals = self.law.fit.residuals
        if not self.law.usable:
            return {}
        limit = max(FAR_OFF, 10 * noise(residuals, len(self.intervals)))
        far = np.flatnonzero(np.abs(residuals) > limit)
        return {self.points.run_ids[i]: float(np.expm1(residuals[i])) for i in far}


def model_training_law(points: ModelPoints, form: FormFit) -> ModelTrainingLaw:
    """The training law among a model's forms; `points` are the runs that it was fitted to."""
    return ModelTrainingLaw(
        law=as_training(form.fit), points=points, intervals=form.intervals, lack_of_fit=form.lack_of_fit
    )


def _table_11(model: str) -> list[str]:
    """The paper's own fit of a published model, whose convention for N is not known."""
    from analysis.published import published  # reads with pandas

    paper = published("parametric_table11").set_index("model")
    if model not in paper.index:
        return []
    row = paper.loc[model]
    return [
        f"paper (table 11): E {row['E']:g}, x {row['x']:g}, y {row['y']:g}, "
        f"summed Huber {row['huber_sum']:.2g}"
    ]
