"""Models without a loop: the law's best size and tokens for a budget (Hoffmann et al., approach 3).

Minimise L over the parameters N, with D = C / price(N). A token costs what the runs' own FLOPs / tokens say,
a straight line in N, or else 6 N (Kaplan et al. arXiv 2001.08361). The search is that of
`analysis.prediction.frontier`: N counts in the smallest size trained, as a loop's recurrences do.
Shapes: R parameter rows (the fit, or draws), B budgets.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.points import ModelPoints, spaced
from analysis.engine.formatting import brief, number, spell, table
from analysis.engine.intervals import NOTHING, Interval, finite, holding
from analysis.engine.mixture import Mixture
from analysis.laws import Array, Mask
from analysis.prediction.budgets import beyond_trained, budget_for, too_far
from analysis.prediction.exponents import Exponents, Optima
from analysis.prediction.frontier import SHALLOWEST, best_recurrence, loss_at
from analysis.prediction.shape import Shape, own_line
from parcae.errors import InputError
from sweeps.store.rows import NO_LOOP

FACTOR = 2.0
"""Sizes up to this factor beyond the trained ones are believed, as recurrences are (assumption)."""
MOST_BUDGETS = 200
"""Budgets that a frontier has, at even distances, of a study with more."""
ROWS = 12


@dataclass(frozen=True, kw_only=True)
class SizePrice:
    """What a model of any size costs, from the runs of a study."""

    shape: Shape
    """N as `recurrences` of the smallest size trained."""
    trained: tuple[float, float]
    """Smallest and largest parameters trained."""
    spent: tuple[float, float]
    """Smallest and largest FLOPs of the runs at this price."""
    own: bool
    """Whether the price is that of the runs' own FLOPs, not 6 N."""

    @property
    def costs(self) -> str:
        """Where the price comes from, in words."""
        return "the runs' own FLOPs" if self.own else "C = 6 N D"

    def cost_per_token(self, parameters: ArrayLike) -> Array:
        return self.shape.flops_per_token(np.asarray(parameters) / self.shape.recurrent_parameters)


def size_price(points: ModelPoints) -> SizePrice | None:
    """The price of a token by size; None for loops, and for runs of one size."""
    sized = points.select(points.sized)
    if points.architecture != NO_LOOP or len(np.unique(sized.effective_parameters)) < 2:
        return None
    smallest = float(sized.effective_parameters.min())
    line = (0.0, 6 * smallest)
    given = sized.select(np.isfinite(sized.flops))
    if len(given):
        units = given.effective_parameters / smallest
        found = own_line(given.flops / given.tokens, units) if len(np.unique(units)) > 1 else None
        steady = (0.0, float(np.median(given.flops / given.tokens / units)))
        line = found if found is not None and found[0] >= 0 and found[1] > 0 else steady
    shape = Shape(
        once_parameters=0.0,
        recurrent_parameters=smallest,
        once_flops=line[0],
        recurrent_flops=line[1],
        truncated=False,
        by_size=True,
    )
    spent = sized.tokens * shape.flops_per_token(sized.effective_parameters / smallest)
    return SizePrice(
        shape=shape,
        trained=(smallest, float(sized.effective_parameters.max())),
        spent=(float(spent.min()), float(spent.max())),
        own=bool(len(given)),
    )


@dataclass(frozen=True, kw_only=True)
class SizePoint:
    """The law's optimum for a budget; NaN where it lies further out than the runs support."""

    flops: float
    parameters: Interval
    tokens: Interval
    loss: Interval

    @property
    def supported(self) -> bool:
        return bool(np.isfinite(self.loss.value))

    def to_dict(self) -> dict[str, Any]:
        return {
            "flops": self.flops,
            "parameters": self.parameters.to_dict(),
            "tokens": self.tokens.to_dict(),
            "loss": self.loss.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class SizeFrontier:
    form: str
    """The form whose optima these are."""
    points: tuple[SizePoint, ...]
    optima: Optima
    exponents: Exponents
    """Over every budget with an optimum."""
    price: SizePrice
    warnings: tuple[str, ...]
    """A sentence on the budgets whose optimum the runs do not support."""

    def to_dict(self) -> list[dict[str, Any]]:
        return [point.to_dict() for point in self.points]

    def summary(self) -> str:
        low, high = self.price.trained
        trained = f"trained were {number(low, 3)} to {number(high, 3)} parameters"
        lines = [f"Optima of the {self.form} law, {self.price.costs}; {trained}"]
        if self.exponents.flops:
            lines.append(
                f"exponents over {self.exponents.over_budgets}: parameters "
                f"{spell(self.exponents.on_axis)}, tokens {spell(self.exponents.tokens)}"
            )
        rows = [
            (f"{p.flops:.3g}", spell(p.parameters), spell(p.tokens), spell(p.loss, 4))
            for p in spaced(self.points, ROWS)
        ]
        return "\n".join([*lines, table(("FLOPs", "N*", "D*", "loss*"), rows)])


def size_frontier(mixture: Mixture | None, points: ModelPoints) -> SizeFrontier | None:
    """Optima and exponents over the budgets of runs without a loop; None where no form knows a size."""
    price = size_price(points)
    if mixture is None or price is None:
        return None
    flops = np.array(spaced(points.budgets.tolist(), MOST_BUDGETS))
    value, draws, weights = _sizes(mixture, price, flops)
    supported = _supported(value, price)
    rows = np.concatenate([value[None], draws])
    rows = np.where(supported, rows, np.nan)
    optima = Optima(flops=flops, on_axis=rows, tokens=flops / price.cost_per_token(rows), weights=weights)
    exponents = optima.exponents(flops[supported].tolist())
    beyond = np.flatnonzero(~supported)
    warnings = []
    if len(beyond):
        worst = beyond[-1]
        warnings.append(
            f"{len(beyond)} of {len(flops)} budgets have no optimum that the runs support: at "
            f"{flops[worst]:.3g} FLOPs the {mixture.law.name} law puts it at {value[worst]:.3g} parameters, "
            f"and {price.trained[0]:.3g} to {price.trained[1]:.3g} were trained"
        )
    return SizeFrontier(
        form=mixture.law.name,
        points=tuple(
            _point(mixture, price, float(c), value[i], draws[:, i], weights)
            if supported[i]
            else SizePoint(flops=float(c), parameters=NOTHING, tokens=NOTHING, loss=NOTHING)
            for i, c in enumerate(flops)
        ),
        optima=optima,
        exponents=exponents,
        price=price,
        warnings=tuple(warnings),
    )


def _sizes(mixture: Mixture, price: SizePrice, flops: Array) -> tuple[Array, Array, Array]:
    """Best parameters at each budget (B,), their draws (R, B) and the draws' weights (R,)."""
    shape = price.shape
    return mixture.evaluate(
        lambda law, rows: best_recurrence(rows, shape, flops, law) * shape.recurrent_parameters
    )


def _supported(parameters: Array, price: SizePrice) -> Mask:
    low, high = price.trained
    return np.asarray((parameters >= low / FACTOR) & (parameters <= high * FACTOR))


def _point(
    mixture: Mixture, price: SizePrice, flops: float, value: float, draws: Array, weights: Array
) -> SizePoint:
    tokens = flops / price.cost_per_token(np.append(value, draws))
    return SizePoint(
        flops=flops,
        parameters=holding(float(value), draws, weights),
        tokens=holding(float(tokens[0]), tokens[1:], weights),
        loss=loss_at(mixture, price.shape, value / price.shape.recurrent_parameters, float(tokens[0])),
    )


@dataclass(frozen=True, kw_only=True, repr=False)
class SizePrediction:
    """The best size without a loop for a budget, and the loss to expect there."""

    model: str
    form: str
    alike: tuple[str, ...]
    """The forms that cannot be distinguished from it; their spread is in the intervals."""
    best: SizePoint
    extrapolated: tuple[str, ...]
    warnings: tuple[str, ...]
    costs: str

    def __repr__(self) -> str:
        return brief(self, "model", "form", "best")

    @property
    def loss(self) -> Interval:
        return self.best.loss

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit predict --json` prints."""
        return {
            "model": self.model,
            "form": self.form,
            "alike": list(self.alike),
            "flops": self.best.flops,
            "mean_recurrence": 1.0,
            "parameters": finite(self.best.parameters.value),
            "tokens": finite(self.best.tokens.value),
            "loss": self.best.loss.to_dict(),
            "intervals": {
                "parameters": self.best.parameters.to_dict(),
                "tokens": self.best.tokens.to_dict(),
            },
            "test_time": [],
            "extrapolated": list(self.extrapolated),
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        beside = f", widened by {' and '.join(self.alike)}" if self.alike else ""
        return "\n".join(
            [
                f"{self.model} at {self.best.flops:.3g} FLOPs ({self.costs}), by the {self.form} law{beside}",
                f"best parameters  {spell(self.best.parameters)}",
                f"tokens           {spell(self.best.tokens)}",
                f"loss (nats)      {spell(self.best.loss, 4)}",
                *(f"extrapolated: {sentence}" for sentence in self.extrapolated),
            ]
        )


def predict_size(
    mixture: Mixture,
    points: ModelPoints,
    *,
    flops: float | None,
    tokens: float | None,
    extrapolate: bool,
    alike: tuple[str, ...],
) -> SizePrediction:
    """The best parameters and tokens for `flops`, or for the budget whose best tokens are `tokens`.

    ``InputError`` where the budget, or the optimum, lies further out than the runs support, and `extrapolate`
    is not given.
    """
    price = size_price(points)
    if price is None:
        raise InputError(
            f"cannot predict for {points.model!r}: it takes runs of two or more sizes, with their tokens"
        )
    budget = flops if flops is not None else budget_for(mixture, price.shape, float(tokens or 0), SHALLOWEST)
    value, draws, weights = _sizes(mixture, price, np.array([budget]))
    warnings = too_far(points.model, price.spent, budget)
    if not _supported(value, price)[0]:
        least, most = price.trained[0] / FACTOR, price.trained[1] * FACTOR
        warnings.append(
            f"the law puts the best size at {value[0]:.3g} parameters, too far from the runs of "
            f"{points.model}, which support {least:.3g} to {most:.3g}"
        )
    if warnings and not extrapolate:
        raise InputError(f"{warnings[0]}; use --extrapolate to predict it anyway")
    extrapolated = beyond_trained(price.spent, budget)
    smallest, largest = price.trained
    if not smallest <= value[0] <= largest:
        extrapolated.append(
            f"{value[0]:.3g} parameters lie beyond the trained {smallest:.3g} to {largest:.3g}"
        )
    best = _point(mixture, price, budget, value[0], draws[:, 0], weights)
    return SizePrediction(
        model=points.model,
        form=mixture.law.name,
        alike=alike,
        best=best,
        extrapolated=tuple(extrapolated),
        warnings=tuple(warnings),
        costs=price.costs,
    )
