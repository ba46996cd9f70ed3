"""Is one recipe better than another? Two models compared at equal compute, with a verdict that can say no.

Each side's lowest loss at a budget is its law's: over the whole recurrences that were trained at the
planner's price, or without a loop what the budget buys of tokens. Differences of two estimates with intervals
get theirs by the method of variance estimates recovery (Zou and Donner 2008), with the correlation that the
residuals of matching cells show, which are alike where both sides share seeds and data. The
compute-equivalent gain is the factor of compute that makes B as good as A.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from analysis.data.budgets import grouped_budgets
from analysis.data.points import ModelPoints
from analysis.engine.formatting import spell, table
from analysis.engine.intervals import NOTHING, RESAMPLES, Interval, finite
from analysis.engine.mixture import Mixture
from analysis.fits.equivalence import study_equivalence
from analysis.fits.forms import ModelForms, fit_forms
from analysis.laws import Array, Law
from analysis.prediction.budgets import supported
from analysis.prediction.frontier import Frontier, frontier, trained_range, whole_losses
from analysis.prediction.shape import Shape, shape_of
from parcae.errors import InputError

SURE = 2.576 / 1.960
"""A verdict takes 99 % limits, this many times as wide as the 95 % ones that are printed: of a hundred
comparisons of equals, one may be called otherwise."""
FEWEST_PAIRS = 8
"""Matching cells below which no correlation is estimated."""
MOST_RUNS = 1000
STEPS = 200
"""Of the budgets that the compute-equivalent gain is looked up in."""


class Answer(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    NOT_RESOLVED = "not resolved"


@dataclass(frozen=True, kw_only=True)
class AtBudget:
    """Both sides at one budget."""

    flops: float
    loss_a: Interval
    loss_b: Interval
    difference_percent: Interval
    """How far A's loss lies above B's; below if negative."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "flops": self.flops,
            "loss_a": self.loss_a.to_dict(),
            "loss_b": self.loss_b.to_dict(),
            "difference_percent": self.difference_percent.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two studies say of A against B."""

    a: str
    b: str
    answer: Answer
    """On A, by the loss at the largest budget that both reach."""
    message: str
    decisive: AtBudget
    budgets: tuple[AtBudget, ...]
    """Every budget of either side within the range of both."""
    compute_gain: Interval
    """Compute-equivalent gain: B needs this many times A's compute for A's loss; below 1 where A is worse."""
    gamma_mean_recurrence: Interval
    """Difference of the exponents, A's less B's, each over its own budgets; NaN without a loop."""
    gamma_tokens: Interval
    phi: Interval
    """Difference of what a recurrence is worth, A's less B's; NaN without a loop."""
    pairs: int
    """Matching cells: runs of both at one budget and mean recurrence."""
    correlation: float
    """Of the residuals in matching cells, as far as they prove one."""
    more_runs: int | None
    """About how many more runs of each would resolve a difference of this size; None if it is resolved, or if
    more than a thousand would not."""

    def summary(self) -> str:
        """The verdict, then what it rests on."""
        rows = [
            (f"{one.flops:.3g}", spell(one.loss_a, 4), spell(one.loss_b, 4), spell(one.difference_percent, 2))
            for one in self.budgets
        ]
        lines = [
            self.message,
            "",
            table(("FLOPs", "A: lowest loss", "B: lowest loss", "A over B, %"), rows),
            "",
            f"compute-equivalent gain of A  {spell(self.compute_gain, 3)}",
        ]
        apart = (("mean recurrence", self.gamma_mean_recurrence), ("tokens", self.gamma_tokens))
        lines += [
            f"exponent of {what}, A less B  {spell(value, 3)}"
            for what, value in apart
            if np.isfinite(value.value)
        ]
        if np.isfinite(self.phi.value):
            lines.append(f"phi, A less B  {spell(self.phi, 3)}")
        lines.append(
            f"{self.pairs} matching cells; correlation of their residuals taken as {self.correlation:.2f}"
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit versus --json` prints."""
        return {
            "a": self.a,
            "b": self.b,
            "answer": self.answer.value,
            "message": self.message,
            **self.decisive.to_dict(),
            "compute_equivalent_gain": self.compute_gain.to_dict(),
            "gamma_mean_recurrence": self.gamma_mean_recurrence.to_dict(),
            "gamma_tokens": self.gamma_tokens.to_dict(),
            "phi": self.phi.to_dict(),
            "budgets": [one.to_dict() for one in self.budgets],
            "pairs": self.pairs,
            "correlation": finite(self.correlation),
            "more_runs": self.more_runs,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One recipe: its runs, laws and price."""

    name: str
    points: ModelPoints
    forms: ModelForms
    mixture: Mixture
    shape: Shape | None
    """None without a loop."""
    frontier: Frontier | None

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest trained budget."""
        budgets = self.points.budgets
        return float(budgets[0]), float(budgets[-1])

    def lowest(self, law: Law, rows: Array, flops: Array) -> Array:
        """The lowest loss (R, B) for each budget, nats."""
        if self.shape is not None:
            low, high = trained_range(self.points)
            recurrences = np.arange(np.ceil(low), np.floor(high) + 1)
            return np.asarray(whole_losses(law, rows, self.shape, flops, recurrences).min(axis=-1))
        size = np.full(len(flops), self.points.effective_parameters[0])
        one = np.ones(len(flops))
        tokens = flops / np.median(self.points.flops / self.points.tokens)
        data = {"N": size, "D": tokens, "mu": one, "once": size, "recurrent": 0 * one}
        return law.predict(rows, data)

    def losses(self, flops: Array) -> list[Interval]:
        return self.mixture.intervals(lambda law, rows: self.lowest(law, rows, flops))


def side_of(
    name: str,
    points: ModelPoints,
    *,
    convention: str | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Side:
    """One side of a comparison. ``InputError`` if its laws or the price of its tokens are unknown."""
    points = points.select(points.sized & np.isfinite(points.flops))
    if len(points.budgets) < 2:
        raise InputError(
            f"cannot compare {name}: {len(points)} runs with FLOPs, parameters and tokens at "
            f"{len(points.budgets)} budgets; it takes at least two budgets"
        )
    loops = len(np.unique(points.mean_recurrence)) > 1
    shape = shape_of(points, convention) if loops else None
    if shape is None and (loops or len(np.unique(points.effective_parameters)) > 1):
        raise InputError(
            f"cannot compare {name}: its lowest loss at a budget is unknown; it takes runs of one shape with "
            "their FLOPs, over mean recurrences or without a loop"
        )
    forms = fit_forms(points, resamples=resamples, seed=seed)
    mixture = forms.together()
    if mixture is None:
        fit = next(iter(forms.forms.values())).fit
        raise InputError(f"cannot compare {name}: no form of the law is decided: {fit.message}")
    along = frontier(forms.mixture, points, shape, points.budgets) if shape is not None else None
    return Side(name=name, points=points, forms=forms, mixture=mixture, shape=shape, frontier=along)


def versus(a: Side, b: Side) -> Comparison:
    """A against B. ``InputError`` if no budget lies within the trained ranges of both."""
    low, high = max(a.range[0], b.range[0]), min(a.range[1], b.range[1])
    if low > high * 1.01:
        spans = " and ".join(f"{s.name} from {s.range[0]:.3g} to {s.range[1]:.3g} FLOPs" for s in (a, b))
        raise InputError(f"cannot compare at equal compute: the runs share no budget, {spans}")
    every = np.unique(grouped_budgets(np.concatenate([a.points.flops, b.points.flops])))
    flops = every[(every >= low * 0.99) & (every <= high * 1.01)]
    pairs, correlation = _correlation(a, b)
    budgets = tuple(
        AtBudget(flops=float(c), loss_a=x, loss_b=y, difference_percent=_percent(x, y, correlation))
        for c, x, y in zip(flops, a.losses(flops), b.losses(flops), strict=True)
    )
    decisive = budgets[-1]
    answer, more = _answer(decisive.difference_percent, len(a.points) + len(b.points))
    gammas = [
        difference(getattr(a.frontier, which), getattr(b.frontier, which), correlation)
        if a.frontier and b.frontier
        else NOTHING
        for which in ("gamma_mean_recurrence", "gamma_tokens")
    ]
    return Comparison(
        a=a.name,
        b=b.name,
        answer=answer,
        message=_sentence(a.name, b.name, decisive, answer, more),
        decisive=decisive,
        budgets=budgets,
        compute_gain=_compute_gain(b, decisive),
        gamma_mean_recurrence=gammas[0],
        gamma_tokens=gammas[1],
        phi=_phi(a.points, b.points),
        pairs=pairs,
        correlation=correlation,
        more_runs=more,
    )


def difference(a: Interval, b: Interval, correlation: float = 0.0) -> Interval:
    """a - b with limits recovered from theirs (Zou and Donner 2008, equation 3); none where either has none.

    `correlation` is that of the two estimates.
    """
    value = a.value - b.value
    if not np.isfinite([a.low, a.high, b.low, b.high]).all():
        return Interval(value=value, low=float("nan"), high=float("nan"))
    below, above = (a.value - a.low, b.high - b.value), (a.high - a.value, b.value - b.low)

    def length(own: float, other: float) -> float:
        return float(np.sqrt(max(own**2 + other**2 - 2 * correlation * own * other, 0.0)))

    return Interval(value=value, low=value - length(*below), high=value + length(*above))


def _percent(a: Interval, b: Interval, correlation: float) -> Interval:
    logs = [Interval(**{k: float(np.log(v)) for k, v in vars(one).items()}) for one in (a, b)]
    found = difference(logs[0], logs[1], correlation)
    return Interval(**{k: 100 * float(np.expm1(v)) for k, v in vars(found).items()})


def _correlation(a: Side, b: Side) -> tuple[int, float]:
    """Matching cells, and the correlation of both sides' residuals there: its one-sided 95 % lower limit by
    Fisher's z, and no less than 0, for what is not proved must not narrow an interval."""
    labels = grouped_budgets(np.concatenate([a.points.flops, b.points.flops]))
    keys = [
        list(zip(which, side.points.mean_recurrence, side.points.seeds, strict=True))
        for side, which in ((a, labels[: len(a.points)]), (b, labels[len(a.points) :]))
    ]
    of_b = {_key(key): i for i, key in enumerate(keys[1])}
    found = [(i, of_b[_key(key)]) for i, key in enumerate(keys[0]) if _key(key) in of_b]
    pairs = len(found)
    residuals = [_residuals(side)[[pair[which] for pair in found]] for which, side in enumerate((a, b))]
    freedom = pairs - max(len(side.mixture.law.parameters) for side in (a, b))
    if pairs < FEWEST_PAIRS or freedom < 4 or min(values.std() for values in residuals) == 0:
        return pairs, 0.0
    raw = float(np.corrcoef(residuals[0], residuals[1])[0, 1])
    lower = np.tanh(np.arctanh(np.clip(raw, -0.999, 0.999)) - 1.645 / np.sqrt(freedom - 3))
    return pairs, max(float(lower), 0.0)


def _key(cell: tuple[float, float, float]) -> tuple[float, float, float]:
    """Seeds that are not known match each other."""
    budget, recurrence, seed = cell
    return float(budget), float(recurrence), float(seed) if np.isfinite(seed) else -1.0


def _residuals(side: Side) -> Array:
    chosen = side.forms.chosen
    assert chosen is not None
    return chosen.fit.residuals


def _answer(difference_percent: Interval, runs: int) -> tuple[Answer, int | None]:
    """The verdict on A, and how many more runs of each would make one."""
    value = difference_percent.value
    low = value - SURE * (value - difference_percent.low)
    high = value + SURE * (difference_percent.high - value)
    if high < 0:
        return Answer.BETTER, None
    if low > 0:
        return Answer.WORSE, None
    half = (high - value) if value < 0 else (value - low)
    if not np.isfinite(half) or value == 0:
        return Answer.NOT_RESOLVED, None
    more = runs / 2 * ((half / abs(value)) ** 2 - 1)  # errors fall as the root of the runs
    return Answer.NOT_RESOLVED, int(np.ceil(more)) if more <= MOST_RUNS else None


def _sentence(a: str, b: str, at: AtBudget, answer: Answer, more: int | None) -> str:
    found = at.difference_percent
    where = f"at {at.flops:.3g} FLOPs"
    if answer is not Answer.NOT_RESOLVED:
        return (
            f"{a} is {answer} than {b} {where}: its loss is {abs(found.value):.2g} % "
            f"{'lower' if found.value < 0 else 'higher'} ({found.low:+.2g} to {found.high:+.2g} %)"
        )
    needed = f"about {more:,} more of each would" if more else f"{MOST_RUNS:,} more of each would not"
    return (
        f"{a} against {b} is not resolved by these runs {where}: the difference in loss is "
        f"{found.value:+.2g} % ({found.low:+.2g} to {found.high:+.2g} %); {needed} resolve one of this size"
    )


def _compute_gain(b: Side, at: AtBudget) -> Interval:
    """B's factor of compute for each loss that A may have, looked up along B's own lowest losses."""
    grid = np.geomspace(*supported(b.range), STEPS)
    losses = np.minimum.accumulate(b.lowest(b.mixture.law, b.mixture.vector, grid)[0])
    logs = np.log(losses)
    at_b = np.log(at.loss_b.value)

    def factor(percent: float) -> float:
        wanted = at_b + np.log1p(percent / 100)
        if not logs[-1] <= wanted <= logs[0]:
            return float("nan")
        return float(np.exp(np.interp(-wanted, -logs, np.log(grid / at.flops))))

    found = at.difference_percent
    value, limits = factor(found.value), (factor(found.high), factor(found.low))
    if not np.isfinite(limits).all():
        limits = (float("nan"), float("nan"))
    return Interval(value=value, low=limits[0], high=limits[1])


def _phi(a: ModelPoints, b: ModelPoints) -> Interval:
    found = [one.joint.phi for points in (a, b) for one in study_equivalence([points])[:1]]
    return difference(found[0], found[1]) if len(found) == 2 else NOTHING
