"""Two routes to the optimum side by side: isoFLOP parabolas and the training law's own minimum.

Both estimate mu_rec* = k C^gamma and D* = k' C^gamma'. Parabolas need no law but are biased when a grid is
off-centre, or so wide that the loss is no parabola (Czech et al. arXiv 2603.22339); the law extrapolates but
believes in its form. The bias of a grid is measured here by putting parabolas through the law's own losses
on that grid.
"""

from dataclasses import dataclass

import numpy as np

from analysis.dataset import ModelPoints
from analysis.frontier import Frontier
from analysis.intervals import NOTHING, Interval
from analysis.isoflop import Curve, IsoflopFit, fit_isoflop
from analysis.training import TrainingFit

NARROW = 3.0
"""A grid whose largest recurrence is less than this many times its smallest shows little of a curve."""
OFF_CENTRE = 0.25
"""Vertices that all lie within this fraction of the grid's ends (in logs) make it off-centre."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Both estimates of one exponent, and what parabolas make of the law's own losses on the grid."""

    quantity: str
    parabolas: Interval
    law: Interval
    parabolas_of_law: float

    @property
    def disagree(self) -> bool:
        """Whether both have intervals and those do not overlap."""
        known = all(np.isfinite([i.low, i.high]).all() for i in (self.parabolas, self.law))
        return known and not self.parabolas.overlaps(self.law)

    @property
    def grid_bias(self) -> bool:
        """Whether the grid alone moves the parabolas' exponent out of the law's interval."""
        return bool(
            np.isfinite([self.parabolas_of_law, self.law.low]).all()
            and not self.law.low <= self.parabolas_of_law <= self.law.high
        )


@dataclass(frozen=True, kw_only=True)
class Routes:
    mean_recurrence: Route
    tokens: Route
    warnings: tuple[str, ...]
    """Plain sentences: where the routes disagree, and what is wrong with the grid."""


def two_routes(
    points: ModelPoints, isoflop: IsoflopFit, law: TrainingFit, frontier: Frontier | None
) -> Routes:
    """Both routes for one model; ``law`` may be unusable and ``frontier`` None."""
    of_law = _parabolas_of_law(points, law)
    routes = [
        Route(
            quantity=quantity,
            parabolas=getattr(isoflop, gamma).exponent,
            law=getattr(frontier, gamma) if frontier else NOTHING,
            parabolas_of_law=getattr(of_law, gamma).exponent.value if of_law else float("nan"),
        )
        for quantity, gamma in (
            ("mean recurrence", "gamma_mean_recurrence"),
            ("tokens", "gamma_tokens"),
        )
    ]
    warnings = _grid_warnings(points, isoflop)
    warnings += frontier.warnings if frontier else ()
    for route in routes:
        if route.disagree:
            warnings.append(
                f"the two routes disagree on the exponent of {route.quantity}: parabolas give "
                f"{_spell(route.parabolas)}, the training law's minimum {_spell(route.law)}"
            )
        if route.grid_bias:
            warnings.append(
                f"on this grid parabolas are biased: through the training law's own losses they give "
                f"{route.parabolas_of_law:.3f} for {route.quantity}, where the law's minimum has "
                f"{_spell(route.law)}"
            )
    return Routes(mean_recurrence=routes[0], tokens=routes[1], warnings=tuple(warnings))


def _spell(value: Interval) -> str:
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def _parabolas_of_law(points: ModelPoints, law: TrainingFit) -> IsoflopFit | None:
    if not law.usable:
        return None
    grid = points.select(points.on_grid & points.sized)
    if not len(grid):
        return None
    smooth = law.predict(grid.effective_parameters, grid.tokens)
    return fit_isoflop(grid.flops, grid.mean_recurrence, grid.tokens, smooth, resamples=1)


def _grid_warnings(points: ModelPoints, isoflop: IsoflopFit) -> list[str]:
    warnings = []
    for optimum in isoflop.optima:
        budget = f"{optimum.flops:.3g} FLOPs"
        if not optimum.interior:
            warnings.append(f"{budget} has no optimum ({optimum.verdict}): {optimum.message}")
        warnings += [f"{budget}: {warning}" for warning in optimum.warnings]
    recurrences = points.mean_recurrence[points.on_grid]
    if not len(recurrences):
        return warnings
    low, high = recurrences.min(), recurrences.max()
    if high < NARROW * low:
        warnings.append(f"the grid is narrow: mean recurrences {low:g} to {high:g} show little of a curve")
    places = [
        np.log(o.mean_recurrence / low) / np.log(high / low)
        for o in isoflop.optima
        if o.verdict is Curve.INTERIOR
    ]
    if places and (max(places) < OFF_CENTRE or min(places) > 1 - OFF_CENTRE):
        if max(places) >= OFF_CENTRE:
            end, advice = high, "sample larger ones"
        elif low > 1:
            end, advice = low, "sample smaller ones"
        else:
            end, advice = low, "budgets as small as these hardly pay for a loop"
        warnings.append(f"the grid is off-centre: every optimum lies near mean recurrence {end:g}; {advice}")
    cubic = _cubic_significance(points, isoflop)
    if abs(cubic) > 4:
        warnings.append(
            f"the grid is too wide for parabolas: a cubic term is {abs(cubic):.1f} standard errors from zero "
            "over all budgets, so vertices are biased"
        )
    return warnings


def _cubic_significance(points: ModelPoints, isoflop: IsoflopFit) -> float:
    """Summed cubic coefficients over their standard error, noise pooled over budgets; 0 where undecided."""
    total = variance = squares = 0.0
    freedom = 0
    for optimum in isoflop.optima:
        at = points.on_grid & (points.flops == optimum.flops)
        logs, losses = np.log(points.mean_recurrence[at]), points.loss[at]
        if optimum.left_out or len(np.unique(logs)) < 5:
            continue
        scaled = (logs - logs.mean()) / np.ptp(logs)
        design = np.vander(scaled, 4, increasing=True)
        solution = np.linalg.lstsq(design, losses, rcond=None)[0]
        total += float(solution[3])
        variance += float(np.linalg.inv(design.T @ design)[3, 3])
        squares += float(((losses - design @ solution) ** 2).sum())
        freedom += len(losses) - 4
    if freedom < 4 or squares <= 0:
        return 0.0
    return total / float(np.sqrt(variance * squares / freedom))
