"""Parabolas and power laws against closed forms and the published exponents."""

import math

import numpy as np
import pytest

from analysis import fit_isoflop
from analysis.engine.verdict import FitStatus
from analysis.fits.isoflop.optimum import CurveVerdict as Curve
from analysis.fits.isoflop.result import IsoflopFit
from parcae.errors import InputError

from ..points import published_study

FLOPS, RECURRENCE = (
    a.ravel() for a in np.meshgrid([1e18, 4e18, 1.6e19, 6.4e19], [1, 2, 4, 6, 8, 10, 12], indexing="ij")
)
TOKENS = FLOPS / (2e8 + 8e7 * RECURRENCE)


def parabolas(gamma: float = 0.4, curvature: float = 0.05) -> np.ndarray:
    """Losses whose vertices are exactly mu_rec* = 3 (C / 4e18)^gamma."""
    vertex = 3 * (FLOPS / 4e18) ** gamma
    return np.asarray(3 - 0.1 * np.log(FLOPS / 1e18) + curvature * np.log(RECURRENCE / vertex) ** 2)


def fit(loss: np.ndarray, **options: int) -> IsoflopFit:
    return fit_isoflop(FLOPS, RECURRENCE, TOKENS, loss, **options)


def test_exact_parabolas_give_their_vertices_and_exponent() -> None:
    found = fit(parabolas())
    assert [o.verdict for o in found.optima] == [Curve.INTERIOR] * 4
    expected = 3 * (np.array([o.flops for o in found.optima]) / 4e18) ** 0.4
    np.testing.assert_allclose([o.mean_recurrence for o in found.optima], expected, rtol=1e-9)
    gamma = found.gamma_mean_recurrence
    assert gamma.exponent.value == pytest.approx(0.4, rel=1e-9)
    assert gamma.exponent.low == pytest.approx(0.4, rel=1e-6)
    np.testing.assert_allclose(gamma(4e18), 3.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "gamma_mu", "gamma_d"), [("small-140m", 0.400, 0.777), ("medium-370m", 0.384, 0.767)]
)
def test_published_exponents(model: str, gamma_mu: float, gamma_d: float) -> None:
    points = published_study().models[model]
    found = fit_isoflop(points.flops, points.mean_recurrence, points.tokens, points.loss)
    assert found.gamma_mean_recurrence.exponent.value == pytest.approx(gamma_mu, abs=0.001)
    assert found.gamma_tokens.exponent.value == pytest.approx(gamma_d, abs=0.001)
    for law in (found.gamma_mean_recurrence, found.gamma_tokens):
        assert law.exponent.low < law.exponent.value < law.exponent.high


def test_order_of_runs_does_not_matter() -> None:
    loss = parabolas() * np.exp(0.001 * np.random.default_rng(0).standard_normal(len(FLOPS)))
    shuffle = np.random.default_rng(1).permutation(len(FLOPS))
    again = fit_isoflop(FLOPS[shuffle], RECURRENCE[shuffle], TOKENS[shuffle], loss[shuffle])
    assert again.gamma_mean_recurrence == fit(loss).gamma_mean_recurrence


def test_copies_of_runs_add_no_confidence() -> None:
    loss = parabolas() * np.exp(0.001 * np.random.default_rng(0).standard_normal(len(FLOPS)))
    thrice = fit_isoflop(np.tile(FLOPS, 3), np.tile(RECURRENCE, 3), np.tile(TOKENS, 3), np.tile(loss, 3))
    assert thrice.gamma_mean_recurrence == fit(loss).gamma_mean_recurrence


def test_weights_decide_the_width_of_the_exponents_interval() -> None:
    """Middle budgets ten times as noisy: the interval is that of vertices by numpy, 800 studies of them."""
    deviation = np.where(np.isin(FLOPS, [4e18, 1.6e19]), 3e-3, 3e-4)
    generator = np.random.default_rng(2)
    losses = parabolas() * np.exp(deviation * generator.standard_normal((800, len(FLOPS))))
    budgets = np.unique(FLOPS)
    vertices = []
    for budget in budgets:
        at = budget == FLOPS
        bend, slope, _ = np.polyfit(np.log(RECURRENCE[at]), losses[:, at].T, 2)
        vertices.append(-slope / (2 * bend))
    exponents = np.polyfit(np.log(budgets), np.array(vertices), 1)[0]
    given = {"weights": deviation**-2 / np.mean(deviation**-2), "laws": ()}
    widths = []
    for loss in losses[:10]:
        gamma = fit_isoflop(FLOPS, RECURRENCE, TOKENS, loss, **given).gamma_mean_recurrence.exponent
        widths.append(gamma.high - gamma.low)
    assert np.median(widths) == pytest.approx(2 * 1.96 * exponents.std(), rel=0.3)


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ("falling", Curve.OUTSIDE),
        ("rising", Curve.OUTSIDE),
        ("straight", {Curve.FLAT, Curve.DOWNWARD}),
        ("downward", Curve.DOWNWARD),
        ("equal", Curve.FLAT),
        ("noise", {Curve.FLAT, Curve.DOWNWARD, Curve.OUTSIDE}),
    ],
)
def test_curves_without_an_optimum_say_so(case: str, verdict: Curve | set[Curve]) -> None:
    logs = np.log(RECURRENCE)
    noise = np.random.default_rng(5).standard_normal(len(FLOPS))
    loss = {
        "falling": 3 + 0.01 * (logs - 5) ** 2,
        "rising": 3 + 0.01 * (logs + 2) ** 2,
        "straight": 3 - 0.1 * logs,
        "downward": 3 - 0.1 * (logs - 1.2) ** 2,
        "equal": np.full(len(logs), 3.0),
        "noise": 3 * np.exp(0.01 * noise),
    }[case]
    found = fit(loss)
    allowed = verdict if isinstance(verdict, set) else {verdict}
    assert {o.verdict for o in found.optima} <= allowed
    for optimum in found.optima:
        assert not optimum.interior
        assert optimum.message
        assert math.isnan(optimum.mean_recurrence)
        assert math.isnan(optimum.tokens)
    gamma = found.gamma_mean_recurrence
    assert gamma.status is FitStatus.TOO_FEW_POINTS
    assert math.isnan(gamma.exponent.value)


def test_two_budgets_are_no_power_law() -> None:
    some = FLOPS < 1e19
    found = fit_isoflop(FLOPS[some], RECURRENCE[some], TOKENS[some], parabolas()[some])
    assert [o.interior for o in found.optima] == [True, True]
    assert found.gamma_mean_recurrence.status is FitStatus.TOO_FEW_POINTS
    assert "needs at least 3" in found.gamma_mean_recurrence.message


def test_three_recurrences_are_no_curve() -> None:
    some = RECURRENCE <= 4
    found = fit_isoflop(FLOPS[some], RECURRENCE[some], TOKENS[some], parabolas()[some])
    assert {o.verdict for o in found.optima} == {Curve.TOO_FEW_POINTS}


@pytest.mark.parametrize("wild", [30.0, 0.3, -0.3])
def test_a_wild_run_is_left_out_and_named(wild: float) -> None:
    loss = parabolas() * np.exp(0.0005 * np.random.default_rng(2).standard_normal(len(FLOPS)))
    clean = fit(loss).gamma_mean_recurrence.exponent.value
    loss[10] += wild
    found = fit(loss)
    assert found.optima[1].left_out == (10,)
    assert "far off the curve" in found.optima[1].warnings[0]
    assert found.gamma_mean_recurrence.exponent.value == pytest.approx(clean, abs=0.03)

    shuffle = np.random.default_rng(1).permutation(len(FLOPS))
    again = fit_isoflop(FLOPS[shuffle], RECURRENCE[shuffle], TOKENS[shuffle], loss[shuffle])
    assert again.gamma_mean_recurrence == found.gamma_mean_recurrence
    (named,) = again.optima[1].left_out
    assert shuffle[named] == 10


def test_a_smooth_curve_that_is_no_parabola_loses_no_run() -> None:
    found = fit(3 + 0.3 / RECURRENCE + 0.02 * RECURRENCE * (4e18 / FLOPS) ** 0.5)
    assert all(o.left_out == () for o in found.optima)


def test_a_vertex_in_tokens_beyond_the_runs_is_said_to_be_extrapolated() -> None:
    first = published_study().models["small-140m"]
    found = fit_isoflop(first.flops, first.mean_recurrence, first.tokens, first.loss).optima[0]
    assert found.interior
    assert any("extrapolated" in warning for warning in found.warnings)
    assert any("off-centre" in warning for warning in found.warnings)


def test_tokens_may_be_unknown() -> None:
    found = fit_isoflop(FLOPS, RECURRENCE, None, parabolas())
    assert found.gamma_mean_recurrence.exponent.value == pytest.approx(0.4)
    assert found.gamma_tokens.status is FitStatus.TOO_FEW_POINTS


def test_bad_numbers_are_named() -> None:
    loss = parabolas()
    loss[3] = math.nan
    with pytest.raises(InputError, match=r"loss\[3\] is nan"):
        fit(loss)
    with pytest.raises(InputError, match=r"flops\[0\] is -1; it must be positive"):
        fit_isoflop([-1.0], [2.0], [1e9], [3.0])


def test_a_wild_run_is_named_by_its_place_among_copies() -> None:
    loss = parabolas()
    loss[10] += 0.3
    doubled = [np.concatenate([values[:4], values]) for values in (FLOPS, RECURRENCE, TOKENS, loss)]
    found = fit_isoflop(*doubled)
    assert [o.left_out for o in found.optima] == [(), (14,), (), ()]
    again = {int(run) for o in found.optima for run in o.curve.position}
    assert len(again) == len(FLOPS) - 1
    assert 14 not in again


def test_what_is_not_corrected_has_no_corrected_values() -> None:
    found = fit_isoflop(FLOPS, RECURRENCE, None, parabolas())
    assert found.corrected is None
    assert found.to_dict()["corrected"] is None
