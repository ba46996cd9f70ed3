"""The fit engine against the plain way: a loop of scipy L-BFGS-B calls, in the same run.

    python bench/fits.py            # ratios of time and of the objective reached

Hoffmann-style data: 240 points over three decades of N and D, 1 % noise, 5 % outliers of 10 %.
"""

import argparse
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # in fairness to scipy, whose small solves threads slow

import numpy as np
from scipy.optimize import minimize

from analysis.engine.fit import DELTA
from analysis.engine.uncertainty import uncertainty
from analysis.fits.training import fit_coupled_law, fit_training_law
from analysis.fits.unified import fit_unified_law

STARTS = 500


def hoffmann_points(seed: int, points: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, D, loss) from the law of Hoffmann et al. (arXiv 2203.15556), with noise and outliers."""
    generator = np.random.default_rng(seed)
    parameters = np.exp(generator.uniform(np.log(5e7), np.log(1.6e10), points))
    tokens = np.exp(generator.uniform(np.log(1e9), np.log(3e11), points))
    loss = 1.69 + 406.4 * parameters**-0.34 + 410.7 * tokens**-0.28
    noise = 0.01 * generator.standard_normal(points)
    outliers = generator.random(points) < 0.05
    noise[outliers] += 0.1 * generator.standard_normal(outliers.sum())
    return parameters, tokens, loss * np.exp(noise)


def scipy_best(
    parameters: np.ndarray, tokens: np.ndarray, loss: np.ndarray, *, starts: int, seed: int
) -> float:
    """Summed Huber loss of the best of `starts` L-BFGS-B runs with analytic gradients (paper section 5)."""
    log_n, log_d, log_l = np.log(parameters), np.log(tokens), np.log(loss)

    def objective(p: np.ndarray) -> tuple[float, np.ndarray]:
        e, a, b, x, y = p
        terms = np.stack([np.full_like(log_n, e), a - x * log_n, b - y * log_d])
        top = terms.max(0)
        share = np.exp(terms - top)
        total = share.sum(0)
        residual = top + np.log(total) - log_l
        share /= total
        pull = np.clip(residual, -DELTA, DELTA)
        value = (pull * (residual - 0.5 * pull)).sum()
        gradient = [
            (pull * share[0]).sum(),
            (pull * share[1]).sum(),
            (pull * share[2]).sum(),
            -(pull * share[1] * log_n).sum(),
            -(pull * share[2] * log_d).sum(),
        ]
        return value, np.array(gradient)

    generator = np.random.default_rng(seed)
    best = np.inf
    for _ in range(starts):
        start = [
            generator.uniform(-1, 1),
            generator.uniform(0, 25),
            generator.uniform(0, 25),
            generator.uniform(0, 2),
            generator.uniform(0, 2),
        ]
        options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-12}
        best = min(best, minimize(objective, start, jac=True, method="L-BFGS-B", options=options).fun)
    return float(best)


def seconds(work: object, *, repeats: int = 3) -> float:
    """Best wall time of `work()`."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()  # type: ignore[operator]
        times.append(time.perf_counter() - begin)
    return min(times)


def unified_points(seed: int) -> tuple[np.ndarray, ...]:
    """540 (run, T) points of 54 runs, 0.2 % noise."""
    generator = np.random.default_rng(seed)
    mean_recurrence = np.repeat(np.tile([2.0, 4, 6, 8, 10, 12], 9), 10)
    test_recurrence = np.tile([1.0, 2, 4, 6, 8, 10, 12, 16, 20, 24], 54)
    parameters = 4e7 + 1.4e7 * mean_recurrence
    tokens = np.repeat(np.geomspace(1e18, 6.4e19, 9), 60) / (6 * parameters)
    loss = (
        2.6
        + 5e5 * parameters**-0.77
        + 2.5e4 * tokens**-0.52
        + 1.5 * np.exp(-3 * test_recurrence / mean_recurrence)
    )
    return (
        parameters,
        tokens,
        mean_recurrence,
        test_recurrence,
        loss * np.exp(0.002 * generator.standard_normal(len(loss))),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="data sets to compare the objective on")
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        points = hoffmann_points(seed)
        ours = seconds(lambda points=points, seed=seed: fit_training_law(*points, starts=STARTS, seed=seed))
        huber = fit_training_law(*points, starts=STARTS, seed=seed).huber
        begin = time.perf_counter()
        theirs = scipy_best(*points, starts=STARTS, seed=seed)
        loop = time.perf_counter() - begin
        print(
            f"data {seed}: training law, best of {STARTS}: {ours:.3f} s, scipy loop {loop:.1f} s, "
            f"{loop / ours:.0f} times faster; objective over scipy's - 1 = {huber / theirs - 1:+.1e}"
        )
    parameters, tokens, loss = hoffmann_points(0, points=54)
    fit = fit_training_law(parameters, tokens, loss).fit
    took = seconds(lambda: uncertainty(fit, np.repeat(np.arange(9), 6), draws=1000))
    print(f"1,000 simulated studies of 54 points refitted by the training law: {took:.3f} s")
    took = seconds(lambda: fit_coupled_law(parameters, tokens, loss))
    print(f"coupled law on 54 points, best of {STARTS}: {took:.3f} s")
    unified = unified_points(0)
    took = seconds(lambda: fit_unified_law(*unified, starts=1000))
    print(f"unified law on 540 points, best of 1,000 starts: {took:.3f} s")


if __name__ == "__main__":
    main()
