"""The parabolas' bias: measured on laws, held by the plain exponents' intervals, taken off beside them."""

from functools import cache

import numpy as np
import pytest

from analysis import fit_isoflop
from analysis.data.axis import Axis
from analysis.fits.isoflop.bias import fitted_forms, log_optima
from analysis.fits.isoflop.exchange import exchange
from analysis.fits.isoflop.result import IsoflopFit
from analysis.laws import COUPLED, TRAINING, Law

from ..points import published_study

ADDITIVE = np.array([[2.67, 4.1e6, 3.06e4, 0.928, 0.516]])
TOGETHER = np.array([[2.7512, 3.254e11, 1.202e5, 1.6056, 0.5896, 1.6]])
"""Close to the coupled law of the published points: E, X, Y, x, y, k."""
TRUTHS = [(TRAINING, ADDITIVE), (COUPLED, TOGETHER)]
LOOP = published_study().models["small-140m"]
SIZES = LOOP.effective_parameters
ONCE, RECURRENT = LOOP.once_parameters[0], LOOP.recurrent_parameters[0]
COSTS = [float((LOOP.flops / LOOP.tokens)[LOOP.mean_recurrence == m][0]) for m in (2, 4)]
PER_LOOP = (COSTS[1] - COSTS[0]) / 2
"""FLOPs a token and recurrence, from two of the even ones."""


def price(mean_recurrence: np.ndarray | float) -> np.ndarray:
    return np.asarray(COSTS[0] + PER_LOOP * (np.asarray(mean_recurrence) - 2))


def true_exponent(law: Law, row: np.ndarray, budgets: tuple[float, ...], tokens: bool = False) -> float:
    """Slope of the continuous optimum over `budgets`, by brute force on a fine grid of recurrences."""
    mean_recurrence = np.exp(np.linspace(np.log(0.2), np.log(100), 20_001))
    costs = price(mean_recurrence)
    best = []
    for budget in budgets:
        losses = law.predict(row, {"N": ONCE + RECURRENT * mean_recurrence, "D": budget / costs})[0]
        at = int(np.argmin(losses))
        best.append(budget / costs[at] if tokens else mean_recurrence[at])
    return float(np.polyfit(np.log(budgets), np.log(best), 1)[0])


@cache
def simulated(truth: int, seed: int) -> IsoflopFit:
    law, row = TRUTHS[truth]
    smooth = law.predict(row, {"N": SIZES, "D": LOOP.tokens})[0]
    loss = smooth * np.exp(0.001 * np.random.default_rng(seed).standard_normal(len(smooth)))
    return fit_isoflop(
        LOOP.flops,
        LOOP.mean_recurrence,
        LOOP.tokens,
        loss,
        parameters=SIZES,
        resamples=300,
        seed=seed,
    )


@pytest.mark.parametrize("truth", [0, 1])
def test_intervals_cover_the_optimum_of_a_law(truth: int) -> None:
    law, row = TRUTHS[truth]
    covered = []
    for seed in range(8):
        found = simulated(truth, seed)
        assert found.corrected is not None
        for fitted, tokens in (
            (found.gamma_mean_recurrence, False),
            (found.gamma_tokens, True),
            (found.gamma_tokens_tied, True),
            (found.corrected.gamma_axis, False),
            (found.corrected.gamma_tokens, True),
        ):
            true = true_exponent(law, row, fitted.budgets, tokens)
            covered.append(fitted.exponent.low <= true <= fitted.exponent.high)
    assert np.mean(covered) > 0.85


@pytest.mark.parametrize("truth", [0, 1])
def test_correcting_takes_most_of_the_bias_off(truth: int) -> None:
    law, row = TRUTHS[truth]
    plain, corrected = [], []
    for seed in range(8):
        found = simulated(truth, seed)
        assert found.corrected is not None
        budgets = found.corrected.gamma_axis.budgets
        plain.append(
            found.gamma_mean_recurrence.exponent.value
            - true_exponent(law, row, found.gamma_mean_recurrence.budgets)
        )
        corrected.append(found.corrected.gamma_axis.exponent.value - true_exponent(law, row, budgets))
    assert np.mean(plain) < -0.05
    assert abs(np.mean(corrected)) < abs(np.mean(plain)) / 2


def test_a_plain_interval_holds_noise_alone_without_laws_and_misses() -> None:
    law, row = TRUTHS[0]
    smooth = law.predict(row, {"N": SIZES, "D": LOOP.tokens})[0]
    found = fit_isoflop(LOOP.flops, LOOP.mean_recurrence, LOOP.tokens, smooth, laws=())
    assert found.corrected is None
    gamma = found.gamma_mean_recurrence
    assert gamma.exponent.high < true_exponent(law, row, gamma.budgets)


def test_tied_tokens_spend_the_budget() -> None:
    found = simulated(1, 0)
    assert found.corrected is not None
    for optimum in found.interior:
        cost = price(optimum.mean_recurrence)
        assert optimum.tokens_tied * cost == pytest.approx(optimum.flops, rel=1e-6)
    for fixed in found.corrected.optima:
        cost = price(fixed.on_axis.value)
        assert fixed.tokens.value * cost == pytest.approx(fixed.flops, rel=0.01)


def test_what_lies_outside_the_sampled_range_enters_no_corrected_exponent() -> None:
    found = simulated(0, 0)
    assert found.corrected is not None
    outside = [o for o in found.corrected.optima if not o.used]
    assert outside
    assert all(not 2 <= o.on_axis.value <= 12 for o in outside)
    assert not {o.flops for o in outside} & set(found.corrected.gamma_axis.budgets)


def test_optima_of_laws_are_those_of_brute_force() -> None:
    arrays = {"flops": LOOP.flops, "tokens": LOOP.tokens, "mean_recurrence": LOOP.mean_recurrence}
    prices = exchange({**arrays, "parameters": SIZES}, Axis.MEAN_RECURRENCE)
    assert prices is not None
    budgets = (2e18, 4e18, 8e18)
    for law, row in TRUTHS:
        found = log_optima(law, row, prices, budgets)[0]
        assert np.polyfit(np.log(budgets), found, 1)[0] == pytest.approx(
            true_exponent(law, row, budgets), abs=2e-3
        )


def test_a_loops_size_is_told_by_its_price() -> None:
    mean_recurrence, once, recurrent = np.array([2.0, 4, 6, 8]), 4.2e7, 1.4e7
    paid = 6 * once + 4 * recurrent * mean_recurrence
    arrays = {"flops": np.full(4, 1e18), "tokens": 1e18 / paid, "mean_recurrence": mean_recurrence}
    found = exchange(arrays, Axis.MEAN_RECURRENCE)
    assert found is not None
    at = np.array([1.0, 5.0, 20.0])
    np.testing.assert_allclose(found.parameters(at), once + recurrent * at, rtol=1e-9)
    np.testing.assert_allclose(found.flops_per_token(at), 6 * once + 4 * recurrent * at, rtol=1e-9)


def test_the_smooth_price_runs_through_the_even_recurrences() -> None:
    mean_recurrence = np.array([1.0, 2, 3, 4, 5, 6])
    price = 1e8 + 2e7 * mean_recurrence + 4e7 * np.ceil(mean_recurrence / 2)
    arrays = {"flops": np.full(6, 1e18), "tokens": 1e18 / price, "mean_recurrence": mean_recurrence}
    found = exchange(arrays, Axis.MEAN_RECURRENCE)
    assert found is not None
    np.testing.assert_allclose(found.flops_per_token(mean_recurrence), 1e8 + 4e7 * mean_recurrence)


def test_curves_that_are_parabolas_are_not_corrected_by_laws_that_do_not_fit_them() -> None:
    vertex = 3 * (LOOP.flops / 4e18) ** 0.4
    smooth = 3 - 0.1 * np.log(LOOP.flops / 1e18) + 0.05 * np.log(LOOP.mean_recurrence / vertex) ** 2
    loss = smooth * np.exp(0.0005 * np.random.default_rng(0).standard_normal(len(smooth)))
    found = fit_isoflop(LOOP.flops, LOOP.mean_recurrence, LOOP.tokens, loss)
    assert found.corrected is None
    assert "closer to parabolas than to any law" in found.warnings[0]
    assert found.gamma_mean_recurrence.exponent.low < 0.4 < found.gamma_mean_recurrence.exponent.high


@pytest.mark.parametrize(
    ("model", "gamma_mu", "gamma_d"), [("small-140m", 0.401, 0.777), ("medium-370m", 0.384, 0.767)]
)
def test_published_exponents_with_their_bias(model: str, gamma_mu: float, gamma_d: float) -> None:
    points = published_study().models[model]
    found = fit_isoflop(
        points.flops,
        points.mean_recurrence,
        points.tokens,
        points.loss,
        parameters=points.effective_parameters,
    )
    assert found.gamma_mean_recurrence.exponent.value == pytest.approx(gamma_mu, abs=0.001)
    assert found.gamma_tokens.exponent.value == pytest.approx(gamma_d, abs=0.001)
    assert "which the interval includes" in found.gamma_mean_recurrence.message
    assert found.corrected is not None
    assert sum(found.corrected.forms.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("moved", [False, True])
def test_budgets_off_by_3_percent_give_nearly_the_same_optima(moved: bool) -> None:
    """Whether the FLOPs were truly spent, so that losses move with them, or are only known roughly."""
    law, row = TRUTHS[1]
    off = np.exp(np.random.default_rng(4).uniform(-0.03, 0.03, len(LOOP.flops)))
    spent = off if moved else 1.0
    loss = law.predict(row, {"N": SIZES, "D": LOOP.tokens * spent})[0]
    exact = law.predict(row, {"N": SIZES, "D": LOOP.tokens})[0]
    same = fit_isoflop(LOOP.flops, LOOP.mean_recurrence, LOOP.tokens, exact, laws=())
    found = fit_isoflop(LOOP.flops * off, LOOP.mean_recurrence, LOOP.tokens * off, loss, laws=())
    for one, other in zip(same.interior, found.interior, strict=True):
        assert other.mean_recurrence == pytest.approx(one.mean_recurrence, rel=0.05)


def test_a_runs_own_noise_is_what_a_budget_does_not_share() -> None:
    law, row = TRUTHS[0]
    random = np.random.default_rng(0)
    budgets = np.unique(LOOP.flops, return_inverse=True)[1]
    shared, own = 0.003 * random.standard_normal(6), 0.001 * random.standard_normal(len(LOOP))
    loss = law.predict(row, {"N": SIZES, "D": LOOP.tokens})[0] * np.exp(shared[budgets] + own)
    data = {"N": SIZES, "D": LOOP.tokens}
    (form,) = fitted_forms([law], data, loss, budgets, np.ones(len(loss)), draws=400, seed=0)
    residuals = form.fit.residuals
    means = [residuals[budgets == budget].mean() for budget in range(6)]
    by_hand = sum(((residuals[budgets == b] - means[b]) ** 2).sum() for b in range(6))
    assert form.squares == pytest.approx(by_hand, rel=1e-9)
    assert form.freedom == len(loss) - 6 - 3  # six budgets' means; X, x and y beside them
    assert np.median(form.deviations) == pytest.approx(0.001, rel=0.3)
