"""Do the intervals of the parabolas' exponents cover the optimum of a law that is no parabola?

    python bench/coverage_isoflop.py > bench/results/coverage_isoflop.txt     # 200 studies a cell, hours

Truths: the training law fitted to the published points, and a coupled law of k = 1.6 close to them. Exponents
are scored against the slope of the truth's continuous optimum over the budgets that each one names, under the
line through the prices of even recurrences. A study without three interior optima has no answer.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.data.frames import published_tables
from analysis.data.points import ModelPoints
from analysis.data.study import build_study
from analysis.engine.intervals import Interval
from analysis.fits.isoflop.fit import fit_isoflop
from analysis.fits.isoflop.result import IsoflopFit
from analysis.fits.training import fit_training_law
from analysis.laws import COUPLED, TRAINING, Array, Law
from parcae.config import default_backward_depth
from parcae.flops import flops_per_token
from parcae.presets import preset

SMALL, MEDIUM = "small-140m", "medium-370m"
RECURRENCES = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
BUDGETS = (1e18, 2e18, 4e18, 8e18, 1.6e19, 6.4e19)
COUPLED_ROWS = {
    SMALL: np.array([[2.7512, 3.254e11, 1.202e5, 1.6056, 0.5896, 1.6]]),
    MEDIUM: np.array([[2.4967, 4.482e9, 2.444e4, 1.3143, 0.5033, 1.6]]),
}
"""E, X, Y, x, y, k: the best coupled laws of k = 1.6 for the published points."""
NOISES = ("0.1 %", "0.3 %", "t3 0.1 %", "shared 0.1 %")
QUANTITIES = ("gamma_mu plain", "gamma_D plain", "gamma_D tied", "gamma_mu corrected", "gamma_D corrected")


@dataclass(frozen=True, kw_only=True)
class Design:
    """Runs of one published model: everything but their losses."""

    model: str
    flops: Array
    mean_recurrence: Array
    seeds: Array

    @property
    def points(self) -> ModelPoints:
        return published(self.model)

    def cost(self, mean_recurrence: Array, *, smooth: bool = False) -> Array:
        """FLOPs a token, with the backward depth that is trained, or mu_rec / 2."""
        model = preset(self.model).model
        depths = [m / 2 if smooth else default_backward_depth(int(m)) for m in mean_recurrence]
        pairs = zip(mean_recurrence, depths, strict=True)
        return np.array([flops_per_token(model, mean_recurrence=m, backward_depth=d) for m, d in pairs])

    def parameters(self, mean_recurrence: Array) -> Array:
        points = self.points
        return np.asarray(points.once_parameters[0] + mean_recurrence * points.recurrent_parameters[0])

    def exponent(self, law: Law, row: Array, budgets: tuple[float, ...], *, tokens: bool) -> float:
        """The slope that is looked for, by brute force."""
        mean_recurrence = np.exp(np.linspace(np.log(0.1), np.log(200), 4001))
        ends = self.cost(np.array([2.0, 4.0]), smooth=True)
        price = ends[0] + (mean_recurrence - 2) * (ends[1] - ends[0]) / 2
        sizes, best = self.parameters(mean_recurrence), []
        for budget in budgets:
            at = int(np.argmin(law.predict(row, {"N": sizes, "D": budget / price})[0]))
            best.append(budget / price[at] if tokens else mean_recurrence[at])
        return float(np.polyfit(np.log(budgets), np.log(best), 1)[0])


def published(model: str) -> ModelPoints:
    return build_study("published", "imported", *published_tables()).models[model]


def grid(model: str, budgets: tuple[float, ...], recurrences: tuple[float, ...], seeds: int = 1) -> Design:
    flops, recurrence, seed = (
        a.ravel() for a in np.meshgrid(budgets, recurrences, np.arange(float(seeds)), indexing="ij")
    )
    return Design(model=model, flops=flops, mean_recurrence=recurrence, seeds=seed)


def designs() -> dict[str, Design]:
    full = grid(SMALL, BUDGETS, (1.0, *RECURRENCES))
    some = np.random.default_rng(7).random(len(full.flops)) < 0.75
    return {
        "published, 36 runs": grid(SMALL, BUDGETS, RECURRENCES),
        "published, 18 runs": grid(MEDIUM, (3.2e19, 6.4e19, 1.28e20), RECURRENCES),
        "5 budgets x 4 recurrences": grid(SMALL, BUDGETS[1:], (2.0, 4.0, 8.0, 12.0)),
        "unequal, three in four of 42": Design(
            model=SMALL,
            flops=full.flops[some],
            mean_recurrence=full.mean_recurrence[some],
            seeds=full.seeds[some],
        ),
        "36 cells, three seeds": grid(SMALL, BUDGETS, RECURRENCES, seeds=3),
    }


def noise(kind: str, flops: Array, generator: np.random.Generator) -> Array:
    """Deviations of log loss (n,)."""
    own = generator.standard_normal(len(flops))
    if kind.startswith("t3"):
        return np.asarray(1e-3 * generator.standard_t(3, len(flops)))
    if kind.startswith("shared"):
        labels = np.unique(flops, return_inverse=True)[1]
        return np.asarray(1e-3 * generator.standard_normal(labels.max() + 1)[labels] + 5e-4 * own)
    return np.asarray(float(kind.split()[0]) / 100 * own)


def study(design: Design, law: Law, row: Array, kind: str, seed: int, resamples: int) -> IsoflopFit:
    tokens = design.flops / design.cost(design.mean_recurrence)
    sizes = design.parameters(design.mean_recurrence)
    smooth = law.predict(row, {"N": sizes, "D": tokens})[0]
    scatter = noise(kind, design.flops, np.random.default_rng(seed))
    return fit_isoflop(
        design.flops,
        design.mean_recurrence,
        tokens,
        smooth * np.exp(scatter),
        parameters=sizes,
        seeds=design.seeds,
        resamples=resamples,
        seed=seed,
    )


def answers(found: IsoflopFit) -> Iterator[tuple[str, Interval, tuple[float, ...]]]:
    """Each exponent by its name, with the budgets that it names."""
    laws = [found.gamma_mean_recurrence, found.gamma_tokens, found.gamma_tokens_tied]
    if found.corrected is not None:
        laws += [found.corrected.gamma_axis, found.corrected.gamma_tokens]
    for name, law in zip(QUANTITIES, laws, strict=False):
        if np.isfinite(law.exponent.low):
            yield name, law.exponent, law.budgets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"Coverage of 95 % intervals of {options.studies} studies a cell, from seed {options.seed}")
    print(
        f"{'design':<30}{'noise':<14}{'truth':<10}{'quantity':<20}{'answered':>9}{'covered':>9}{'bias':>8}{'width':>7}"
    )
    for name, design in designs().items():
        points = design.points
        fitted = fit_training_law(points.effective_parameters, points.tokens, points.loss)
        truths = ((TRAINING, fitted.fit.vector), (COUPLED, COUPLED_ROWS[design.model]))
        for kind in NOISES:
            for law, row in truths:
                scores: dict[str, list[tuple[float, Interval]]] = {quantity: [] for quantity in QUANTITIES}
                for seed in range(options.seed, options.seed + options.studies):
                    for quantity, found, budgets in answers(
                        study(design, law, row, kind, seed, options.resamples)
                    ):
                        true = design.exponent(law, row, budgets, tokens="_D" in quantity)
                        scores[quantity].append((true, found))
                for quantity, pairs in scores.items():
                    covered = np.mean([i.low <= true <= i.high for true, i in pairs]) if pairs else np.nan
                    bias = np.mean([i.value - true for true, i in pairs]) if pairs else np.nan
                    width = np.median([i.high - i.low for _, i in pairs]) if pairs else np.nan
                    print(
                        f"{name:<30}{kind:<14}{law.name:<10}{quantity:<20}{len(pairs):>9}"
                        f"{100 * covered:>8.1f}%{bias:>+8.3f}{width:>7.3f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
