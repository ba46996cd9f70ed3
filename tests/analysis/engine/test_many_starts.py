"""The coefficients that belong to given exponents, against scipy's non-negative least squares."""

import numpy as np
from scipy.optimize import nnls

from analysis.engine.many_starts import eliminate
from analysis.engine.solver import Problem
from analysis.laws import TRAINING


def test_coefficients_are_the_non_negative_least_squares() -> None:
    random = np.random.default_rng(0)
    sizes, tokens = np.exp(random.uniform(16, 20, 40)), np.exp(random.uniform(20, 25, 40))
    weights = random.uniform(0.5, 2.0, 40)
    exponents = random.uniform(0.05, 1.5, (60, 2))
    signs = random.choice([-0.3, 0.5], (60, 3))  # a negative one has to end at 0
    units = [np.ones(40), sizes / np.exp(np.log(sizes).mean()), tokens / np.exp(np.log(tokens).mean())]
    columns = np.stack([np.stack([units[0], units[1] ** -x, units[2] ** -y]) for x, y in exponents])
    loss = np.maximum((signs[:, :, None] * columns).sum(1) + 2, 0.2)
    problem = Problem.on(TRAINING, {"N": sizes, "D": tokens}, delta=np.inf)
    found = eliminate(problem, exponents, np.log(loss), np.broadcast_to(weights, loss.shape))
    root = np.sqrt(weights)
    expected = [
        nnls((root * columns[row] / loss[row]).T, root)[0]  # residuals are relative to the loss
        for row in range(60)
    ]
    np.testing.assert_allclose(found[:, :3], expected, atol=1e-6)
    np.testing.assert_array_equal(found[:, 3:], exponents)
    assert 20 < (found[:, :3] == 0).any(axis=1).sum() < 60
