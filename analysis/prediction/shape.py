"""What a mean recurrence makes of a model: its effective parameters, and the one price of training it.

Whole recurrences cost what the planner says: `parcae.flops` with backward depth ceil(mu_rec / 2). A
continuous optimum, which exponents need, is priced by the smooth curve through the even recurrences' prices,
where ceil(mu_rec / 2) is mu_rec / 2. Imported runs of other models are priced by their own FLOPs / tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.convention import CountedFlops
from analysis.data.points import ModelPoints
from analysis.laws import Array, Data
from parcae.errors import InputError
from parcae.flops import Convention, flops_per_token
from parcae.presets import PRESETS

CONTRADICTION = 0.03
"""FLOPs / tokens further than this from the convention's price contradict it; achieved FLOPs are off by 1 or
2 % (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A model's parameters and training FLOPs per token, both straight lines in the mean recurrence."""

    once_parameters: float
    recurrent_parameters: float
    once_flops: float
    recurrent_flops: float
    """FLOPs per token and unit of mean recurrence, on the smooth curve."""
    truncated: bool = True
    """Whether backpropagation stops after ceil(mu_rec / 2) recurrences."""
    by_size: bool = False
    """Whether a `recurrence` is a unit of the parameters of models without a loop."""

    def parameters(self, mean_recurrence: ArrayLike) -> Array:
        return np.asarray(self.once_parameters + np.asarray(mean_recurrence) * self.recurrent_parameters)

    def flops_per_token(self, mean_recurrence: ArrayLike) -> Array:
        """The smooth price, of any mean recurrence."""
        return np.asarray(self.once_flops + np.asarray(mean_recurrence) * self.recurrent_flops)

    def price(self, mean_recurrence: ArrayLike) -> Array:
        """The planner's price, with a whole number of recurrences backward."""
        passes = np.asarray(mean_recurrence, dtype=float)
        if self.truncated:
            passes = (passes + 2 * np.ceil(passes / 2)) / 2
        return np.asarray(self.once_flops + passes * self.recurrent_flops)

    def data(self, mean_recurrence: Array, tokens: Array) -> Data:
        """What a form needs to know of runs at these mean recurrences and tokens."""
        sizes = self.parameters(mean_recurrence)
        if self.by_size:
            one, none = np.ones_like(sizes), np.zeros_like(sizes)
            return {"N": sizes, "D": tokens, "mu": one, "once": sizes, "recurrent": none}
        return {
            "N": sizes,
            "D": tokens,
            "mu": mean_recurrence,
            "once": np.full(np.shape(mean_recurrence), self.once_parameters),
            "recurrent": np.full(np.shape(mean_recurrence), self.recurrent_parameters),
        }


def shape_of(points: ModelPoints, convention: str | None = None) -> Shape | None:
    """The model's shape; None when its runs are of several shapes, have no loop or no known cost.

    A preset is priced by `parcae.flops` in the `convention` given, or else its runs' own; another model by
    its runs. ``InputError`` when a preset's runs cost otherwise than their convention says, and none is given
    that settles it.
    """
    if convention is not None and convention not in list(CountedFlops):
        raise InputError(f"there is no convention {convention!r}; give {_choices()}")
    points = points.select(points.sized)
    once, recurrent = np.unique(points.once_parameters), np.unique(points.recurrent_parameters)
    if len(once) != 1 or len(recurrent) != 1 or not np.isfinite(once[0]) or not recurrent[0] > 0:
        return None
    conventions = points.conventions if convention is None else (convention,)
    if points.model in PRESETS and len(conventions) == 1 and conventions[0] != CountedFlops.OWN:
        price = _preset_price(points.model, Convention(conventions[0]))
        if convention is None:
            _refuse_contradiction(points, price, conventions[0])
    else:
        own = _own_price(points)
        if own is None:
            return None
        price = own
    if not (price[0] > 0 and price[1] > 0):
        return None
    return Shape(
        once_parameters=float(once[0]),
        recurrent_parameters=float(recurrent[0]),
        once_flops=price[0],
        recurrent_flops=price[1],
        truncated=price[2],
    )


def _preset_price(model: str, convention: Convention) -> tuple[float, float, bool]:
    """FLOPs per token without a loop, those of a recurrence on the smooth curve, and whether it truncates."""
    zero, two = (
        flops_per_token(PRESETS[model].model, mean_recurrence=m, backward_depth=m / 2, convention=convention)
        for m in (0.0, 2.0)
    )
    return zero, (two - zero) / 2, convention is not Convention.UNROLLED


def _refuse_contradiction(points: ModelPoints, price: tuple[float, float, bool], convention: str) -> None:
    known = points.select(points.on_grid)
    shape = Shape(
        once_parameters=1.0,
        recurrent_parameters=1.0,
        once_flops=price[0],
        recurrent_flops=price[1],
        truncated=price[2],
    )
    if not len(known):
        return
    own, expected = known.flops / known.tokens, shape.price(known.mean_recurrence)
    ratio = own / expected
    if abs(np.log(np.median(ratio))) <= np.log1p(CONTRADICTION):
        return
    at = int(np.argsort(ratio)[len(ratio) // 2])
    raise InputError(
        f"{points.model}: run {known.run_ids[at]} of mean recurrence {known.mean_recurrence[at]:g} spent "
        f"{own[at]:.4g} FLOPs per token, but convention {convention!r} counts {expected[at]:.4g}; say how "
        f"the FLOPs were counted with --convention: {_choices()}"
    )


def _choices() -> str:
    return f"{', '.join(c.value for c in Convention)}, or {CountedFlops.OWN} for FLOPs / tokens as they are"


def _own_price(points: ModelPoints) -> tuple[float, float, bool] | None:
    """The line through FLOPs / tokens of runs at two or more mean recurrences, truncated or not.

    Both are the same at even recurrences; where others tell them apart, the one nearer the runs.
    """
    points = points.select(points.on_grid & points.sized)
    if len(np.unique(points.mean_recurrence)) < 2:
        return None
    found = []
    for truncated in (True, False):
        passes = points.mean_recurrence
        if truncated:
            passes = (passes + 2 * np.ceil(passes / 2)) / 2
        if len(np.unique(passes)) < 2:
            continue
        cost = points.flops / points.tokens
        line = own_line(cost, passes)
        off = float(np.abs((line[0] + line[1] * passes) / cost - 1).max())
        found.append((off - 1e-4 * truncated, (*line, truncated)))
    return min(found)[1]


def own_line(cost: Array, places: Array) -> tuple[float, float]:
    """The straight line through FLOPs per token (n,) at `places` (n,): its start and slope, by relative
    errors."""
    design = np.stack([np.ones(len(places)), places], axis=1) / cost[:, None]
    solution = np.linalg.lstsq(design, np.ones(len(places)), rcond=None)[0]
    return float(solution[0]), float(solution[1])
