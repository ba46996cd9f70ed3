"""The training law, L = E + X N^-x + Y D^-y, and the coupled law, fitted to plain arrays or a model's runs.

With N the plain parameters of models without a loop the first is the Chinchilla law (Hoffmann et al. arXiv
2203.15556, approach 3); with N(mu_rec) it is the looped model's (Parcae section 5, table 11). The coupled law
has one exponent more, k, and is the training law at k = 1 (`analysis.laws.coupled`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.points import ModelPoints
from analysis.engine.fit import DELTA, STARTS, LawFit, fit_law
from analysis.engine.intervals import Interval
from analysis.engine.lack_of_fit import LackOfFit
from analysis.engine.verdict import FitStatus, noise
from analysis.fits.forms import FormFit
from analysis.laws import COUPLED, TRAINING, Array, Law

FAR_OFF = 0.03
"""A run this far (as a fraction) from the law is worth a look (assumption)."""


@dataclass(frozen=True, kw_only=True, eq=False)
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

    @property
    def usable(self) -> bool:
        return self.fit.usable

    def predict(self, parameters: ArrayLike, tokens: ArrayLike) -> Array:
        """Loss in nats for N effective parameters and D tokens (arrays of one shape (n,))."""
        data = {
            "N": np.atleast_1d(np.asarray(parameters, float)),
            "D": np.atleast_1d(np.asarray(tokens, float)),
        }
        return np.asarray(self.fit.law.predict(self.fit.vector, data)[0])


def fit_training_law(
    parameters: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    *,
    starts: int = STARTS,
    seed: int = 0,
    delta: float = DELTA,
    weights: ArrayLike | None = None,
) -> TrainingFit:
    """Best of `starts` for n runs of effective parameters N, tokens D and loss in nats.

    ``InputError`` for numbers that are not positive and finite; points that do not decide the law give a
    verdict. `delta` infinite is least squares; `weights` (n,) are the runs' inverse variances.
    """
    return _fitted(TRAINING, parameters, tokens, loss, starts, seed, delta, weights)


def fit_coupled_law(
    parameters: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    *,
    starts: int = STARTS,
    seed: int = 0,
    delta: float = DELTA,
    weights: ArrayLike | None = None,
) -> TrainingFit:
    """``fit_training_law`` for the coupled law, L = E + ((X N^-x)^(1/k) + (Y D^-y)^(1/k))^k."""
    return _fitted(COUPLED, parameters, tokens, loss, starts, seed, delta, weights)


def _fitted(
    law: Law,
    parameters: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    starts: int,
    seed: int,
    delta: float,
    weights: ArrayLike | None,
) -> TrainingFit:
    data = {"N": parameters, "D": tokens}
    return as_training(fit_law(law, data, loss, starts=starts, seed=seed, delta=delta, weights=weights))


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


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelTrainingLaw:
    """One model's training law with its intervals."""

    law: TrainingFit
    points: ModelPoints
    """The runs that were fitted, in the order of the law's residuals."""
    intervals: Mapping[str, Interval]
    lack_of_fit: LackOfFit

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
