"""What is claimed of losses over test recurrences, and of phi, on simulated studies.

    python bench/coverage_testtime.py > bench/results/coverage-testtime.txt     # 200 studies a cell

The results kept are of 200 studies a cell of saturation, 100 of equivalence and 60 of the unified law
(`--part`, `--studies`).

Saturation: how many of each curve's noisy copies are said to fall to a floor, and whether the interval holds
it. Unified law: coverage of its coefficients and of L(T) at 4 times the largest budget, the loss of a run off
the law at all its T. Equivalence: coverage of phi. Truths include forms that are not the one fitted.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.data.points import TestTimeCurve
from analysis.engine.verdict import FitStatus
from analysis.fits.equivalence import fit_equivalence
from analysis.fits.saturation import fit_curves
from analysis.fits.unified import GAMMA_ONE, fit_unified_law, stacked, unified_mixture
from analysis.laws import EQUIVALENCE, UNIFIED, Array, Law

TEST_RECURRENCES = {
    "1 to 24": np.arange(1.0, 25.0),
    "1, 2, 4 to 32": 2.0 ** np.arange(6),
    "1 to 8": np.arange(1.0, 9.0),
    "ten to 24": np.array([1.0, 2, 4, 6, 8, 10, 12, 16, 20, 24]),
}
BUDGETS = (1e18, 2e18, 4e18, 8e18, 1.6e19, 6.4e19)
RECURRENCES = (2, 4, 6, 8, 10, 12)
FURTHER = 4.0
STARTS = 24
"""Starts of a fit here: they end where a thousand do on clean studies."""
DRAWS = 200


@dataclass(frozen=True, kw_only=True)
class Score:
    """Of `studies` how many had an interval, and how many of those held the truth."""

    quantity: str
    studies: int
    held: tuple[bool, ...]

    def __str__(self) -> str:
        share = f"{100 * np.mean(self.held):6.1f} %" if self.held else "       –"
        return f"{self.quantity:<34}{len(self.held):>5} of {self.studies:<5}{share}"


def floors(t: Array) -> Mapping[str, Array]:
    """Curves that fall to a floor of 2.5 nats; z T at the last T in the name."""
    return {
        f"exponential, z T {decay}, Z {size:g}": 2.5 + size * np.exp(-decay / t[-1] * t)
        for decay in (6, 9, 15)
        for size in (0.3, 1.2)
    }


def false_floors(t: Array) -> Mapping[str, Array]:
    """Curves that rise, or fall without reaching a floor."""
    fall, last = 2.5 + 1.2 * np.exp(-0.8 * t), t[-1]
    rises = {
        f"rises {100 * rise:g} % beyond T = 8": fall * (1 + rise * np.maximum(t - 8, 0) / (last - 8))
        for rise in (0.005, 0.01, 0.02, 0.05, 0.1)
        if last > 8
    }
    return {
        **rises,
        "logarithm": 3.5 - 0.1 * np.log(t),
        "slow logarithm": 3.5 - 0.02 * np.log(t),
        "T^-0.5": 2.5 + t**-0.5,
        "T^-1": 2.5 + 1 / t,
        "z = 0.01": 2.5 + np.exp(-0.01 * t),
        "stretched, exp(-T^0.5)": 2.5 + np.exp(-np.sqrt(t)),
        "exponential and slow logarithm": 2.5 + np.exp(-0.8 * t) - 0.02 * np.log(t),
    }


def saturation(t: Array, loss: Array, *, noise: float, studies: int, seed: int = 0) -> tuple[int, Score]:
    """How many copies are certified, and of those how many hold a floor of 2.5."""
    scatter = np.random.default_rng(seed).standard_normal((studies, len(t)))
    fits = fit_curves([(t, row) for row in loss * np.exp(noise * scatter)])
    certified = [fit for fit in fits if fit.status is FitStatus.CONVERGED]
    held = tuple(f.intervals["L_inf"].low <= 2.5 <= f.intervals["L_inf"].high for f in certified)
    return len(certified), Score(quantity="L_inf", studies=studies, held=held)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Deviations of a log loss: of a budget's runs together, of a run, of a loss at one T."""

    budget: float = 0.0
    run: float = 0.0
    single: float = 3e-4
    freedom: float = np.inf
    """Student's t of the run's part."""


NOISES = {
    "runs 0.1 %": Noise(run=1e-3),
    "runs 0.3 %": Noise(run=3e-3),
    "runs 0.1 %, t3": Noise(run=1e-3, freedom=3.0),
    "runs 0.1 %, budgets 0.1 %": Noise(run=1e-3, budget=1e-3),
}
TRUTHS: Mapping[str, tuple[Law, Array]] = {
    "training floor": (UNIFIED[GAMMA_ONE], np.array([[2.67, 4.1e6, 3.06e4, 1.5, 0.928, 0.516, 4.0]])),
    "coupled floor": (
        UNIFIED["coupled_floor"],
        np.array([[2.4, 2e4, 3e3, 1.5, 0.6, 0.4, 4.0, 1.6]]),
    ),
}


def _noisy(noise: Noise, budgets: Array, losses: int, generator: np.random.Generator) -> Array:
    """Log-loss noise (runs, losses)."""
    labels = np.unique(budgets, return_inverse=True)[1]
    shared = noise.budget * generator.standard_normal(labels.max() + 1)[labels]
    run = (
        generator.standard_normal(len(budgets))
        if np.isinf(noise.freedom)
        else generator.standard_t(noise.freedom, len(budgets))
    )
    single = noise.single * generator.standard_normal((len(budgets), losses))
    return np.asarray((shared + noise.run * run)[:, None] + single)


def _study() -> Mapping[str, Array]:
    """36 runs of a model like small-140m."""
    flops, mu = (a.ravel() for a in np.meshgrid(BUDGETS, RECURRENCES, indexing="ij"))
    once, recurrent = 4.2e7, 1.4e7
    tokens = flops / (6 * once + 4 * recurrent * mu)
    return {"flops": flops, "mu": mu.astype(float), "N": once + recurrent * mu, "D": tokens}


def unified(truth: str, noise: Noise, *, studies: int, seed: int = 0) -> list[Score]:
    """Coefficients of the true form where it is fitted, and L(T) far out by the forms told apart by AICc."""
    law, vector = TRUTHS[truth]
    runs, t = _study(), TEST_RECURRENCES["ten to 24"]
    flops = FURTHER * BUDGETS[-1]
    far = {"N": 4.2e7 + 1.4e7 * 12, "D": flops / (6 * 4.2e7 + 4 * 1.4e7 * 12), "mu": 12.0}
    at = {**{name: np.full(3, value) for name, value in far.items()}, "T": np.array([6.0, 12.0, 24.0])}
    wanted = dict(zip(law.parameters, vector[0], strict=True))
    losses = law.predict(vector, at)[0]
    held: dict[str, list[bool]] = {name: [] for name in [*wanted, *(f"L({d:g}), 4 times" for d in at["T"])]}
    for study in range(studies):
        generator = np.random.default_rng([seed, study])
        curves = _curves(law, vector, runs, t, _noisy(noise, runs["flops"], len(t), generator))
        data = stacked(curves)
        forms = {
            form: fit_unified_law(
                *(data[name] for name in ("N", "D", "mu", "T", "loss")),
                form=form,
                runs=data["run"],
                budgets=data["budget"],
                starts=STARTS,
                resamples=DRAWS,
                seed=study,
            )
            for form in (GAMMA_ONE, "coupled_floor")
        }
        for name, limits in forms[law.name].intervals.items():
            held[name].append(limits.low <= wanted[name] <= limits.high)
        mixture = unified_mixture(forms)
        if mixture is not None:
            found = mixture.intervals(lambda form, rows: form.predict(rows, at))
            for depth, true, limits in zip(at["T"], losses, found, strict=True):
                held[f"L({depth:g}), 4 times"].append(limits.low <= true <= limits.high)
    return [Score(quantity=name, studies=studies, held=tuple(values)) for name, values in held.items()]


def _curves(
    law: Law, vector: Array, runs: Mapping[str, Array], t: Array, noise: Array
) -> Sequence[TestTimeCurve]:
    found = []
    for i in range(len(runs["mu"])):
        at = {name: np.full(len(t), runs[name][i]) for name in ("N", "D", "mu")}
        found.append(
            TestTimeCurve(
                run_id=str(i),
                model="m",
                mean_recurrence=runs["mu"][i],
                tokens=runs["D"][i],
                effective_parameters=runs["N"][i],
                flops=runs["flops"][i],
                test_recurrence=t,
                loss=law.predict(vector, {**at, "T": t})[0] * np.exp(noise[i]),
            )
        )
    return found


SHAPES = ((4.2e7, 1.4e7), (9e7, 5.2e7), (1.2e8, 1.5e8))
"""Parameters applied once and per recurrence."""
PHI_DESIGNS = {
    "36 runs, 2 shapes": (SHAPES[:2], BUDGETS[::2], RECURRENCES),
    "54 runs, 3 shapes": (SHAPES, BUDGETS[::2], RECURRENCES),
    "40 runs, 2 shapes of 5 x 4": (SHAPES[:2], BUDGETS[:5], (2, 4, 8, 12)),
    "36 runs and 6 baselines": (SHAPES[:2], BUDGETS[::2], RECURRENCES),
}


def phi(design: str, noise: Noise, *, studies: int, seed: int = 0) -> Score:
    """Coverage of phi, of which the truth is 0.46."""
    shapes, budgets, recurrences = PHI_DESIGNS[design]
    rows = [
        (once, recurrent, mu, flops / (6 * once + 4 * recurrent * mu), i * 1e30 + flops)
        for i, (once, recurrent) in enumerate(shapes)
        for flops in budgets
        for mu in recurrences
    ]
    if "baselines" in design:
        rows += [(size, 0.0, 1.0, c / (6 * size), -size * c) for size in (5e7, 2e8) for c in budgets]
    once, recurrent, mu, tokens, budget = np.array(rows).T
    vector = np.array([[1.8, 2e3, 2e3, 0.4, 0.46, 0.35]])
    smooth = EQUIVALENCE.predict(vector, {"once": once, "recurrent": recurrent, "mu": mu, "D": tokens})[0]
    held = []
    for study in range(studies):
        generator = np.random.default_rng([seed, study])
        loss = smooth * np.exp(_noisy(noise, budget, 1, generator)[:, 0])
        fit = fit_equivalence(
            once, recurrent, mu, tokens, loss, strata=budget, resamples=DRAWS, starts=4 * STARTS, seed=study
        )
        if np.isfinite(fit.phi.low):
            held.append(fit.phi.low <= 0.46 <= fit.phi.high)
    return Score(quantity="phi", studies=studies, held=tuple(held))


def saturation_part(studies: int, seed: int) -> None:
    for noise in (1e-4, 3e-4, 1e-3):
        for name, t in TEST_RECURRENCES.items():
            print(f"\nSaturation, T {name}, noise {100 * noise:g} %")
            for curve, loss in floors(t).items():
                count, score = saturation(t, loss, noise=noise, studies=studies, seed=seed)
                print(f"{curve:<34}certified {count:>4}  {score}", flush=True)
            for curve, loss in false_floors(t).items():
                count, _ = saturation(t, loss, noise=noise, studies=studies, seed=seed)
                print(f"{curve:<34}certified {count:>4}", flush=True)


def equivalence_part(studies: int, seed: int) -> None:
    for name, spread in NOISES.items():
        for design in PHI_DESIGNS:
            score = phi(design, replace(spread, single=0.0), studies=studies, seed=seed)
            print(f"{f'{design}, {name}':<54}{score}", flush=True)


def unified_part(studies: int, seed: int) -> None:
    for name, spread in NOISES.items():
        for truth in TRUTHS:
            print(f"\nUnified law, {truth}, {name}")
            for score in unified(truth, spread, studies=studies, seed=seed):
                print(score, flush=True)


PARTS = {"saturation": saturation_part, "equivalence": equivalence_part, "unified": unified_part}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=PARTS, help="this part alone")
    chosen = parser.parse_args()
    for name, part in PARTS.items():
        if chosen.part in (None, name):
            print(f"\n{name}: {chosen.studies} studies a cell, seed {chosen.seed}, nominal coverage 95 %")
            part(chosen.studies, chosen.seed)


if __name__ == "__main__":
    main()
