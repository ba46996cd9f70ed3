"""Saturation of one run: truth recovered, verdicts that say no, intervals that cover."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from analysis import fit_saturation
from analysis.data.points import TestTimeCurve
from analysis.engine.verdict import FitStatus
from analysis.fits.saturation import fit_curves, score_forms
from analysis.laws import SATURATION
from parcae.errors import InputError
from tests.conftest import Command

from ..points import published_study

T = np.arange(1.0, 25.0)
DOUBLING = np.array([1.0, 2, 4, 8, 16, 32])
NOISE = 3e-4
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
    assert fit.status is FitStatus.CONVERGED
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
    values = [fit.fit.values[name] for name in ("L_inf", "Z", "z")]
    assert values == pytest.approx(list(reference), rel=1e-4)


FALL = 2.5 + 1.2 * np.exp(-0.4 * T)


@pytest.mark.parametrize(
    ("loss", "status"),
    [
        (np.full(24, 3.0), FitStatus.NOT_IDENTIFIED),
        (2 + 0.01 * T, FitStatus.TURNS_UP),
        (np.where(T == 1, 2.7, 2.5), FitStatus.LEVEL),
        (5 - 0.1 * T, FitStatus.NO_FLOOR),
        (3.5 - 0.1 * np.log(T), FitStatus.NO_FLOOR),
        (2.5 + np.abs(T - 8) / 10, FitStatus.TURNS_UP),
        (2.5 + np.exp(-(np.maximum(T - 3, 0) ** 2)), FitStatus.LEVEL),
    ],
    ids=["equal", "rising", "one step", "straight line", "logarithm", "v", "a step, not an exponential"],
)
def test_curves_that_do_not_saturate_get_a_verdict(loss: np.ndarray, status: FitStatus) -> None:
    fit = fit_saturation(T, loss)
    assert fit.status is status, fit.message
    assert math.isnan(fit.z)
    assert math.isfinite(fit.L_inf) == (status is FitStatus.LEVEL)


def test_noise_on_a_level_tail_is_no_fall() -> None:
    noise = NOISE * np.random.default_rng(0).standard_normal(24)
    fit = fit_saturation(T, np.where(T == 1, 2.7, 2.5) * np.exp(noise))
    assert fit.status is FitStatus.LEVEL
    assert fit.L_inf == pytest.approx(2.5, rel=NOISE)
    plain = fit.to_dict()
    assert (plain["message"], plain["status"]) == (fit.message, "floor reached, not exponentially")
    assert plain["intervals"] == {name: limits.to_dict() for name, limits in fit.intervals.items()}


def certified(t: np.ndarray, loss: np.ndarray, draws: int, seed: int = 0) -> int:
    """How many of `draws` noisy copies of a curve are said to fall to a floor."""
    scatter = np.random.default_rng(seed).standard_normal((draws, len(t)))
    fits = fit_curves([(t, row) for row in loss * np.exp(NOISE * scatter)])
    return sum(fit.status is FitStatus.CONVERGED for fit in fits)


@pytest.mark.parametrize("t", [T, DOUBLING], ids=["every T", "doubling T"])
def test_no_false_floor_is_certified(t: np.ndarray) -> None:
    last, fall = t[-1], 2.5 + 1.2 * np.exp(-0.8 * t)
    rising = {rise: fall * (1 + rise * np.maximum(t - 8, 0) / (last - 8)) for rise in (0.005, 0.02, 0.1)}
    endless = {
        "logarithm": 3.5 - 0.1 * np.log(t),
        "root": 2.5 + t**-0.5,
        "inverse": 2.5 + 1 / t,
        "slow": 2.5 + np.exp(-0.01 * t),
    }
    assert {name: certified(t, loss, 20) for name, loss in endless.items()} == dict.fromkeys(endless, 0)
    for rise, loss in rising.items():
        fits = fit_curves(
            [(t, loss * np.exp(NOISE * np.random.default_rng(i).standard_normal(len(t)))) for i in range(20)]
        )
        assert sum(fit.status is FitStatus.TURNS_UP for fit in fits) >= 19, rise
        assert all(fit.best_test_recurrence <= 16 for fit in fits)


@pytest.mark.parametrize("t", [T, DOUBLING], ids=["every T", "doubling T"])
def test_true_floors_are_certified_and_covered(t: np.ndarray) -> None:
    loss = 2.5 + 1.2 * np.exp(-6 / t[-1] * t)
    scatter = np.random.default_rng(1).standard_normal((60, len(t)))
    fits = fit_curves([(t, row) for row in loss * np.exp(NOISE * scatter)])
    found = [fit for fit in fits if fit.status is FitStatus.CONVERGED]
    assert len(found) >= 57
    assert all(abs(fit.L_inf - 2.5) < 0.01 for fit in found)
    for name, truth in (("L_inf", 2.5), ("Z", 1.2), ("z", 6 / t[-1])):
        covered = [f.intervals[name].low <= truth <= f.intervals[name].high for f in found]
        assert 0.87 <= np.mean(covered) <= 1.0, name


def test_no_measurement_is_left_out() -> None:
    loss = FALL.copy()
    loss[7] = 2.2  # the best one, 13 % below the curve through the others
    fit = fit_saturation(T, loss)
    assert fit.points == 24
    assert (fit.best_test_recurrence, fit.best_loss) == (8, 2.2)
    assert fit.status is FitStatus.TURNS_UP


def test_a_wild_loss_is_named() -> None:
    loss = FALL.copy()
    loss[5] = 30.0
    fit = fit_saturation(T, loss)
    assert fit.status is not FitStatus.CONVERGED
    assert "T = 6" in fit.message
    assert fit.points == 24


def test_losses_may_come_in_any_order() -> None:
    noisy = FALL * np.exp(NOISE * np.random.default_rng(3).standard_normal(24))
    mixed = np.random.default_rng(0).permutation(24)
    one, other = fit_saturation(T, noisy), fit_saturation(T[mixed], noisy[mixed])
    assert one.status is other.status is FitStatus.CONVERGED
    assert one.intervals["L_inf"].high == pytest.approx(other.intervals["L_inf"].high, rel=1e-9)


def test_three_points_are_too_few() -> None:
    fit = fit_saturation(T[:3], 2.5 + np.exp(-T[:3]))
    assert fit.status is FitStatus.TOO_FEW_POINTS
    assert math.isnan(fit.huber)


def test_four_points_give_a_curve_but_no_verdict() -> None:
    """Table 8: floors within 0.61 % of the losses at T = mu_rec (table 13: 0.59), which prove little."""
    curves = published_study().curves
    assert len(curves) == 4
    for curve in curves:
        fit = fit_saturation(curve.test_recurrence, curve.loss)
        assert fit.status is FitStatus.TOO_FEW_POINTS
        at_mean = curve.loss[curve.test_recurrence == curve.mean_recurrence][0]
        assert fit.L_inf == pytest.approx(at_mean, rel=0.01)
        assert fit.intervals["L_inf"].value == fit.L_inf
        assert math.isnan(fit.intervals["L_inf"].low)  # one spare point tells no width
        assert "nor bound it; 5 can" in fit.summary()


def test_unknown_forms_name_the_known_ones() -> None:
    with pytest.raises(InputError, match="exponential, shifted_power"):
        fit_saturation(T, T, form="logistic")


def test_the_command_says_what_turns_up_and_what_is_level(command: Command, tmp_path: Path) -> None:
    """Losses of the kind that users report: one run that overthinks, one that stops changing."""
    over = {
        1: 4.88,
        2: 4.35,
        4: 4.14,
        6: 4.10,
        8: 4.089,
        12: 4.086,
        16: 4.088,
        24: 4.103,
        32: 4.114,
        64: 4.122,
    }
    stops = {1: 7.10, 2: 5.99, 4: 4.179, 6: 4.1775, 8: 4.1775, 12: 4.1775, 16: 4.1775}
    rows = [
        f"{model},4e17,9,{t},{loss}"
        for model, losses in (("over", over), ("stops", stops))
        for t, loss in losses.items()
    ]
    header = "model,flops,mean_recurrence,test_recurrence,val_loss"
    (tmp_path / "loops.csv").write_text("\n".join([header, *rows]) + "\n")
    assert command("parcae-sweep", "import", "loops.csv", "--sweep", "loops").code == 0
    found = command("parcae-fit", "saturation", "--json")
    runs = {run["model"]: run for run in found.json["runs"]}
    assert runs["over"]["status"] == "turns up"
    assert (runs["over"]["best_test_recurrence"], runs["over"]["L_inf"]) == (12, None)
    assert runs["stops"]["status"] == "floor reached, not exponentially"
    assert runs["stops"]["L_inf"] == pytest.approx(4.1775)
    text = command("parcae-fit", "saturation").out
    assert "the loss is lowest at T = 12 (4.086) and 0.88 % higher at T = 64" in text


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


def test_the_summary_of_a_curve_without_limits_has_its_values() -> None:
    found = fit_saturation([1, 2, 3, 4], [3.0, 2.9, 2.85, 2.83])
    lines = [line.split() for line in replace(found, intervals={}).summary().splitlines()]
    for name in ("L_inf", "Z", "z"):
        value = next(float(line[1]) for line in lines if line and line[0] == name)
        assert value == pytest.approx(getattr(found, name), rel=1e-3)
    assert found.to_dict()["best_test_recurrence"] == 4
    assert found.to_dict()["huber"] == found.huber
    assert found.to_dict()["message"] == found.message
