"""Do 95 % intervals cover the truth 95 % of the time? Simulated studies with a known truth say.

    python bench/coverage.py > bench/results/coverage.txt           # 200 studies of every cell: hours
    python bench/coverage.py --studies 20 --design "published, 36 runs" --noise "0.1 %"

Designs: the published grid, six budgets by nine recurrences, five by four, unequal coverage, three seeds a
cell. Noise of the log loss: normal, heavy-tailed (Student's t of 3 degrees), shared within a budget. Truths:
the training law and the coupled law (k = 1.6) at their fits to the published points; all forms are always
fitted, so that the truth is never the only one. Scored: the law route's exponent over the budgets that it
names, the loss and the best recurrence at the largest budget and at 4 times it (extrapolated), always; E, x
and y where the chosen form is the truth. A study without an answer is counted apart. The parabolas' exponents
are `coverage_isoflop.py`'s.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from analysis.data.points import ModelPoints
from analysis.data.study import build_study
from analysis.engine.intervals import Interval
from analysis.fits.forms import ModelForms, fit_forms_each
from analysis.fits.training import fit_coupled_law, fit_training_law
from analysis.laws import COUPLED, TRAINING, Array, Law
from analysis.prediction.frontier import best_recurrence, frontier, loss_at, whole_losses
from analysis.prediction.shape import Shape, shape_of
from analysis.published import published_tables
from parcae.config import default_backward_depth
from parcae.flops import flops_per_token
from parcae.presets import preset

MODEL = "small-140m"
BUDGETS = (1e18, 2e18, 4e18, 8e18, 1.6e19, 6.4e19)
RECURRENCES = (2, 4, 6, 8, 10, 12)
UNEQUAL = ((1, 2, 3, 4, 6), (2, 4, 6, 8), (2, 3, 4, 6, 8, 10), (2, 4, 8, 12), RECURRENCES, (4, 6, 8, 10, 12))
FURTHER = 4.0
"""The furthest prediction is made at this many times the largest budget."""
K = 1.6
"""The coupled truth's exponent."""
STARTS, RESAMPLES = 8, 300
"""Of each fit, and draws of each form: fewer than a report's, for the sake of time."""
TOGETHER = 25
"""Studies that are fitted side by side."""

Cells = list[tuple[float, int]]
DESIGNS: dict[str, Cells] = {
    "published, 36 runs": [(c, m) for c in BUDGETS for m in RECURRENCES],
    "54 runs": [(c, m) for c in BUDGETS for m in (1, 2, 3, 4, 5, 6, 8, 10, 12)],
    "5 x 4": [(c, m) for c in (1e18, 2e18, 4e18, 1.6e19, 6.4e19) for m in (2, 4, 8, 12)],
    "unequal": [(c, m) for c, row in zip(BUDGETS, UNEQUAL, strict=True) for m in row],
    "three seeds": [(c, m) for c in BUDGETS for m in RECURRENCES for _ in range(3)],
}
Noise = Callable[[Array, np.random.Generator], Array]


def _shared(flops: Array, generator: np.random.Generator) -> Array:
    groups = np.unique(flops, return_inverse=True)[1]
    of_budget = generator.standard_normal(groups.max() + 1)[groups]
    return np.asarray(0.001 * (generator.standard_normal(len(flops)) + of_budget))


NOISES: dict[str, Noise] = {
    "0.1 %": lambda flops, generator: 0.001 * generator.standard_normal(len(flops)),
    "0.3 %": lambda flops, generator: 0.003 * generator.standard_normal(len(flops)),
    "t3, 0.1 %": lambda flops, generator: 0.001 * generator.standard_t(3, len(flops)),
    "shared, 0.1 %": _shared,
}


@dataclass(kw_only=True)
class Score:
    """How many of the studies with an answer had the truth inside the interval."""

    covered: list[bool] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    unanswered: int = 0

    def add(self, found: Interval, truth: float) -> None:
        if np.isfinite([found.low, found.high, truth]).all():
            self.covered.append(found.low <= truth <= found.high)
            self.widths.append(found.high - found.low)
        else:
            self.unanswered += 1

    @property
    def fraction(self) -> float:
        return float(np.mean(self.covered)) if self.covered else float("nan")


def published_points() -> ModelPoints:
    return build_study("published", "imported", *published_tables()).models[MODEL]


def design_points(cells: Cells) -> ModelPoints:
    """Runs of these budgets and recurrences at the planner's price; their losses are yet to be simulated."""
    template = published_points()
    once, recurrent = template.once_parameters[0], template.recurrent_parameters[0]
    flops, depth = (np.array(column, dtype=float) for column in zip(*cells, strict=True))
    model, n = preset(MODEL).model, len(cells)
    cost = [
        flops_per_token(model, mean_recurrence=m, backward_depth=default_backward_depth(m)) for _, m in cells
    ]
    return replace(
        template,
        run_ids=tuple(str(i) for i in range(n)),
        flops=flops,
        mean_recurrence=depth,
        tokens=flops / np.array(cost),
        effective_parameters=once + depth * recurrent,
        once_parameters=np.full(n, once),
        recurrent_parameters=np.full(n, recurrent),
        loss=np.full(n, np.nan),
        seeds=np.arange(n, dtype=float),
        weights=np.ones(n),
    )


def truths() -> Mapping[str, tuple[Law, Array]]:
    """Each truth's law and its parameters (1, p)."""
    points = published_points()
    known = (points.effective_parameters, points.tokens, points.loss)
    coupled = fit_coupled_law(*known).fit.vector.copy()
    coupled[0, -1] = K
    return {
        "training": (TRAINING, fit_training_law(*known).fit.vector),
        "coupled": (COUPLED, coupled),
    }


def cell(
    design: str, noise: str, truth: str, *, studies: int, first_seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Score]:
    """Scores of `studies` simulated studies, a quantity each."""
    points, (law, vector) = design_points(DESIGNS[design]), truths()[truth]
    shape = shape_of(points, "paper")
    assert shape is not None
    smooth = law.predict(vector, shape.data(points.mean_recurrence, points.tokens))[0]
    scores: dict[str, Score] = {}
    for first in range(first_seed, first_seed + studies, TOGETHER):
        seeds = range(first, min(first + TOGETHER, first_seed + studies))
        losses = [smooth * np.exp(NOISES[noise](points.flops, np.random.default_rng(seed))) for seed in seeds]
        for forms in fit_forms_each(points, losses, resamples=resamples, seed=first, starts=STARTS):
            for name, found, value in _told(forms.points, forms, shape, law, vector):
                scores.setdefault(name, Score()).add(found, value)
    return scores


def _told(
    points: ModelPoints, forms: ModelForms, shape: Shape, law: Law, vector: Array
) -> list[tuple[str, Interval, float]]:
    """Every quantity of one study: its interval and the truth."""
    nothing = Interval(value=np.nan, low=np.nan, high=np.nan)
    top = float(points.flops.max())
    mixture = forms.mixture
    along = frontier(mixture, points, shape, np.unique(points.flops))

    def slope(over: list[float]) -> float:
        best = best_recurrence(vector, shape, over, law)[0] if len(over) > 1 else np.full(1, np.nan)
        return float(np.polyfit(np.log(over), np.log(best), 1)[0]) if len(over) > 1 else float("nan")

    told = [
        (
            "gamma, law",
            along.gamma_mean_recurrence if along else nothing,
            slope(list(along.slope_flops)) if along else np.nan,
        ),
    ]
    for where, flops in (("top", top), ("4 x", FURTHER * top)):
        best, deep = best_recurrence(vector, shape, [flops], law), np.arange(1.0, 101.0)
        lowest = float(whole_losses(law, vector, shape, np.array([flops]), deep).min())
        recurrence = loss = nothing
        if mixture is not None and along is not None:
            recurrence = along.points[-1].continuous_recurrence
            if where != "top":
                recurrence = mixture.intervals(
                    lambda form, rows, flops=flops: best_recurrence(rows, shape, [flops], form)
                )[0]
            losses = whole_losses(mixture.law, mixture.vector, shape, np.array([flops]), deep)[0, 0]
            advised = float(deep[np.argmin(losses)])
            loss = loss_at(mixture, shape, advised, flops / float(shape.price(advised)))
        told += [(f"mu*, {where}", recurrence, float(best[0, 0])), (f"loss, {where}", loss, lowest)]
    if forms.chosen is not None and forms.chosen.law is law:
        told += [
            (name, forms.chosen.intervals[name], float(vector[0, law.parameters.index(name)]))
            for name in ("E", "x", "y")
        ]
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--design", choices=DESIGNS, action="append")
    parser.add_argument("--noise", choices=NOISES, action="append")
    parser.add_argument("--truth", choices=("training", "coupled"), action="append")
    given = parser.parse_args()
    print(f"Coverage of 95 % intervals, {given.studies} simulated studies a cell, seeds from {given.seed} on")
    print(
        "design              noise          truth     quantity          covered   of  no answer  median width"
    )
    for design in given.design or DESIGNS:
        for noise in given.noise or NOISES:
            for truth in given.truth or ("training", "coupled"):
                scores = cell(design, noise, truth, studies=given.studies, first_seed=given.seed)
                for name, score in scores.items():
                    width = np.median(score.widths) if score.widths else np.nan
                    print(
                        f"{design:<20}{noise:<15}{truth:<10}{name:<18}{100 * score.fraction:>6.1f}%"
                        f"{len(score.covered):>5}{score.unanswered:>11}{width:>14.3g}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
