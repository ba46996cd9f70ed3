"""The training law, L = E + X N^-x + Y D^-y, fitted to plain arrays or to a model's runs.

With N the plain parameters of models without a loop this is the Chinchilla law (Hoffmann et al. arXiv
2203.15556, approach 3); with N(mu_rec) it is the looped model's (Parcae section 5, table 11).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.dataset import ModelPoints
from analysis.fit import DELTA, STARTS, LawFit, fit_law
from analysis.intervals import RESAMPLES, Interval, bootstrap, parameter_intervals
from analysis.laws import TRAINING, Array
from analysis.verdict import Status, noise

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
    huber: float
    """Summed Huber loss of log(prediction) - log(loss)."""
    status: Status
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
    verdict. `delta` infinite is least squares.
    """
    data = {"N": parameters, "D": tokens}
    fit = fit_law(TRAINING, data, loss, starts=starts, seed=seed, delta=delta, weights=weights)
    return TrainingFit(
        **fit.values,
        huber=fit.huber,
        status=fit.status,
        message=fit.message,
        points=len(fit.residuals),
        fit=fit,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingStudy:
    """One model's training law with the replicates that every interval comes from."""

    law: TrainingFit
    points: ModelPoints
    """The runs that were fitted, in the order of the law's residuals."""
    draws: Array
    """Parameters (resamples, 5): E, X, Y, x, y in raw units."""
    intervals: Mapping[str, Interval]

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


def study_training_law(
    points: ModelPoints, *, resamples: int = RESAMPLES, seed: int = 0, starts: int = STARTS
) -> TrainingStudy:
    """Fits the runs of one model that have parameters and tokens, and resamples them within budgets."""
    points = points.select(points.sized)
    law = fit_training_law(
        points.effective_parameters,
        points.tokens,
        points.loss,
        starts=starts,
        seed=seed,
        weights=points.weights,
    )
    draws = bootstrap(law.fit, points.strata, resamples=resamples, seed=seed)
    return TrainingStudy(law=law, points=points, draws=draws, intervals=parameter_intervals(law.fit, draws))
