"""Saturation and the unified law: truth recovered, forms told apart, refusals in words."""

import math

import numpy as np
import pytest
from scipy.optimize import curve_fit

from analysis import fit_saturation, fit_unified_law
from analysis.dataset import TestTimeCurve
from analysis.laws import SATURATION
from analysis.testtime import fit_oracle_floor, score_forms, stacked
from analysis.verdict import Status
from parcae.errors import InputError

from .points import grid, published_study

T = np.arange(1.0, 25.0)
TRUTH = {
    "exponential": (2.5, 1.2, 0.4),
    "shifted_power": (2.4, 1.5, 1.1),
    "power": (2.3, 0.9, 0.8),
    "power_no_floor": (3.0, 0.07),
}


@pytest.mark.parametrize("form", TRUTH)
def test_each_form_recovers_its_own_truth(form: str) -> None:
    loss = SATURATION[form].predict(np.array(TRUTH[form]), {"T": T})[0]
    fit = fit_saturation(T, loss, form=form)
    assert fit.status is Status.CONVERGED
    expected = TRUTH[form] if form != "power_no_floor" else (0.0, *TRUTH[form])
    assert (fit.L_inf, fit.Z, fit.z) == pytest.approx(expected, rel=1e-6)
    assert fit.huber < 1e-20
    np.testing.assert_allclose(fit.predict(T), loss, rtol=1e-9)


def test_saturation_is_scipys_least_squares_on_log_loss() -> None:
    loss = (2.5 + 1.2 * np.exp(-0.4 * T)) * np.exp(0.01 * np.random.default_rng(0).standard_normal(24))
    fit = fit_saturation(T, loss)
    reference, _ = curve_fit(
        lambda t, floor, size, rate: np.log(floor + size * np.exp(-rate * t)),
        T,
        np.log(loss),
        p0=(2, 1, 0.5),
        bounds=(0, [5, 10, 5]),
        ftol=1e-15,
        xtol=1e-15,
        gtol=1e-15,
    )
    assert (fit.L_inf, fit.Z, fit.z) == pytest.approx(tuple(reference), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (np.full(24, 3.0), Status.NOT_IDENTIFIED),
        (2 + 0.01 * T, Status.NOT_IDENTIFIED),
        (np.where(T == 1, 2.7, 2.5), Status.AT_A_BOUND),
        (5 - 0.1 * T, Status.AT_A_BOUND),
    ],
    ids=["equal", "rising", "one step", "straight line"],
)
def test_curves_that_do_not_saturate_get_a_verdict(loss: np.ndarray, status: Status) -> None:
    fit = fit_saturation(T, loss)
    assert fit.status is status, fit.message
    if status is Status.NOT_IDENTIFIED:
        assert math.isnan(fit.L_inf)


def test_three_points_are_too_few() -> None:
    fit = fit_saturation(T[:3], 2.5 + np.exp(-T[:3]))
    assert fit.status is Status.TOO_FEW_POINTS
    assert math.isnan(fit.huber)


def test_a_wild_loss_is_left_out_and_named() -> None:
    loss = 2.5 + 1.2 * np.exp(-0.4 * T)
    loss[5] = 30.0
    fit = fit_saturation(T, loss)
    assert (fit.L_inf, fit.Z, fit.z) == pytest.approx((2.5, 1.2, 0.4), rel=1e-6)
    assert "T = 6" in fit.message
    assert fit.points == 23


def test_unknown_forms_name_the_known_ones() -> None:
    with pytest.raises(InputError, match="exponential, shifted_power"):
        fit_saturation(T, T, form="logistic")
    with pytest.raises(InputError, match="gamma_one, learned_gamma"):
        fit_unified_law(T, T, T, T, T, form="logistic")


def test_table_8_is_fitted() -> None:
    curves = published_study().curves
    assert len(curves) == 4
    for curve in curves:
        fit = fit_saturation(curve.test_recurrence, curve.loss)
        assert fit.status is Status.CONVERGED
        at_mean = curve.loss[curve.test_recurrence == curve.mean_recurrence][0]
        assert fit.L_inf == pytest.approx(at_mean, rel=0.01)  # table 13: within 0.59 %


def curves(noise: float = 0.0, seed: int = 0) -> list[TestTimeCurve]:
    """36 runs at ten test recurrences, decaying as exp(-4 T / mu_rec)."""
    study, t = grid(), np.array([1.0, 2, 4, 6, 8, 10, 12, 16, 20, 24])
    generator = np.random.default_rng(seed)
    return [
        TestTimeCurve(
            run_id=str(i),
            model="m",
            mean_recurrence=study.mean_recurrence[i],
            tokens=study.tokens[i],
            effective_parameters=study.parameters[i],
            test_recurrence=t,
            loss=(study.loss[i] + 1.5 * np.exp(-4 * t / study.mean_recurrence[i]))
            * np.exp(noise * generator.standard_normal(len(t))),
        )
        for i in range(len(study.loss))
    ]


@pytest.mark.parametrize("form", ["gamma_one", "learned_gamma"])
def test_unified_law_recovers_the_truth(form: str) -> None:
    data = stacked(curves())
    fit = fit_unified_law(data["N"], data["D"], data["mu"], data["T"], data["loss"], form=form)
    assert fit.status is Status.CONVERGED
    assert (fit.E, fit.x, fit.y, fit.Z, fit.z, fit.gamma) == pytest.approx(
        (2.67, 0.928, 0.516, 1.5, 4, 1), rel=1e-6
    )
    assert fit.mean_error < 1e-9


def test_unified_forms_are_told_apart_and_the_oracle_knows_the_floor() -> None:
    found = curves(noise=0.001)
    data = stacked(found)
    errors = {
        form: fit_unified_law(
            data["N"], data["D"], data["mu"], data["T"], data["loss"], form=form, starts=200
        ).huber
        for form in ("gamma_one", "learned_gamma", "no_conditioning")
    }
    assert errors["learned_gamma"] <= errors["gamma_one"] * (1 + 1e-9)
    assert errors["no_conditioning"] > 3 * errors["gamma_one"]
    oracle = fit_oracle_floor(found)
    assert oracle.status is Status.CONVERGED
    assert oracle.mean_error < 0.01


def test_forms_are_scored_on_what_they_have_not_seen() -> None:
    dense = [
        TestTimeCurve(
            run_id=str(mu),
            model="m",
            mean_recurrence=mu,
            tokens=1e9,
            effective_parameters=1e8,
            test_recurrence=T,
            loss=2.5 + np.exp(-4 * T / mu),
        )
        for mu in (6.0, 8.0, 12.0)
    ]
    scores = {score.form: score for score in score_forms(dense)}
    assert scores["exponential"].runs == 3
    best = min(scores.values(), key=lambda score: score.extrapolation)
    assert best.form == "exponential"
    assert best.extrapolation < 1e-20
    assert scores["power_no_floor"].in_distribution > scores["shifted_power"].in_distribution
