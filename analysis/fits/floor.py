"""Whether the losses of one run over its test recurrences T fall to a floor, in a word and a sentence.

A floor is claimed only where every doubt is silent: the exponential leaves nothing that a trend would
explain, no power law fits better or puts the floor elsewhere, the floor is known closely, and the last loss
has reached it. The limits were set by simulation (`bench/coverage_testtime.py`): with noise of 0.03 %
exponentials with z T of 6 or more at the last T pass, and curves that rise, fall without end or fall as a
power of T do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from analysis.engine.fit import LawFit, raw_parameters
from analysis.engine.intervals import LEVEL, NOTHING, Interval
from analysis.engine.verdict import FitStatus
from analysis.laws import Array

FEWEST = 5
"""Distinct T that a verdict takes: three parameters, and a trend beside them, leave one to judge by."""
DOUBT = 0.005
"""A trend that chance would show less often than this speaks against the exponential."""
CLEAR = 8.0
"""A form fits better, or worse, where twice the difference in log-likelihood exceeds this."""
ELSEWHERE = 0.002
"""Floors that differ by this fraction are two, and a loss this far above its floor has not reached it."""
OPEN = 0.004
"""Largest half width of a floor's interval, as a fraction: 0.01 nats at 2.5."""
REMAINING = 0.003
"""A curve this far above its floor at the last T, as a fraction of the loss, may not have reached it..."""
DECAYED = float(np.exp(-5.0))
"""...unless it has come down to this fraction of Z."""
STEADY = 0.001
"""Losses are level where a line through the last octave of T changes by no more than this fraction."""
RISE = 0.003
"""A last loss this far above the lowest one, as a fraction, is a rise..."""
SMALL_RISE = 0.002
"""...this far where every loss from the lowest on exceeds the one before, by more than the scatter..."""
SLIGHT_RISE = 0.001
"""...and this far where the trend is upward."""
MANY = 5
"""So many losses that each exceed the one before, from the lowest on, rise whatever their scatter."""
PRECISION = 1e-6
"""No loss is known better than this fraction."""
WILD = 0.1
"""A loss this far (as a fraction) from those before and after it is named (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The verdict, and what it leaves of the parameters; NaN where it claims nothing."""

    status: FitStatus
    message: str
    L_inf: Interval
    Z: Interval
    z: Interval


@dataclass(frozen=True, kw_only=True, eq=False)
class _Curve:
    """k losses in ascending order of T, and the exponential fitted to them."""

    t: Array
    loss: Array
    fit: LawFit

    @property
    def residuals(self) -> Array:
        """log(prediction) - log(loss), in this order."""
        order = self.fit.points.order
        return np.asarray(self.fit.residuals[order])

    @property
    def slopes(self) -> Array:
        """Derivatives (k, 3) of the predicted log loss in L_inf, Z and z."""
        fading = np.exp(-self.fit.values["z"] * self.t)
        raw = np.stack([np.ones_like(self.t), fading, -self.fit.values["Z"] * self.t * fading], axis=1)
        return np.asarray(raw / self.predicted[:, None])

    @property
    def predicted(self) -> Array:
        return np.asarray(self.loss * np.exp(self.residuals))

    @property
    def lowest(self) -> int:
        return int(np.argmin(self.loss))

    @property
    def rise(self) -> float:
        """The last loss over the lowest one, less 1."""
        return float(self.loss[-1] / self.loss[self.lowest] - 1)


def judge(test_recurrence: Array, loss: Array, exponential: LawFit, rivals: Sequence[LawFit]) -> Floor:
    """The verdict on k losses, from the fits of the exponential and of the other forms to all of them."""
    order = exponential.points.order
    curve = _Curve(t=test_recurrence[order], loss=loss[order], fit=exponential)
    distinct = len(np.unique(curve.t))
    if exponential.status is FitStatus.TOO_FEW_POINTS:
        return _claim(exponential.status, exponential.message)
    objection, upward = _objection(curve, rivals) if distinct >= FEWEST else ("", False)
    if distinct >= FEWEST and not objection:
        sentence = f"the losses fall exponentially to a floor, which they have reached by T = {curve.t[-1]:g}"
        return _claim(FitStatus.CONVERGED, sentence, *_intervals(curve))
    if curve.rise > RISE or (upward and curve.rise > SLIGHT_RISE):
        best = curve.lowest
        return _claim(
            FitStatus.TURNS_UP,
            f"the loss is lowest at T = {curve.t[best]:g} ({curve.loss[best]:.4g}) and "
            f"{100 * curve.rise:.2g} % higher at T = {curve.t[-1]:g}{_wild(curve)}",
        )
    if distinct < FEWEST:
        values = _intervals(curve) if exponential.usable else ()
        sentence = (
            f"{distinct} test recurrences cannot show whether the losses fall to a floor, nor bound it; "
            f"{FEWEST} can"
        )
        unbounded = (replace(one, low=np.nan, high=np.nan) for one in values)
        return _claim(FitStatus.TOO_FEW_POINTS, sentence, *unbounded)
    first, floor = _level(curve)
    if floor is None:
        return _claim(FitStatus.NO_FLOOR, objection + _wild(curve))
    if first == curve.t[0]:
        return _claim(FitStatus.NOT_IDENTIFIED, "the losses are level, so recurrence changes nothing")
    sentence = f"the losses are level from T = {first:g} on, but {objection}{_wild(curve)}"
    return _claim(FitStatus.LEVEL, sentence, floor)


def _claim(
    status: FitStatus, message: str, L_inf: Interval = NOTHING, Z: Interval = NOTHING, z: Interval = NOTHING
) -> Floor:
    return Floor(status=status, message=message, L_inf=L_inf, Z=Z, z=z)


def _objection(curve: _Curve, rivals: Sequence[LawFit]) -> tuple[str, bool]:
    """What speaks against an exponential fall to a floor, and whether the losses trend upward at the end."""
    fit, last = curve.fit, curve.t[-1]
    if fit.status is not FitStatus.CONVERGED:
        return fit.message, False
    limit = stdtrit(len(curve.t) - 4, 1 - DOUBT / 2)
    for trend, name in ((curve.t, "T"), (np.log(curve.t), "ln T")):
        strength, _ = _added(curve, trend)
        if abs(strength) > limit:
            way = "rises" if strength > 0 else "keeps falling"
            return f"a curve that {way} with {name} fits better than one with a floor", strength > 0
    tail = curve.loss[curve.lowest :]
    if len(tail) > 1 and (np.diff(tail) > 0).all() and curve.rise > SMALL_RISE:
        _, scatter = _added(curve, np.maximum(curve.t - curve.t[curve.lowest], 0.0))
        if len(tail) >= MANY or curve.rise > 4 * scatter:
            return f"the losses rise from T = {curve.t[curve.lowest]:g} on", True
    floor, Z, z = _intervals(curve)
    width = (floor.high - floor.low) / 2 / floor.value
    if width > OPEN:
        return f"the floor that they point to is open by {100 * width:.2g} %", False
    fading = float(np.exp(-z.value * last))
    left = Z.value * fading / floor.value
    if fading > DECAYED and left > max(REMAINING, 3 * _scatter(curve)):
        return f"the loss at T = {last:g} is still {100 * left:.2g} % above the floor they point to", False
    for rival in rivals:
        doubt = _rivalry(curve, rival, floor.value)
        if doubt:
            return doubt, False
    return "", False


def _rivalry(curve: _Curve, rival: LawFit, floor: float) -> str:
    """Why another form speaks against the exponential's floor; empty where it does not."""
    if not np.isfinite(rival.residuals).all():
        return ""
    least = len(curve.t) * PRECISION**2
    squares = [max(float((r**2).sum()), least) for r in (rival.residuals, curve.residuals)]
    behind = len(curve.t) * np.log(squares[0] / squares[1])
    if behind < -CLEAR:
        return f"{rival.law.equation} fits better"
    raw = raw_parameters(rival.points.problem, rival.best[None, :], rival.points.log_unit)
    own = float(raw[0, 0]) if "L_inf" in rival.law.coefficients else 0.0
    last = float(rival.law.predict(raw, {"T": curve.t[-1:]})[0, 0])
    if behind < CLEAR and max(last / max(own, 1e-3 * last) - 1, abs(own / floor - 1)) > ELSEWHERE:
        return f"{rival.law.equation} fits as well, and " + (
            f"its floor is {own:.4g}" if own else "has no floor"
        )
    return ""


def _added(curve: _Curve, trend: Array) -> tuple[float, float]:
    """Student's t of one more term, `trend` (k,), beside the exponential, and the scatter it would leave.

    By the added-variable plot: residuals against the part of the term that the parameters do not explain.
    """
    basis, _ = np.linalg.qr(curve.slopes)
    term = trend / curve.predicted
    own = term - basis @ (basis.T @ term)
    length = float(own @ own)
    if length < 1e-14 * float(term @ term):
        return 0.0, _scatter(curve)
    pull = -float(own @ curve.residuals) / length
    squares = float(curve.residuals @ curve.residuals) - pull**2 * length
    scatter = max(np.sqrt(max(squares, 0.0) / (len(curve.t) - 4)), PRECISION)
    return pull * np.sqrt(length) / scatter, scatter


def _scatter(curve: _Curve) -> float:
    """Standard deviation of the log losses about the exponential."""
    residuals = curve.residuals
    return max(float(np.sqrt(residuals @ residuals / (len(residuals) - 3))), PRECISION)


def _intervals(curve: _Curve) -> tuple[Interval, Interval, Interval]:
    """L_inf, Z and z with Student limits from the curvature at the minimum."""
    lengths = np.linalg.norm(curve.slopes, axis=0)
    lengths = np.maximum(lengths, 1e-300)
    scaled = curve.slopes / lengths
    errors = _scatter(curve) * np.sqrt(np.diag(np.linalg.pinv(scaled.T @ scaled))) / lengths
    half = stdtrit(len(curve.t) - 3, (1 + LEVEL) / 2) * errors
    values = [curve.fit.values[name] for name in ("L_inf", "Z", "z")]
    floor, Z, z = (Interval(value=v, low=v - h, high=v + h) for v, h in zip(values, half, strict=True))
    return floor, Z, z


def _level(curve: _Curve) -> tuple[float, Interval | None]:
    """From which T on the losses are level, and at what loss; None where the last octave of T still falls."""
    octave = int(np.searchsorted(curve.t, curve.t[-1] / 2))
    start = min(octave, len(curve.t) - 3)
    trend, fall = _slope(curve.t[start:], curve.loss[start:])
    if trend or fall > STEADY:
        return float(curve.t[start]), None
    tail = curve.loss[start:]
    spread = max(float(tail.std(ddof=1)), PRECISION * float(tail.mean()))
    middle = float(tail.mean())
    while start and abs(curve.loss[start - 1] - middle) <= max(3 * spread, STEADY * middle / 2):
        start -= 1
    half = stdtrit(len(tail) - 1, (1 + LEVEL) / 2) * spread / np.sqrt(len(tail))
    return float(curve.t[start]), Interval(value=middle, low=middle - half, high=middle + half)


def _slope(t: Array, loss: Array) -> tuple[bool, float]:
    """Whether losses change with ln T beyond chance, and by what fraction a line through them does."""
    x = np.log(t) - np.log(t).mean()
    squares = float(x @ x)
    if squares == 0:
        return False, 0.0
    slope = float(x @ loss) / squares
    left = loss - loss.mean() - slope * x
    scatter = max(float(np.sqrt(left @ left / (len(t) - 2))), PRECISION * float(loss.mean()))
    beyond = abs(slope) * np.sqrt(squares) / scatter > stdtrit(len(t) - 2, 1 - DOUBT / 2)
    return bool(beyond), abs(slope) * float(np.ptp(x)) / float(loss.mean())


def _wild(curve: _Curve) -> str:
    """Names losses that lie far off both of their neighbours, on one side."""
    steps = np.diff(np.log(curve.loss))
    off = (np.minimum(np.abs(steps[:-1]), np.abs(steps[1:])) > WILD) & (steps[:-1] * steps[1:] < 0)
    far = ", ".join(f"{t:g}" for t in curve.t[1:-1][off])
    return f"; far off its neighbours: the loss at T = {far}" if far else ""
