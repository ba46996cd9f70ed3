"""Loss against test recurrence T of one trained model: four forms, and whether it falls to a floor.

Least squares on log loss (Parcae section 5, tables 12 and 13); all losses are fitted, whatever they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.points import TestTimeCurve, spaced
from analysis.engine.fit import DELTA, LawFit, fit_each
from analysis.engine.formatting import LIMITS, brief, limits, number, table
from analysis.engine.intervals import Interval, finite
from analysis.engine.validation import Table, columns_of, finite_numbers, positive_numbers
from analysis.engine.verdict import FitStatus
from analysis.fits.floor import judge
from analysis.laws import SATURATION, Array
from parcae.errors import InputError

EXPONENTIAL = "exponential"
"""The paper's form of saturation."""
CURVE_STARTS = 32
"""Starts of a saturation fit: its one exponent leaves little to search."""
MOST_SCORED = 1000
"""Curves that the four forms are scored on at most."""


def huber_loss(residuals: ArrayLike, delta: float = DELTA) -> Array:
    """Huber's loss of each residual, not yet summed."""
    values = np.asarray(residuals, dtype=float)
    clipped = np.clip(values, -delta, delta)
    return np.asarray(clipped * (values - 0.5 * clipped))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SaturationFit:
    """L(T) of one run. NaN where the status claims nothing of a parameter.

    Of the exponential the status is a verdict on the losses (`analysis.fits.floor`): `converged` where they
    fall to a floor. Of the other forms, which are there to be compared, it is the minimum's own.
    """

    form: str
    L_inf: float
    """Loss after unlimited recurrences, nats; 0 in the form without a floor."""
    Z: float
    z: float
    intervals: Mapping[str, Interval]
    """L_inf, Z and z; empty for the other forms."""
    best_test_recurrence: float
    """Where the lowest loss was measured; the smallest such T."""
    best_loss: float
    """The lowest measured loss, nats."""
    huber: float
    """Mean Huber loss of log(prediction) - log(loss), delta 1e-3."""
    status: FitStatus
    message: str
    points: int
    fit: LawFit

    def __repr__(self) -> str:
        return brief(self, "form", "L_inf", "Z", "z", "status", "points")

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit saturation --json` prints of a run, less the run itself."""
        return {
            "L_inf": finite(self.L_inf),
            "Z": finite(self.Z),
            "z": finite(self.z),
            "huber": finite(self.huber),
            "points": self.points,
            "status": self.status.value,
            "message": self.message,
            "intervals": {name: value.to_dict() for name, value in self.intervals.items()},
            "best_test_recurrence": finite(self.best_test_recurrence),
            "best_loss": finite(self.best_loss),
        }

    def summary(self) -> str:
        """The verdict first, then the parameters and the lowest loss."""
        lines = [SATURATION[self.form].equation, f"{self.status}: {self.message}"]
        if self.intervals:
            lines.append(table(LIMITS, [(name, *limits(value)) for name, value in self.intervals.items()]))
        else:
            values = ((name, number(getattr(self, name))) for name in ("L_inf", "Z", "z"))
            lines.append(table(("", "value"), values))
        lowest = f"{number(self.best_loss)} at T = {number(self.best_test_recurrence)}"
        return "\n".join([*lines, f"lowest loss {lowest}, of {self.points}"])

    def predict(self, test_recurrence: ArrayLike) -> Array:
        """Loss in nats at each T (n,) by the fitted curve, whatever the verdict on it."""
        t = positive_numbers("test_recurrence", test_recurrence)
        return np.asarray(self.fit.law.predict(self.fit.vector, {"T": t})[0])


def fit_saturation(
    test_recurrence: ArrayLike | Table,
    loss: ArrayLike | None = None,
    *,
    form: str = EXPONENTIAL,
    seed: int = 0,
) -> SaturationFit:
    """L(T) = L_inf + Z exp(-z T) of one model, and whether its losses fall to a floor (Parcae section 5).

    For k losses: `test_recurrence` T (k,), `loss` (k,) in nats; or a DataFrame with these columns. `form` is
    one of `analysis.laws.SATURATION` (table 12).
    ``InputError`` for an unknown form or numbers that are not positive and finite.
    """
    given = columns_of({"test_recurrence": test_recurrence, "loss": loss})
    return fit_curves([(given["test_recurrence"], given["loss"])], form=form, seed=seed)[0]


def fit_curves(
    curves: Sequence[tuple[ArrayLike, ArrayLike]], *, form: str = EXPONENTIAL, seed: int = 0
) -> list[SaturationFit]:
    """``fit_saturation`` for many (test recurrences, losses), those of the same recurrences at once."""
    if form not in SATURATION:
        raise InputError(f"there is no saturation form {form!r}; the forms are {', '.join(SATURATION)}")
    forms = SATURATION if form == EXPONENTIAL else (form,)
    fits = {name: fit_form(curves, name, seed=seed) for name in forms}
    return [
        _saturation(form, t, loss, {name: fits[name][i] for name in forms})
        for i, (t, loss) in enumerate(curves)
    ]


def fit_form(curves: Sequence[tuple[ArrayLike, ArrayLike]], form: str, *, seed: int = 0) -> list[LawFit]:
    """The least squares of one form for many (test recurrences, losses)."""
    at = [finite_numbers("test_recurrence", t) for t, _ in curves]
    alike: dict[bytes, list[int]] = {}
    for i, t in enumerate(at):
        alike.setdefault(t.tobytes(), []).append(i)
    fits: dict[int, LawFit] = {}
    for members in alike.values():
        t, losses = at[members[0]], [curves[i][1] for i in members]
        together = fit_each(SATURATION[form], {"T": t}, losses, starts=CURVE_STARTS, seed=seed, delta=np.inf)
        fits.update(zip(members, together, strict=True))
    return [fits[i] for i in range(len(curves))]


def _saturation(
    form: str, test_recurrence: ArrayLike, loss: ArrayLike, fits: Mapping[str, LawFit]
) -> SaturationFit:
    fit, t, losses = fits[form], np.asarray(test_recurrence, dtype=float), np.asarray(loss, dtype=float)
    fitted = bool(len(losses) and np.isfinite(fit.residuals).all())
    status, message, values = fit.status, fit.message, dict(fit.values)
    intervals: dict[str, Interval] = {}
    if form == EXPONENTIAL:
        floor = judge(t, losses, fit, [rival for name, rival in fits.items() if name != form])
        status, message = floor.status, floor.message
        intervals = {"L_inf": floor.L_inf, "Z": floor.Z, "z": floor.z}
        values = {name: value.value for name, value in intervals.items()}
    best = int(np.lexsort((t, losses))[0]) if len(losses) else None
    return SaturationFit(
        form=form,
        L_inf=values.get("L_inf", 0.0 if fitted else float("nan")),
        Z=values["Z"],
        z=values["z"],
        intervals=intervals,
        best_test_recurrence=float("nan") if best is None else float(t[best]),
        best_loss=float("nan") if best is None else float(losses[best]),
        huber=float(huber_loss(fit.residuals).mean()) if fitted else float("nan"),
        status=status,
        message=message,
        points=len(losses),
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

    def to_dict(self) -> dict[str, Any]:
        return {
            "in_distribution": finite(self.in_distribution),
            "extrapolation": finite(self.extrapolation),
            "runs": self.runs,
        }


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
    fits = {form: fit_form(seen, form) for form in SATURATION}
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
