"""Two routes to the optimum side by side: isoFLOP parabolas and the training law's own minimum.

Both estimate mu_rec* = k C^gamma and D* = k' C^gamma'. Parabolas need no law but are biased when a grid is
off-centre, or so wide that the loss is no parabola (Czech et al. arXiv 2603.22339); the law extrapolates but
believes in its form. Parabolas corrected for their bias (`analysis.fits.isoflop.bias`) take that bias alone
from the laws, so they are believed where the routes disagree. Only exponents over the same budgets are
compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.data.axis import Axis
from analysis.data.budgets import places_of
from analysis.data.points import ModelPoints
from analysis.engine.fit import LawFit
from analysis.engine.formatting import number, over_budgets, spell, table
from analysis.engine.intervals import NOTHING, Interval, finite
from analysis.fits.forms import form_data
from analysis.fits.isoflop.fit import fit_isoflop
from analysis.fits.isoflop.optimum import CurveVerdict
from analysis.fits.isoflop.power_law import FEWEST_OPTIMA, PowerLaw, slope
from analysis.fits.isoflop.result import IsoflopFit
from analysis.prediction.frontier import Frontier
from analysis.prediction.sizes import SizeFrontier

NARROW = 3.0
"""A grid whose largest recurrence is less than this many times its smallest shows little of a curve."""
OFF_CENTRE = 0.25
"""Vertices that all lie within this fraction of the grid's ends (in logs) make it off-centre."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Every estimate of one exponent over the same budgets, and what parabolas make of the law's losses."""

    quantity: str
    budgets: tuple[float, ...]
    parabolas: Interval
    """Plain: the paper's method."""
    corrected: Interval
    """With the parabolas' bias taken off; none unless the laws' optima are all in the sampled range."""
    law: Interval
    parabolas_of_law: float
    within: "Route | None" = None
    """The same over the budgets of the corrected exponent, where those are fewer."""

    @property
    def compared(self) -> "Route":
        """The routes over the budgets that all of them have."""
        return self.within or self

    @property
    def known(self) -> bool:
        """Whether there is any estimate."""
        values = (self.parabolas.value, self.corrected.value, self.law.value)
        return bool(np.isfinite(values).any())

    @property
    def disagree(self) -> bool:
        """Whether the law and the parabolas, corrected if they are, have intervals that do not overlap."""
        ours = self.corrected if _known(self.corrected) else self.parabolas
        return _known(ours) and _known(self.law) and not ours.overlaps(self.law)

    @property
    def biased(self) -> bool:
        """Whether the plain exponent is outside the interval of the corrected one."""
        return _known(self.corrected) and not (
            self.corrected.low <= self.parabolas.value <= self.corrected.high
        )

    @property
    def believed(self) -> str:
        """Which exponent is believed, and why; empty if there is only one or all agree."""
        if not _known(self.law) or not np.isfinite(self.parabolas.value):
            return ""
        if self.disagree and _known(self.corrected):
            return (
                f"for {self._over} trust the corrected parabolas, {_spell(self.corrected)}: the law's own "
                f"{_spell(self.law)} depends on the form of the law"
            )
        if self.disagree:
            return (
                f"for {self._over} trust neither: parabolas give {_spell(self.parabolas)}, the law "
                f"{_spell(self.law)}, and the parabolas' bias is unknown"
            )
        if self.biased:
            return (
                f"for {self._over} trust the corrected parabolas, {_spell(self.corrected)}: plain "
                f"parabolas are biased on this grid; corrected, they agree with the law's {_spell(self.law)}"
            )
        return ""

    @property
    def _over(self) -> str:
        return f"{self.quantity} over {over_budgets(self.budgets)}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "exponent_of": self.quantity,
            "budgets": list(self.budgets),
            "parabolas": self.parabolas.to_dict(),
            "corrected": self.corrected.to_dict(),
            "law": self.law.to_dict(),
            "parabolas_of_law": finite(self.parabolas_of_law),
        }


def _known(value: Interval) -> bool:
    return bool(np.isfinite([value.low, value.high]).all())


@dataclass(frozen=True, kw_only=True)
class Routes:
    mean_recurrence: Route
    """Or of parameters, where those are the axis."""
    tokens: Route
    warnings: tuple[str, ...]
    """Plain sentences: where the routes disagree, and what is wrong with the grid."""

    @property
    def rows(self) -> tuple[Route, ...]:
        """All exponents that there is an estimate of, each over its budgets."""
        both = (self.mean_recurrence, self.tokens)
        return tuple(one for route in both for one in (route, route.within) if one and one.known)

    @property
    def believed(self) -> tuple[str, ...]:
        """Which exponents are believed, and why, where the routes differ."""
        both = (self.mean_recurrence.compared, self.tokens.compared)
        return tuple(route.believed for route in both if route.believed)

    def to_dict(self) -> dict[str, Any]:
        return {
            "training_law": {
                "gamma_mean_recurrence": self.mean_recurrence.law.to_dict(),
                "gamma_tokens": self.tokens.law.to_dict(),
            },
            "routes": [route.to_dict() for route in self.rows],
            "believed": list(self.believed),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        rows = [
            (
                route.quantity,
                f"{len(route.budgets)}: {route.budgets[0]:.3g} to {route.budgets[-1]:.3g}",
                spell(route.parabolas),
                spell(route.corrected),
                spell(route.law),
                number(route.parabolas_of_law, 3),
            )
            for route in self.rows
        ]
        columns = (
            "exponent of",
            "over budgets",
            "parabolas",
            "corrected",
            "law's minimum",
            "parabolas of the law",
        )
        return "\n".join([*([table(columns, rows)] if rows else []), *self.believed])


def two_routes(
    points: ModelPoints, isoflop: IsoflopFit, law: LawFit | None, frontier: Frontier | SizeFrontier | None
) -> Routes:
    """Both routes for one model; `law` is the chosen form, None if there is none."""
    of_law = _parabolas_of_law(points, law)
    first, second = (
        _route(isoflop, frontier, of_law, quantity, gamma)
        for quantity, gamma in (_first(isoflop.axis), ("tokens", "gamma_tokens"))
    )
    warnings = [*isoflop.warnings, *_grid_warnings(isoflop)]
    warnings += frontier.warnings if frontier else ()
    for route in (first.compared, second.compared):
        over = over_budgets(route.budgets) if route.budgets else ""
        if route.disagree:
            ours = route.corrected if _known(route.corrected) else route.parabolas
            warnings.append(
                f"the two routes disagree on the exponent of {route.quantity} over {over}: parabolas give "
                f"{_spell(ours)}, the law's own minimum {_spell(route.law)}"
            )
        if route.biased:
            warnings.append(
                f"parabolas are biased on this grid: the exponent of {route.quantity} over {over} is "
                f"{_spell(route.corrected)} when corrected, and {route.parabolas.value:.3f} when not"
            )
    return Routes(mean_recurrence=first, tokens=second, warnings=tuple(warnings))


def _route(
    isoflop: IsoflopFit,
    frontier: Frontier | SizeFrontier | None,
    of_law: IsoflopFit | None,
    quantity: str,
    gamma: str,
) -> Route:
    """All estimates of the exponent `gamma`, over the parabolas' budgets and over the corrected ones'."""
    name, found = gamma.removeprefix("gamma_"), isoflop.corrected

    def route(plain: PowerLaw, corrected: Interval, within: Route | None = None) -> Route:
        law = frontier.optima.exponents(plain.budgets) if frontier else None
        return Route(
            quantity=quantity,
            budgets=plain.budgets,
            parabolas=plain.exponent,
            corrected=corrected,
            law=NOTHING if law is None else law.tokens if name == "tokens" else law.on_axis,
            parabolas_of_law=_slope_of(of_law, name, plain.budgets),
            within=within,
        )

    everywhere: PowerLaw = getattr(isoflop, gamma)
    if found is None or gamma not in ("gamma_tokens", f"gamma_{isoflop.axis.column}"):
        return route(everywhere, NOTHING)
    tokens = gamma == "gamma_tokens"
    corrected = (found.gamma_tokens if tokens else found.gamma_axis).exponent
    plain = found.plain_tokens if tokens else found.plain_axis
    if plain.budgets == everywhere.budgets or not _known(corrected):
        return route(everywhere, corrected)
    return route(everywhere, NOTHING, route(plain, corrected))


def _slope_of(of_law: IsoflopFit | None, name: str, budgets: Sequence[float]) -> float:
    """The exponent over these budgets of the parabolas through the law's own losses."""
    if of_law is None or len(budgets) < FEWEST_OPTIMA:
        return float("nan")
    at = places_of(budgets, np.array([optimum.flops for optimum in of_law.optima]))
    if (at < 0).any():
        return float("nan")
    vertices = np.array([getattr(of_law.optima[i], name) for i in at])
    if not np.isfinite(vertices).all():
        return float("nan")
    return float(slope(np.log(budgets), np.log(vertices)[None])[0][0])


def _first(axis: Axis) -> tuple[str, str]:
    """The exponent beside that of tokens, and its name."""
    size = Axis.PARAMETERS if axis is Axis.PARAMETERS else Axis.MEAN_RECURRENCE
    return size.words, f"gamma_{size.column}"


def _spell(value: Interval) -> str:
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def _parabolas_of_law(points: ModelPoints, law: LawFit | None) -> IsoflopFit | None:
    if law is None or not law.usable:
        return None
    grid = points.select(points.on_grid & points.sized)
    if not len(grid):
        return None
    smooth = law.law.predict(law.vector, form_data(grid))[0]
    return fit_isoflop(grid.flops, grid.mean_recurrence, grid.tokens, smooth, laws=(), resamples=1)


def _grid_warnings(isoflop: IsoflopFit) -> list[str]:
    warnings = []
    for optimum in isoflop.optima:
        budget = f"{optimum.flops:.3g} FLOPs"
        if not optimum.interior:
            warnings.append(f"{budget} has no optimum ({optimum.verdict}): {optimum.message}")
        warnings += [f"{budget}: {warning}" for warning in optimum.warnings]
    sampled = [np.exp(optimum.curve.log_v) for optimum in isoflop.optima]
    if not sampled:
        return warnings
    along = isoflop.axis.words
    low, high = min(v.min() for v in sampled), max(v.max() for v in sampled)
    if isoflop.axis is Axis.MEAN_RECURRENCE and high < NARROW * low:
        warnings.append(f"the grid is narrow: mean recurrences {low:g} to {high:g} show little of a curve")
    places = [
        np.log(o.on_axis / v.min()) / np.log(v.max() / v.min())
        for o, v in zip(isoflop.optima, sampled, strict=True)
        if o.verdict is CurveVerdict.INTERIOR
    ]
    if places and (max(places) < OFF_CENTRE or min(places) > 1 - OFF_CENTRE):
        upper = max(places) >= OFF_CENTRE
        advice = "sample larger ones" if upper else "sample smaller ones"
        if isoflop.axis is Axis.MEAN_RECURRENCE and not upper and low <= 1:
            advice = "budgets as small as these hardly pay for a loop"
        end = "largest" if upper else "smallest"
        if isoflop.axis is Axis.MEAN_RECURRENCE:
            end = f"{along} {high if upper else low:g}"
        else:
            end = f"the {end} {along}"
        warnings.append(f"the grid is off-centre: every optimum lies near {end}; {advice}")
    cubic = _cubic_significance(isoflop)
    if abs(cubic) > 4:
        warnings.append(
            f"the grid is too wide for parabolas: a cubic term is {abs(cubic):.1f} standard errors from zero "
            "over all budgets, so vertices are biased"
        )
    return warnings


def _cubic_significance(isoflop: IsoflopFit) -> float:
    """Summed cubic coefficients over their standard error, noise pooled over budgets; 0 where undecided."""
    total = variance = squares = 0.0
    freedom = 0
    for optimum in isoflop.optima:
        logs, losses, weight = optimum.curve.log_v, optimum.curve.losses, optimum.curve.weight
        if optimum.left_out or len(np.unique(logs)) < 5:
            continue
        scaled = (logs - logs.mean()) / np.ptp(logs)
        design = np.vander(scaled, 4, increasing=True)
        solution = np.linalg.lstsq(design, losses, rcond=None)[0]
        total += float(solution[3])
        variance += float(np.linalg.inv(design.T @ design)[3, 3]) / weight
        squares += weight * float(((losses - design @ solution) ** 2).sum())
        freedom += len(losses) - 4
    if freedom < 4 or squares <= 0:
        return 0.0
    return total / float(np.sqrt(variance * squares / freedom))
