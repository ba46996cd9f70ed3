"""The training law: truth recovered, scipy matched, published numbers reproduced, and honest refusals."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from analysis import fit_training_law
from analysis.engine.fit import DELTA
from analysis.engine.many_starts import MOST_POINTS
from analysis.engine.verdict import FitStatus
from analysis.fits.forms import fit_forms
from analysis.fits.training import TrainingFit, model_training_law
from parcae.errors import InputError

from ..points import grid, published_study

NAMES = ("E", "X", "x", "Y", "y")


def scattered(seed: int, points: int = 60) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Raw counts from 1e6 to 1e12 and a law whose terms all matter there."""
    generator = np.random.default_rng(seed)
    parameters, tokens = np.exp(generator.uniform(np.log(1e6), np.log(1e12), (2, points)))
    x, y = generator.uniform(0.2, 1.2, 2)
    truth = {
        "E": generator.uniform(0.5, 3),
        "X": generator.uniform(0.2, 1) * math.exp(x * np.log(parameters).mean()),
        "x": x,
        "Y": generator.uniform(0.2, 1) * math.exp(y * np.log(tokens).mean()),
        "y": y,
    }
    return parameters, tokens, truth


def value(truth: dict[str, float], parameters: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return np.asarray(
        truth["E"] + truth["X"] * parameters ** -truth["x"] + truth["Y"] * tokens ** -truth["y"]
    )


def as_dict(fit: TrainingFit) -> dict[str, float]:
    return {name: getattr(fit, name) for name in NAMES}


def test_a_run_far_off_the_law_is_named() -> None:
    points = published_study().models["small-140m"]
    loss = points.loss.copy()
    loss[7] *= 1.2
    wild = replace(points, loss=loss)
    forms = fit_forms(wild, resamples=50)
    (found,) = model_training_law(wild, forms.forms["training"]).far_off.items()
    assert found == (points.run_ids[7], pytest.approx(1 / 1.2 - 1, abs=0.02))


@pytest.mark.parametrize("seed", range(12))
def test_noiseless_law_comes_back(seed: int) -> None:
    parameters, tokens, truth = scattered(seed)
    fit = fit_training_law(parameters, tokens, value(truth, parameters, tokens), seed=seed)
    assert fit.status is FitStatus.CONVERGED
    assert as_dict(fit) == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize(("x", "y"), [(0.2, 0.2), (0.2, 1.2), (1.2, 0.2), (1.2, 1.2)])
def test_noiseless_law_comes_back_from_a_narrow_grid(x: float, y: float) -> None:
    """The published design: N within a factor of 3, D within a factor of 150."""
    study = grid()
    truth = {"E": 2.5, "X": 0.5 * 1e8**x, "x": x, "Y": 0.4 * 5e9**y, "y": y}
    fit = fit_training_law(study.parameters, study.tokens, value(truth, study.parameters, study.tokens))
    assert as_dict(fit) == pytest.approx(truth, rel=1e-6)


def test_order_and_units_do_not_matter() -> None:
    study = grid()
    loss = study.noisy(0.002, seed=4)
    fit = fit_training_law(study.parameters, study.tokens, loss)
    shuffle = np.random.default_rng(0).permutation(len(loss))
    shuffled = fit_training_law(study.parameters[shuffle], study.tokens[shuffle], loss[shuffle])
    assert as_dict(shuffled) == as_dict(fit)
    np.testing.assert_array_equal(shuffled.fit.residuals, fit.fit.residuals[shuffle])
    bits = fit_training_law(study.parameters, study.tokens, loss / math.log(2))
    scale = {"E": 1 / math.log(2), "X": 1 / math.log(2), "x": 1, "Y": 1 / math.log(2), "y": 1}
    assert as_dict(bits) == pytest.approx({n: getattr(fit, n) * s for n, s in scale.items()}, rel=1e-6)
    billions = fit_training_law(study.parameters / 1e9, study.tokens / 1e9, loss)
    scale = {"E": 1, "X": 1e9**-fit.x, "x": 1, "Y": 1e9**-fit.y, "y": 1}
    assert as_dict(billions) == pytest.approx({n: getattr(fit, n) * s for n, s in scale.items()}, rel=1e-6)
    assert billions.huber == pytest.approx(fit.huber, rel=1e-9)


def test_any_seed_finds_the_same_minimum() -> None:
    study = grid()
    loss = study.noisy(0.01, seed=1)
    found = [fit_training_law(study.parameters, study.tokens, loss, seed=seed).huber for seed in range(5)]
    assert max(found) == pytest.approx(min(found), rel=1e-9)


@pytest.mark.parametrize(("seed", "points", "starts"), [(0, 240, 20), (1, 240, 20), (2, 2 * MOST_POINTS, 4)])
def test_never_above_scipys_best(seed: int, points: int, starts: int) -> None:
    """Hoffmann-style data: 1 % noise, 5 % outliers; L-BFGS-B from random starts."""
    generator = np.random.default_rng(seed)
    parameters = np.exp(generator.uniform(np.log(5e7), np.log(1.6e10), points))
    tokens = np.exp(generator.uniform(np.log(1e9), np.log(3e11), points))
    noise = 0.01 * generator.standard_normal(points)
    outliers = points // 20
    noise[:outliers] += 0.1 * generator.standard_normal(outliers)
    loss = (1.69 + 406.4 * parameters**-0.34 + 410.7 * tokens**-0.28) * np.exp(noise)
    log_n, log_d, log_l = np.log(parameters), np.log(tokens), np.log(loss)

    def objective(p: np.ndarray) -> tuple[float, np.ndarray]:
        terms = np.exp([p[0] + 0 * log_n, p[1] - p[3] * log_n, p[2] - p[4] * log_d])
        total = terms.sum(0)
        residual = np.log(total) - log_l
        pull = np.clip(residual, -DELTA, DELTA)
        share = terms / total
        gradient = [
            *(pull * share).sum(1),
            -(pull * share[1] * log_n).sum(),
            -(pull * share[2] * log_d).sum(),
        ]
        return (pull * (residual - pull / 2)).sum(), np.array(gradient)

    drawn = generator.uniform([-1, 0, 0, 0, 0], [1, 15, 15, 1.5, 1.5], (starts, 5))
    box = [(-5, 3), (-10, 40), (-10, 40), (0, 5), (0, 5)]  # keeps scipy's line search from overflowing
    best = min(
        minimize(objective, s, jac=True, method="L-BFGS-B", bounds=box, options={"ftol": 1e-15}).fun
        for s in drawn
    )
    assert fit_training_law(parameters, tokens, loss, seed=seed).huber <= best * (1 + 1e-6)


@pytest.mark.parametrize(
    ("model", "huber", "E"), [("small-140m", 5.5e-5, 2.662), ("medium-370m", 3.5e-6, 2.439)]
)
def test_published_points(model: str, huber: float, E: float) -> None:
    """Table 11's floor, and the objective that its authors' own fit of other digits cannot beat."""
    forms = fit_forms(published_study().models[model], resamples=200)
    study = model_training_law(forms.points, forms.forms["training"])
    assert study.law.status is FitStatus.CONVERGED
    assert study.law.huber <= huber
    assert abs(study.law.E - E) <= 0.06
    assert all(i.low <= i.value <= i.high for i in study.intervals.values())


def test_squared_error_is_least_squares() -> None:
    """With delta infinite no small step in any parameter lowers the squared error."""
    study = grid()
    loss = study.noisy(0.003, seed=2)
    fit = fit_training_law(study.parameters, study.tokens, loss, delta=math.inf)
    best = (fit.fit.residuals**2).sum() / 2
    assert fit.huber == pytest.approx(best)
    for name in NAMES:
        for factor in (1 - 1e-4, 1 + 1e-4):
            near = {**as_dict(fit), name: getattr(fit, name) * factor}
            residual = np.log(value(near, study.parameters, study.tokens)) - np.log(loss)
            assert (residual**2).sum() / 2 >= best


def test_one_wild_run_hardly_matters() -> None:
    study = grid()
    clean = study.noisy(0.002, seed=7)
    wild = clean.copy()
    wild[7] = 30.0
    before = fit_training_law(study.parameters, study.tokens, clean)
    after = fit_training_law(study.parameters, study.tokens, wild)
    assert abs(after.E - before.E) <= 0.05
    assert abs(after.y - before.y) <= 0.05


@pytest.mark.parametrize(
    ("case", "status"),
    [
        ("three points", FitStatus.TOO_FEW_POINTS),
        ("seven runs eight times", FitStatus.TOO_FEW_POINTS),
        ("no points", FitStatus.TOO_FEW_POINTS),
        ("equal losses", FitStatus.NOT_IDENTIFIED),
        ("one size", FitStatus.NOT_IDENTIFIED),
        ("two sizes", FitStatus.NOT_IDENTIFIED),
        ("nothing but noise", FitStatus.NOT_IDENTIFIED),
        ("loss falls with size alone", FitStatus.AT_A_BOUND),
        ("loss rises", FitStatus.NOT_IDENTIFIED),
        ("no floor", FitStatus.AT_A_BOUND),
    ],
)
def test_data_without_an_answer_get_a_verdict(case: str, status: FitStatus) -> None:
    study = grid()
    n, d, loss = study.parameters, study.tokens, study.loss
    noise = np.random.default_rng(0).standard_normal(len(loss))
    data = {
        "three points": (n[:3], d[:3], loss[:3]),
        "seven runs eight times": (np.tile(n[:7], 8), np.tile(d[:7], 8), np.tile(loss[:7], 8)),
        "no points": (n[:0], d[:0], loss[:0]),
        "equal losses": (n, d, np.full(36, 3.0)),
        "one size": (np.full(36, 1e8), d, loss),
        "two sizes": (np.where(n > 1.4e8, 2e8, 1e8), d, loss),
        "nothing but noise": (n, d, 3 * np.exp(0.01 * noise)),
        "loss falls with size alone": (n, d, 3 - 0.1 * np.log(n / 1e7)),
        "loss rises": (n, d, 2 + 0.1 * np.log(n / 1e7) + 0.1 * np.log(d / 1e8)),
        "no floor": (n, d, loss - 2.67),
    }[case]
    fit = fit_training_law(*data)
    assert fit.status is status, fit.message
    assert fit.message
    if status in (FitStatus.NOT_IDENTIFIED, FitStatus.TOO_FEW_POINTS):
        assert all(math.isnan(getattr(fit, name)) for name in NAMES)
    minimised = status is not FitStatus.TOO_FEW_POINTS and case != "equal losses"
    assert math.isfinite(fit.huber) == minimised
    assert fit.usable == (case == "no floor")


@pytest.mark.parametrize(("constant", "term"), [("N", "Xx"), ("D", "Yy")])
def test_a_variable_of_one_value_hides_the_floor(constant: str, term: str) -> None:
    """Its term is a constant too: any share of E fits as well, wherever the exponent ends."""
    vary = np.geomspace(1e7, 1e9, 30)
    n, d = (np.full(30, 1e8), vary) if constant == "N" else (vary, np.full(30, 1e10))
    fit = fit_training_law(n, d, 2 + 400 * vary**-0.34)
    assert not fit.usable
    for name in ("E", *term):
        assert math.isnan(getattr(fit, name)), fit.message
    if fit.status is FitStatus.AT_A_BOUND:
        assert as_dict(fit)["y" if constant == "N" else "x"] == pytest.approx(0.34, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"loss": math.nan}, r"loss\[5\] is nan"),
        ({"loss": -1.0}, r"loss\[5\] is -1; it must be positive"),
        ({"tokens": math.inf}, r"tokens\[5\] is inf"),
        ({"parameters": 0.0}, r"parameters\[5\] is 0; it must be positive"),
    ],
)
def test_bad_numbers_are_named(change: dict[str, float], sentence: str) -> None:
    study = grid()
    data = {"parameters": study.parameters, "tokens": study.tokens, "loss": study.loss}
    for name, wrong in change.items():
        data[name] = data[name].copy()
        data[name][5] = wrong
    with pytest.raises(InputError, match=sentence):
        fit_training_law(**data)


def test_wrong_requests_are_refused() -> None:
    study = grid()
    with pytest.raises(InputError, match="3 values but there are 36 losses"):
        fit_training_law(study.parameters, study.tokens[:3], study.loss)
    with pytest.raises(InputError, match="starts is 0"):
        fit_training_law(study.parameters, study.tokens, study.loss, starts=0)
    with pytest.raises(InputError, match="not a list of numbers"):
        fit_training_law(["many"], [1.0], [2.0])


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (np.ma.masked_array(np.full(9, 3.0), np.arange(9) == 2), r"loss\[2\] is nan"),
        (np.full(9, 3.0 + 1j), "complex128"),
        (np.full(9, True), "bool"),
        (np.full(9, "2026-01-01", dtype="datetime64[D]"), "datetime64"),
        (np.where(np.arange(9) == 4, 1e-300, 3.0), r"loss\[4\] is 1e-300; no fit can use"),
        (np.where(np.arange(9) == 4, 1e300, 3.0), r"loss\[4\] is 1e\+300; no fit can use"),
    ],
)
def test_what_is_no_loss_is_refused(loss: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        fit_training_law(np.geomspace(1e7, 1e9, 9), np.geomspace(1e9, 1e11, 9), loss)


def test_starts_and_seed_are_whole_numbers() -> None:
    study = grid()
    for wrong in ({"starts": 0}, {"starts": 2.5}, {"seed": -1}):
        with pytest.raises(InputError, match="it must be a whole number of at least"):
            fit_training_law(study.parameters, study.tokens, study.loss, **wrong)  # type: ignore[arg-type]


def test_a_run_far_off_is_named_with_how_far() -> None:
    points = published_study().models["small-140m"]
    loss = points.loss.copy()
    loss[7] *= 1.25
    forms = fit_forms(replace(points, loss=loss))
    law = model_training_law(forms.points, forms.forms["training"])
    assert list(law.far_off) == [points.run_ids[7]]
    assert law.far_off[points.run_ids[7]] == pytest.approx(1 / 1.25 - 1, abs=0.01)
    assert f"far off: {points.run_ids[7]}, predicted -20." in law.summary()
