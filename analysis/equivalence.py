"""What a recurrence is worth: L = E + A (N_once + r^phi N_rec)^-alpha + B D^-beta.

phi is 1 if a recurrence is worth as much as a unique block and 0 if it is worth nothing; Schwethelm et al.
(arXiv 2604.21106) measured 0.46 in 116 runs. Every looped run of a study enters, whatever its model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.dataset import ModelPoints
from analysis.fit import STARTS, LawFit, fit_law
from analysis.intervals import RESAMPLES, Interval, bootstrap, parameter_intervals
from analysis.laws import EQUIVALENCE
from analysis.verdict import Status


@dataclass(frozen=True, kw_only=True, eq=False)
class EquivalenceFit:
    """Parameters with intervals, NaN where the status says that the points do not decide them."""

    phi: Interval
    intervals: Mapping[str, Interval]
    """E, A, B, alpha, phi, beta."""
    huber: float
    """Summed Huber loss."""
    status: Status
    message: str
    points: int
    fit: LawFit


def fit_equivalence(
    once_parameters: ArrayLike,
    recurrent_parameters: ArrayLike,
    mean_recurrence: ArrayLike,
    tokens: ArrayLike,
    loss: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> EquivalenceFit:
    """Fits n runs: parameters applied once and per recurrence, r, D and loss in nats.

    `strata` (n labels) are the groups that the bootstrap resamples within; all runs when None.
    """
    data = {
        "once": once_parameters,
        "recurrent": recurrent_parameters,
        "mu": mean_recurrence,
        "D": tokens,
    }
    fit = fit_law(EQUIVALENCE, data, loss, starts=2 * STARTS, seed=seed)  # one exponent more to search
    labels = np.zeros(len(fit.residuals)) if strata is None else np.asarray(strata)
    intervals = parameter_intervals(fit, bootstrap(fit, labels, resamples=resamples, seed=seed))
    return EquivalenceFit(
        phi=intervals["phi"],
        intervals=intervals,
        huber=fit.huber,
        status=fit.status,
        message=fit.message,
        points=len(fit.residuals),
        fit=fit,
    )


def study_equivalence(models: Sequence[ModelPoints], *, seed: int = 0) -> EquivalenceFit:
    """All looped runs of a study jointly, resampled within model and budget."""
    looped = [
        points.select(
            points.sized
            & np.isfinite(points.mean_recurrence)
            & np.isfinite(points.once_parameters)
            & (points.recurrent_parameters > 0)
        )
        for points in models
    ]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(points, name) for points in looped]) if looped else np.empty(0)

    labels = [f"{points.model} {budget}" for points in looped for budget in points.strata]
    return fit_equivalence(
        joined("once_parameters"),
        joined("recurrent_parameters"),
        joined("mean_recurrence"),
        joined("tokens"),
        joined("loss"),
        strata=np.array(labels),
        seed=seed,
    )
