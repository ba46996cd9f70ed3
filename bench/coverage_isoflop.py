"""Do the intervals of the parabolas' exponents cover the optimum of a law that is no parabola?

    python bench/coverage_isoflop.py > bench/results/coverage-isoflop.txt     # 200 studies a cell: hours

Studies are those of `simulated_studies.py`. Exponents are scored against the slope of the truth's continuous
optimum over the budgets that each one names, under the line through the prices of even recurrences. A study
without three interior optima has no answer.
"""

from functools import cache

import numpy as np
from simulated_studies import Score, Simulation, print_table

from analysis.fits.isoflop.fit import IsoflopFit, fit_isoflop
from analysis.fits.isoflop.power_law import PowerLaw, no_power_law
from analysis.laws import Array

RESAMPLES = 300
"""Draws: fewer than a report's, for the sake of time."""
NO_CORRECTION = no_power_law("no law could be fitted")


def cell(
    design: str, noise: str, truth: str, *, studies: int, first_seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Score]:
    """Scores of `studies` simulated studies, an exponent each."""
    simulation = Simulation.of(design, noise, truth)
    scores: dict[str, Score] = {}
    true = cache(lambda budgets, tokens: _exponent(simulation, budgets, tokens=tokens))
    seeds = range(first_seed, first_seed + studies)
    for seed, loss in zip(seeds, simulation.losses(seeds), strict=True):
        for name, law in _exponents(_fitted(simulation, loss, resamples, seed)).items():
            value = true(law.budgets, "gamma_D" in name) if len(law.budgets) > 2 else np.nan
            scores.setdefault(name, Score()).add(law.exponent, value)
    return scores


def _fitted(simulation: Simulation, loss: Array, resamples: int, seed: int) -> IsoflopFit:
    points = simulation.points
    return fit_isoflop(
        points.flops,
        points.mean_recurrence,
        points.tokens,
        loss,
        parameters=points.effective_parameters,
        seeds=points.seeds,
        resamples=resamples,
        seed=seed,
    )


def _exponents(found: IsoflopFit) -> dict[str, PowerLaw]:
    corrected = found.corrected
    return {
        "gamma_mu plain": found.gamma_mean_recurrence,
        "gamma_D plain": found.gamma_tokens,
        "gamma_D tied": found.gamma_tokens_tied,
        "gamma_mu corrected": corrected.gamma_axis if corrected else NO_CORRECTION,
        "gamma_D corrected": corrected.gamma_tokens if corrected else NO_CORRECTION,
    }


def _exponent(simulation: Simulation, budgets: tuple[float, ...], *, tokens: bool) -> float:
    """The slope that is looked for, by brute force."""
    shape, recurrence = simulation.shape, np.exp(np.linspace(np.log(0.1), np.log(200), 4001))
    price, best = shape.flops_per_token(recurrence), []
    for budget in budgets:
        losses = simulation.law.predict(simulation.vector, shape.data(recurrence, budget / price))[0]
        at = int(np.argmin(losses))
        best.append(budget / price[at] if tokens else recurrence[at])
    return float(np.polyfit(np.log(budgets), np.log(best), 1)[0])


if __name__ == "__main__":
    print_table("Parabola route", cell)
