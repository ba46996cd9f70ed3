"""Loss against test recurrence T: the saturation of one trained model, and the unified law of many.

Saturation: four forms a run, least squares on log loss (Parcae section 5, tables 12 and 13). Unified law: the
training law plus a decay in T, all (run, T) points jointly, Huber (table 14).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.dataset import TestTimeCurve, spaced
from analysis.fit import DELTA, LawFit, fit_each, fit_law
from analysis.inputs import finite_numbers
from analysis.laws import ORACLE_FLOOR, SATURATION, UNIFIED, Array
from analysis.verdict import Status
from parcae.errors import InputError

EXPONENTIAL = "exponential"
"""The paper's form of saturation."""
GAMMA_ONE = "gamma_one"
"""The paper's form of the unified law."""
CURVE_STARTS = 32
"""Starts of a saturation fit: its one exponent leaves little to search."""
WILD = 0.1
"""A loss this far (as a fraction) from a robust curve belongs to no curve (assumption)."""
MOST_WILD = 0.2
"""Where more than this fraction of the losses is that far off, the form is wrong and not the losses."""
MOST_SCORED = 1000
"""Curves that the four forms are scored on at most."""
UNIFIED_STARTS = 1000
"""Starts of the unified law (paper section 5)."""


def huber_loss(residuals: ArrayLike, delta: float = DELTA) -> Array:
    """Huber's loss of each residual, not yet summed."""
    values = np.asarray(residuals, dtype=float)
    clipped = np.clip(values, -delta, delta)
    return clipped * (values - 0.5 * clipped)


@dataclass(frozen=True, kw_only=True, eq=False)
class SaturationFit:
    """L(T) of one run. NaN where the status says that the points do not decide a parameter."""

    form: str
    L_inf: float
    """Loss after unlimited recurrences, nats; 0 in the form without a floor."""
    Z: float
    z: float
    huber: float
    """Mean Huber loss of log(prediction) - log(loss), delta 1e-3."""
    status: Status
    message: str
    points: int
    fit: LawFit

    def predict(self, test_recurrence: ArrayLike) -> Array:
        """Loss in nats at each T (n,)."""
        t = np.atleast_1d(np.asarray(test_recurrence, dtype=float))
        return np.asarray(self.fit.law.predict(self.fit.vector, {"T": t})[0])


def fit_saturation(
    test_recurrence: ArrayLike, loss: ArrayLike, *, form: str = EXPONENTIAL, seed: int = 0
) -> SaturationFit:
    """Fits one of the four forms to k losses of one model at its test recurrences.

    ``InputError`` for an unknown form or numbers that are not positive and finite.
    """
    return fit_curves([(test_recurrence, loss)], form=form, seed=seed)[0]


def fit_curves(
    curves: Sequence[tuple[ArrayLike, ArrayLike]], *, form: str = EXPONENTIAL, seed: int = 0
) -> list[SaturationFit]:
    """``fit_saturation`` for many (test recurrences, losses), those of the same recurrences at once."""
    if form not in SATURATION:
        raise InputError(f"there is no saturation form {form!r}; the forms are {', '.join(SATURATION)}")
    at = [finite_numbers("test_recurrence", t) for t, _ in curves]
    alike: dict[bytes, list[int]] = {}
    for i, t in enumerate(at):
        alike.setdefault(t.tobytes(), []).append(i)
    fits: dict[int, SaturationFit] = {}
    for members in alike.values():
        t, losses = at[members[0]], [curves[i][1] for i in members]
        together = fit_each(SATURATION[form], {"T": t}, losses, starts=CURVE_STARTS, seed=seed, delta=np.inf)
        for i, loss, fit in zip(members, losses, together, strict=True):
            fits[i] = _without_wild(t, loss, fit, form, seed)
    return [fits[i] for i in range(len(curves))]


def _without_wild(
    test_recurrence: Array, loss: ArrayLike, fit: LawFit, form: str, seed: int
) -> SaturationFit:
    """The curve as fitted, or fitted again without losses that a robust fit finds far off it."""
    law, data = SATURATION[form], {"T": test_recurrence}
    kept, beside = np.ones(len(fit.residuals), dtype=bool), ""
    if len(kept) and not np.abs(fit.residuals).max() <= WILD:  # or no fit at all
        robust = fit_law(law, data, loss, starts=CURVE_STARTS, seed=seed)
        wild = np.abs(robust.residuals) > WILD
        if 0 < wild.sum() <= MOST_WILD * len(wild):
            kept = ~wild
            fit = fit_law(
                law, data, loss, starts=CURVE_STARTS, seed=seed, delta=np.inf, weights=kept.astype(float)
            )
            far = ", ".join(f"{t:g}" for t in test_recurrence[wild])
            beside = f"; left out as far off the curve: the loss at T = {far}"
    fitted = bool(len(kept) and np.isfinite(fit.residuals).all())
    return SaturationFit(
        form=form,
        L_inf=fit.values.get("L_inf", 0.0 if fitted else float("nan")),
        Z=fit.values["Z"],
        z=fit.values["z"],
        huber=float(huber_loss(fit.residuals[kept]).mean()) if fitted else float("nan"),
        status=fit.status,
        message=fit.message + beside,
        points=int(kept.sum()),
        fit=fit,
    )


@dataclass(frozen=True, kw_only=True)
class FormScore:
    """How well a form does over many runs: mean Huber loss, NaN where no run has the points."""

    form: str
    in_distribution: float
    """Fitted to T <= mu_rec and scored there."""
    extrapolation: float
    """The same fits scored at T > mu_rec."""
    runs: int


def score_forms(curves: Sequence[TestTimeCurve]) -> tuple[FormScore, ...]:
    """The four forms on the runs whose losses at T <= mu_rec decide all four (table 12).

    Of more than ``MOST_SCORED`` curves as many at even distances: means over them change no more.
    """
    curves = spaced(curves, MOST_SCORED)
    inside: dict[str, list[Array]] = {form: [] for form in SATURATION}
    beyond: dict[str, list[Array]] = {form: [] for form in SATURATION}
    seen = []
    for curve in curves:
        within = curve.test_recurrence <= curve.mean_recurrence
        seen.append((curve.test_recurrence[within], curve.loss[within]))
    fits = {form: [found.fit for found in fit_curves(seen, form=form)] for form in SATURATION}
    runs = 0
    for i, curve in enumerate(curves):
        if not all(fits[form][i].usable for form in SATURATION):
            continue
        runs += 1
        unseen = curve.test_recurrence > curve.mean_recurrence
        for form in SATURATION:
            fit = fits[form][i]
            inside[form].append(huber_loss(fit.residuals))
            if unseen.any():
                predicted = fit.law.predict(fit.vector, {"T": curve.test_recurrence[unseen]})[0]
                beyond[form].append(huber_loss(np.log(predicted) - np.log(curve.loss[unseen])))
    return tuple(
        FormScore(
            form=form,
            in_distribution=float(np.concatenate(inside[form]).mean()) if runs else float("nan"),
            extrapolation=float(np.concatenate(beyond[form]).mean()) if beyond[form] else float("nan"),
            runs=runs,
        )
        for form in SATURATION
    )


@dataclass(frozen=True, kw_only=True, eq=False)
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
    huber: float
    """Summed Huber loss over all (run, T) points."""
    mean_error: float
    """Mean of |prediction / loss - 1|, a fraction."""
    status: Status
    message: str
    points: int
    fit: LawFit

    @property
    def usable(self) -> bool:
        return self.fit.usable

    def predict(
        self, parameters: ArrayLike, tokens: ArrayLike, mean_recurrence: ArrayLike, test_recurrence: ArrayLike
    ) -> Array:
        """Loss in nats; the four arrays broadcast to one shape (n,)."""
        arrays = np.broadcast_arrays(
            *(
                np.atleast_1d(np.asarray(a, float))
                for a in (parameters, tokens, mean_recurrence, test_recurrence)
            )
        )
        data = dict(zip(("N", "D", "mu", "T"), arrays, strict=True))
        return np.asarray(self.fit.law.predict(self.fit.vector, data)[0])


def fit_unified_law(
    parameters: ArrayLike,
    tokens: ArrayLike,
    mean_recurrence: ArrayLike,
    test_recurrence: ArrayLike,
    loss: ArrayLike,
    *,
    form: str = GAMMA_ONE,
    starts: int = UNIFIED_STARTS,
    seed: int = 0,
    delta: float = DELTA,
) -> UnifiedFit:
    """Best of `starts` for n (run, T) points: effective parameters N, tokens D, mu_rec, T, loss in nats."""
    if form not in UNIFIED:
        raise InputError(f"there is no unified form {form!r}; the forms are {', '.join(UNIFIED)}")
    data = {"N": parameters, "D": tokens, "mu": mean_recurrence, "T": test_recurrence}
    fit = fit_law(UNIFIED[form], data, loss, starts=starts, seed=seed, delta=delta)
    fixed_gamma = {"gamma_one": 1.0, "no_conditioning": 0.0}
    return UnifiedFit(
        form=form,
        **{"gamma": fixed_gamma.get(form, float("nan")), **fit.values},
        huber=fit.huber,
        mean_error=fit.mean_error,
        status=fit.status,
        message=fit.message,
        points=len(fit.residuals),
        fit=fit,
    )


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

    `run` numbers the curves, for resampling whole runs.
    """
    known = [c for c in curves if np.isfinite(c.tokens) and np.isfinite(c.effective_parameters)]
    lengths = [len(c.loss) for c in known]
    if not known:
        return {name: np.empty(0) for name in ("N", "D", "mu", "T", "loss", "run")}
    return {
        "N": np.repeat([c.effective_parameters for c in known], lengths),
        "D": np.repeat([c.tokens for c in known], lengths),
        "mu": np.repeat([c.mean_recurrence for c in known], lengths),
        "T": np.concatenate([c.test_recurrence for c in known]),
        "loss": np.concatenate([c.loss for c in known]),
        "run": np.repeat(np.arange(len(known)), lengths),
    }
