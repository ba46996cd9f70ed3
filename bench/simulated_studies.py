"""Simulated studies with a known truth: the designs, noises and truths that coverage is measured on.

Designs: the published grid, six budgets by nine recurrences, five by four, unequal coverage, three seeds a
cell. Noise of the log loss: normal, heavy-tailed (Student's t of 3 degrees), shared within a budget. Truths:
the training law and the coupled law (k = 1.6) at their fits to the published points.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from analysis.data.frames import published_tables
from analysis.data.points import ModelPoints
from analysis.data.study import build_study
from analysis.engine.intervals import Interval
from analysis.fits.training import fit_coupled_law, fit_training_law
from analysis.laws import COUPLED, TRAINING, Array, Law
from analysis.prediction.shape import Shape, shape_of
from parcae.config import default_backward_depth
from parcae.flops import flops_per_token
from parcae.presets import preset

MODEL = "small-140m"
BUDGETS = (1e18, 2e18, 4e18, 8e18, 1.6e19, 6.4e19)
RECURRENCES = (2, 4, 6, 8, 10, 12)
UNEQUAL = ((1, 2, 3, 4, 6), (2, 4, 6, 8), (2, 3, 4, 6, 8, 10), (2, 4, 8, 12), RECURRENCES, (4, 6, 8, 10, 12))
K = 1.6
"""The coupled truth's exponent."""

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


@cache
def _published() -> ModelPoints:
    return build_study("published", "imported", *published_tables()).models[MODEL]


def design_points(design: str) -> ModelPoints:
    """Runs of a design at the planner's price; their losses are yet to be simulated."""
    cells, template = DESIGNS[design], _published()
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


@cache
def truths() -> Mapping[str, tuple[Law, Array]]:
    """Each truth's law and its parameters (1, p)."""
    points = _published()
    known = (points.effective_parameters, points.tokens, points.loss)
    coupled = fit_coupled_law(*known).fit.vector.copy()
    coupled[0, -1] = K
    return {
        "training": (TRAINING, fit_training_law(*known).fit.vector),
        "coupled": (COUPLED, coupled),
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation:
    """One cell of the table: n runs of a design, and the truth about them."""

    points: ModelPoints
    shape: Shape
    law: Law
    vector: Array
    """(1, p)."""
    noise: Noise

    @classmethod
    def of(cls, design: str, noise: str, truth: str) -> "Simulation":
        points, (law, vector) = design_points(design), truths()[truth]
        shape = shape_of(points, "paper")
        assert shape is not None
        return cls(points=points, shape=shape, law=law, vector=vector, noise=NOISES[noise])

    def losses(self, seeds: range) -> Iterator[Array]:
        """The losses (n,) of one study for each seed, nats."""
        data = self.shape.data(self.points.mean_recurrence, self.points.tokens)
        smooth = self.law.predict(self.vector, data)[0]
        for seed in seeds:
            yield smooth * np.exp(self.noise(self.points.flops, np.random.default_rng(seed)))


def print_table(title: str, cell: Callable[..., Mapping[str, Score]]) -> None:
    """The scores of `cell(design, noise, truth, studies, first_seed)`, for the cells asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--design", choices=DESIGNS, action="append")
    parser.add_argument("--noise", choices=NOISES, action="append")
    parser.add_argument("--truth", choices=("training", "coupled"), action="append")
    given = parser.parse_args()
    print(f"{title}, 95 % intervals, {given.studies} studies a cell, seeds from {given.seed} on")
    print(f"{'design':<20}{'noise':<15}{'truth':<10}{'quantity':<20}covered   of  no answer  median width")
    for design in given.design or DESIGNS:
        for noise in given.noise or NOISES:
            for truth in given.truth or ("training", "coupled"):
                scores = cell(design, noise, truth, studies=given.studies, first_seed=given.seed)
                for name, score in scores.items():
                    width = np.median(score.widths) if score.widths else np.nan
                    print(
                        f"{design:<20}{noise:<15}{truth:<10}{name:<20}{100 * score.fraction:>6.1f}%"
                        f"{len(score.covered):>5}{score.unanswered:>11}{width:>14.3g}",
                        flush=True,
                    )
