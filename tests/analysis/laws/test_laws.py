"""Every law's derivatives against differences, and its value against the equation written out."""

import numpy as np
import pytest

from analysis.engine.solver import Problem, expand
from analysis.laws import EQUIVALENCE, FORMS, ORACLE_FLOOR, SATURATION, TRAINING, UNIFIED, Law

LAWS = [*FORMS.values(), ORACLE_FLOOR, *SATURATION.values(), *UNIFIED.values()]
GENERATOR = np.random.default_rng(3)
DATA = {
    "N": GENERATOR.uniform(5e7, 5e9, 20),
    "D": GENERATOR.uniform(1e9, 1e11, 20),
    "T": GENERATOR.integers(1, 24, 20).astype(float),
    "mu": GENERATOR.integers(2, 12, 20).astype(float),
    "once": np.full(20, 4e7),
    "recurrent": GENERATOR.uniform(1e7, 3e7, 20),
    "floor": GENERATOR.uniform(0.8, 1.0, 20),
}


def somewhere(law: Law, rows: int = 3) -> np.ndarray:
    """Parameters in the interior, in centred units."""
    coefficients = GENERATOR.uniform(0.3, 1.0, (rows, len(law.coefficients)))
    exponents = GENERATOR.uniform(0.3, 1.2, (rows, len(law.exponents)))
    return np.concatenate([coefficients, exponents], axis=1)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("delta", [0.05, np.inf])
def test_gradient_and_curvature_are_the_objectives(law: Law, delta: float) -> None:
    problem = Problem.on(law, DATA, delta)
    at = somewhere(law)
    log_loss, weights = GENERATOR.normal(0, 0.3, 20), GENERATOR.uniform(0, 2, 20)
    _, gradient, curvature, _ = expand(problem, at, log_loss, weights, second_order=True)
    for i in range(at.shape[1]):
        step = np.zeros(at.shape[1])
        step[i] = 1e-6
        above = expand(problem, at + step, log_loss, weights, second_order=True)
        below = expand(problem, at - step, log_loss, weights, second_order=True)
        np.testing.assert_allclose((above[0] - below[0]) / 2e-6, gradient[:, i], rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose((above[1] - below[1]) / 2e-6, curvature[:, i], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_raw_units_come_back(law: Law) -> None:
    problem = Problem.on(law, DATA, 1e-3)
    at = somewhere(law)
    np.testing.assert_allclose(problem.from_raw(problem.to_raw(at)), at, rtol=1e-12)
    predicted = law.predict(problem.to_raw(at), DATA)
    np.testing.assert_allclose(np.log(predicted), problem.residuals(at, np.zeros(20)), rtol=1e-9, atol=1e-12)


def test_values_are_the_equations() -> None:
    N, D, T, mu = (DATA[name] for name in ("N", "D", "T", "mu"))
    size_and_text = 2 + 1e5 * N**-0.7 + 2e4 * D**-0.5
    np.testing.assert_allclose(TRAINING.predict(np.array([2, 1e5, 2e4, 0.7, 0.5]), DATA)[0], size_and_text)
    np.testing.assert_allclose(
        UNIFIED["learned_gamma"].predict(np.array([2, 1e5, 2e4, 1.5, 0.7, 0.5, 3, 0.8]), DATA)[0],
        size_and_text + 1.5 * np.exp(-3 * T / mu**0.8),
    )
    np.testing.assert_allclose(
        UNIFIED["gamma_one"].predict(np.array([2, 1e5, 2e4, 1.5, 0.7, 0.5, 3]), DATA)[0],
        size_and_text + 1.5 * np.exp(-3 * T / mu),
    )
    np.testing.assert_allclose(
        EQUIVALENCE.predict(np.array([2, 1e5, 2e4, 0.7, 0.46, 0.5]), DATA)[0],
        2 + 1e5 * (DATA["once"] + mu**0.46 * DATA["recurrent"]) ** -0.7 + 2e4 * D**-0.5,
    )
    np.testing.assert_allclose(
        SATURATION["shifted_power"].predict(np.array([2, 1.5, 0.8]), DATA)[0], 2 + 1.5 * (1 + T) ** -0.8
    )
    np.testing.assert_allclose(
        ORACLE_FLOOR.predict(np.array([1.5, 3]), DATA)[0], DATA["floor"] + 1.5 * np.exp(-3 * T / mu)
    )
