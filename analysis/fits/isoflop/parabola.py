"""Parabolas of loss in a logarithm: least squares, the turning point, and what noise makes of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.laws import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Parabola:
    """loss = constant + slope (ln v - centre) + curvature (ln v - centre)^2, nats."""

    centre: float
    constant: float
    slope: float
    curvature: float

    @property
    def log_vertex(self) -> float:
        """ln v at the turning point."""
        return self.centre - self.slope / (2 * self.curvature)

    @property
    def vertex(self) -> float:
        """The value v at the turning point; infinite where that is too far out for a float."""
        return float(np.exp(min(self.log_vertex, 700.0)))

    @property
    def minimum(self) -> float:
        """Loss at the turning point, nats."""
        return self.constant - self.slope**2 / (4 * self.curvature)

    def __call__(self, values: ArrayLike) -> Array:
        u = np.log(np.asarray(values, dtype=float)) - self.centre
        return np.asarray(self.constant + self.slope * u + self.curvature * u**2)


def parabola(logs: Array, losses: Array) -> Parabola:
    """Least squares through points at three or more distinct `logs`."""
    design, centre, scale = _design(logs)
    solution = np.linalg.lstsq(design, losses, rcond=None)[0]
    return Parabola(
        centre=centre,
        constant=float(solution[0]),
        slope=float(solution[1] / scale),
        curvature=float(solution[2] / scale**2),
    )


def squares_about(logs: Array, losses: Array) -> float:
    """Summed squares about the parabola through the points."""
    return float(((parabola(logs, losses)(np.exp(logs)) - losses) ** 2).sum())


def log_vertices(logs: Array, losses: Array, furthest: float) -> Array:
    """``turning_points`` without the curvatures."""
    return turning_points(logs, losses, furthest)[0]


def turning_points(logs: Array, losses: Array, furthest: float) -> tuple[Array, Array]:
    """ln v of the turning points (R,) through losses (R, k) at `logs` (k,), NaN where a row opens downward,
    and the curvatures (R,).

    A turning point further out than `furthest` times the range of `logs` counts as lying there, so that an
    almost flat row, whose turning point may be anywhere, does not decide an interval.
    """
    design, centre, scale = _design(logs)
    solution = losses @ np.linalg.pinv(design).T
    upward = solution[:, 2] > 0
    found = np.full(len(losses), np.nan)
    turning = centre - scale * solution[upward, 1] / (2 * solution[upward, 2])
    found[upward] = np.clip(turning, logs.min() - furthest * scale, logs.max() + furthest * scale)
    return found, solution[:, 2] / scale**2


def standardised_residuals(logs: Array, losses: Array) -> tuple[Array, Array]:
    """The fitted losses (k,), and the residuals scaled by their leverage."""
    design = _design(logs)[0]
    solve = np.linalg.pinv(design)
    fitted = design @ (solve @ losses)
    leverage = np.minimum(np.einsum("ij,ji->i", design, solve), 0.99)
    return fitted, (losses - fitted) / np.sqrt(1 - leverage)


def curvature_error(logs: Array) -> float:
    """Standard error of a parabola's curvature for noise of deviation 1."""
    design, _, scale = _design(logs)
    return float(np.sqrt(np.linalg.inv(design.T @ design)[2, 2])) / scale**2


def prediction_error(logs: Array, at: float) -> float:
    """Standard error of a new loss at `at` under a parabola through `logs`, for noise of deviation 1."""
    design, centre, scale = _design(logs)
    place = np.vander(np.atleast_1d((at - centre) / scale), 3, increasing=True)[0]
    return float(np.sqrt(1 + place @ np.linalg.inv(design.T @ design) @ place))


def _design(logs: Array) -> tuple[Array, float, float]:
    centre, scale = float(logs.mean()), float(np.ptp(logs))
    return np.vander((logs - centre) / scale, 3, increasing=True), centre, scale
