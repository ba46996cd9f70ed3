"""Do 95 % intervals of the law route cover the truth 95 % of the time? Simulated studies say.

    python bench/coverage.py > bench/results/coverage.txt           # 200 studies of every cell: hours
    python bench/coverage.py --studies 20 --design "published, 36 runs" --noise "0.1 %"

Studies are those of `simulated_studies.py`; all forms are always fitted, so that the truth is never the only
one. Scored: the law route's exponent over the budgets that it names, the loss and the best recurrence at the
largest budget and at 4 times it (extrapolated), always; E, x and y where the chosen form is the truth. A
study without an answer is counted apart. The parabolas' exponents are `coverage_isoflop.py`'s.
"""

import numpy as np
from simulated_studies import Score, Simulation, print_table

from analysis.engine.intervals import NOTHING, Interval
from analysis.fits.forms import ModelForms, fit_forms_each
from analysis.prediction.frontier import best_recurrence, frontier, loss_at, whole_losses

FURTHER = 4.0
"""The furthest prediction is made at this many times the largest budget."""
STARTS, RESAMPLES = 8, 300
"""Of each fit, and draws of each form: fewer than a report's, for the sake of time."""
TOGETHER = 25
"""Studies that are fitted side by side."""


def cell(
    design: str, noise: str, truth: str, *, studies: int, first_seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Score]:
    """Scores of `studies` simulated studies, a quantity each."""
    simulation = Simulation.of(design, noise, truth)
    scores: dict[str, Score] = {}
    for first in range(first_seed, first_seed + studies, TOGETHER):
        losses = list(simulation.losses(range(first, min(first + TOGETHER, first_seed + studies))))
        for forms in fit_forms_each(
            simulation.points, losses, resamples=resamples, seed=first, starts=STARTS
        ):
            for name, found, value in _told(forms, simulation):
                scores.setdefault(name, Score()).add(found, value)
    return scores


def _told(forms: ModelForms, simulation: Simulation) -> list[tuple[str, Interval, float]]:
    """Every quantity of one study: its interval and the truth."""
    law, vector, shape, points = simulation.law, simulation.vector, simulation.shape, forms.points
    top = float(points.flops.max())
    mixture = forms.mixture
    along = frontier(mixture, points, shape, np.unique(points.flops))
    told = [
        (
            "gamma, law",
            along.gamma_mean_recurrence if along else NOTHING,
            _slope(simulation, list(along.slope_flops)) if along else np.nan,
        )
    ]
    for where, flops in (("top", top), ("4 x", FURTHER * top)):
        best, deep = best_recurrence(vector, shape, [flops], law), np.arange(1.0, 101.0)
        lowest = float(whole_losses(law, vector, shape, np.array([flops]), deep).min())
        recurrence = loss = NOTHING
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


def _slope(simulation: Simulation, budgets: list[float]) -> float:
    """The truth's exponent of the mean recurrence over `budgets`."""
    if len(budgets) < 2:
        return float("nan")
    best = best_recurrence(simulation.vector, simulation.shape, budgets, simulation.law)[0]
    return float(np.polyfit(np.log(budgets), np.log(best), 1)[0])


if __name__ == "__main__":
    print_table("Law route", cell)
