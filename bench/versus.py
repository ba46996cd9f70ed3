"""Does `parcae-fit versus` keep its word? Pairs of simulated studies: equals, and recipes that differ.

    python bench/versus.py > bench/results/versus.txt              # 200 pairs of every cell

Both sides have the published grid. Equals have the same truth; else B's law has larger X and Y, by 3 % and
1 %. Counted: verdicts that are wrong (of equals: any), and how often the intervals of the difference in loss
and of the compute-equivalent gain have the truth in them. With `paired` noise both sides share 0.8 of the
variance of each cell's noise, as runs of one seed and data order do.
"""

import argparse
import platform
from dataclasses import replace

import numpy as np
from simulated_studies import Score, design_points, truths

from analysis.checks.versus import Answer, Comparison, Side, side_of, versus
from analysis.data.points import ModelPoints
from analysis.laws import Array, Law
from analysis.prediction.frontier import whole_losses
from analysis.prediction.shape import Shape, shape_of

NOISES = {"0.1 %": (0.001, 0.0), "0.3 %": (0.003, 0.0), "0.3 %, paired": (0.003, 0.8)}
WORSE = np.array([1.0, 1.03, 1.01])
"""B's E, X and Y over A's."""
DEPTHS = np.arange(2.0, 13.0)


def lowest(law: Law, row: Array, shape: Shape, flops: Array) -> Array:
    return np.asarray(whole_losses(law, row, shape, flops, DEPTHS)[0].min(axis=-1))


def pair(points: ModelPoints, shape: Shape, law: Law, rows: list[Array], noise: str, seed: int) -> list[Side]:
    generator = np.random.default_rng(seed)
    size, shared = NOISES[noise]
    common = generator.standard_normal(len(points))
    sides = []
    for name, row in zip("AB", rows, strict=True):
        own = generator.standard_normal(len(points))
        data = shape.data(points.mean_recurrence, points.tokens)
        scatter = size * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)
        loss = law.predict(row, {v: data[v] for v in law.variables})[0] * np.exp(scatter)
        sides.append(side_of(name, replace(points, loss=loss), resamples=300, seed=seed))
    return sides


def cell(truth: str, noise: str, differ: bool, pairs: int, first_seed: int) -> tuple[int, int, Score, Score]:
    """Wrong verdicts, resolved ones, and the scores of the difference and the gain."""
    points = design_points("published, 36 runs")
    shape = shape_of(points, "paper")
    assert shape is not None
    law, row = truths()[truth]
    other = row.copy()
    if differ:
        other[0, :3] *= WORSE
    top = np.array([points.flops.max()])
    loss_a, loss_b = lowest(law, row, shape, top)[0], lowest(law, other, shape, top)[0]
    grid = np.geomspace(top[0] / 8, top[0] * 8, 2001)
    gain = float(np.interp(-loss_a, -lowest(law, other, shape, grid), grid / top[0]))
    wrong, resolved, losses, gains = 0, 0, Score(), Score()
    for seed in range(first_seed, first_seed + pairs):
        found: Comparison = versus(*pair(points, shape, law, [row, other], noise, seed))
        right = (Answer.BETTER, Answer.NOT_RESOLVED) if differ else (Answer.NOT_RESOLVED,)
        wrong += found.answer not in right
        resolved += found.answer is not Answer.NOT_RESOLVED
        losses.add(found.decisive.difference_percent, 100 * (loss_a / loss_b - 1))
        gains.add(found.compute_gain, gain)
    return wrong, resolved, losses, gains


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"{platform.machine()}: python bench/versus.py --pairs {given.pairs} --seed {given.seed}")
    print(
        f"{'truth':<10}{'noise':<16}{'sides':<8}{'wrong':>7}{'resolved':>10}{'loss':>8}{'gain':>8}{'none':>6}"
    )
    for truth in truths():
        for noise in NOISES:
            for differ in (False, True):
                wrong, resolved, losses, gains = cell(truth, noise, differ, given.pairs, given.seed)
                print(
                    f"{truth:<10}{noise:<16}{'differ' if differ else 'equal':<8}{wrong:>7}{resolved:>10}"
                    f"{100 * losses.fraction:>7.1f}%{100 * gains.fraction:>7.1f}%{gains.unanswered:>6}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
