"""Which form is chosen, what it says of the published study, and that a new form takes one file."""

from collections.abc import Iterator
from dataclasses import fields, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from analysis import fit_coupled_law, fit_training_law, predict
from analysis.checks.held_out import compare_training, holdout
from analysis.data.points import ModelPoints
from analysis.engine.lack_of_fit import Fits, lack_of_fit
from analysis.engine.uncertainty import uncertainty
from analysis.engine.verdict import FitStatus
from analysis.fits.forms import fit_forms
from analysis.laws import COUPLED, FORMS, TRAINING
from analysis.prediction.frontier import best_recurrence, whole_losses
from analysis.prediction.shape import shape_of
from analysis.report.fitted_study import fit_model, fit_study
from analysis.report.headlines import extrapolations, headlines
from analysis.report.json_output import chosen_json
from analysis.report.law_text import forms_text
from parcae.config import default_backward_depth
from parcae.flops import flops_per_token
from parcae.presets import preset

from ..points import grid, published_study

COUPLED_TRUTH = np.array([[2.7524, 1.1116e12, 1.1074e5, 1.6733, 0.5849, 1.6]])


@pytest.mark.parametrize(
    ("model", "error", "gamma", "advised"),
    [
        ("small-140m", 0.12, 0.439, [2, 4, 4, 6, 8, 12]),
        ("medium-370m", 0.10, 0.406, [4, 4, 6]),
    ],
)
def test_the_published_study(model: str, error: float, gamma: float, advised: list[float]) -> None:
    """The coupled law is chosen, both routes are within 0.06, and trained recurrences are advised."""
    found = fit_model(published_study().models[model])
    form, along = found.forms.chosen, found.frontier
    assert form is not None
    assert along is not None
    assert form.law is COUPLED
    assert form.held_out_error_percent <= error
    assert along.gamma_mean_recurrence.value == pytest.approx(gamma, abs=0.002)
    parabolas = found.isoflop.gamma_mean_recurrence.exponent.value
    assert abs(along.gamma_mean_recurrence.value - parabolas) <= 0.06
    assert [point.mean_recurrence.value for point in along.points] == advised
    told = chosen_json(found)
    assert told is not None
    assert told["form"] == "coupled"
    assert told["E"] == form.fit.values["E"]
    assert told["gamma_mean_recurrence"]["low"] < gamma < told["gamma_mean_recurrence"]["high"]


@pytest.mark.parametrize("model", ["small-140m", "medium-370m"])
def test_the_best_form_keeps_its_promise_on_the_largest_budget(model: str) -> None:
    points = published_study().models[model]
    best = compare_training(points, holdout(points))[0]
    assert best.form == "coupled"
    assert sum(unseen.covered for unseen in best.held_out) >= 5


def test_what_was_not_trained_is_extrapolated() -> None:
    """Page 1 of the published report: trained recurrences are findings, recurrence 1 is extrapolated."""
    findings = fit_study(published_study())
    told, beyond = " ".join(headlines(findings)), " ".join(extrapolations(findings))
    assert "small-140m: the training law does not fit" in told
    assert "without a loop" not in told
    assert "best of the trained mean recurrences (2 to 12) is 12" in told
    assert "10 to 18 come within 0.1 %" in told
    assert "medium-370m: the training law does not fit" not in told
    assert "training cannot be distinguished from it" in told
    assert "mean recurrence 1 was not trained" in beyond
    form, shape = findings.models["small-140m"].forms.chosen, findings.models["small-140m"].shape
    assert form is not None
    assert shape is not None
    losses = whole_losses(form.law, form.fit.vector, shape, np.array([1e18, 2e18]), np.array([1.0, 2.0]))[0]
    assert (losses[:, 1] < losses[:, 0]).all()


def test_a_coefficient_at_its_bound_is_never_called_converged() -> None:
    study = published_study()
    points = study.models["small-140m"]
    power = 4.1e6 * points.effective_parameters**-0.928 + 3.06e4 * points.tokens**-0.516
    found = fit_study(replace(study, models={"small-140m": replace(points, loss=power)}, curves=()))
    form = found.models["small-140m"].forms.chosen
    assert form is not None
    assert form.fit.status is FitStatus.AT_A_BOUND
    told = " ".join(headlines(found))
    assert f"the {form.law.name} law is at a bound: E is 0" in told
    assert "converged" not in told


@pytest.fixture
def ten_line_law(tmp_path: Path) -> Iterator[str]:
    """A law of somebody's own, registered by importing its file."""
    file = tmp_path / "multiplied.py"
    file.write_text(
        '"""Size and tokens multiplied."""\n'
        "import numpy as np\n"
        "from analysis.laws import Exponents, Law, Term, register\n"
        "from analysis.laws.terms import FLOOR, exponent\n"
        "def g(data, theta):\n"
        "    n, d = np.atleast_2d(np.log(data['N'])), np.atleast_2d(np.log(data['D']))\n"
        "    return Exponents(-theta[:, :1] * n - theta[:, 1:2] * d, (-n, -d), {})\n"
        "product = Term(coefficient='X', g=g, exponents=(exponent('x'), exponent('y')))\n"
        "register(Law(name='multiplied', equation='L = E + X N^-x D^-y', source='a test',\n"
        "             terms=(FLOOR, product), variables=('N', 'D')))\n"
    )
    spec = spec_from_file_location("multiplied", file)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module_from_spec(spec))
    yield "multiplied"
    FORMS.pop("multiplied")


def test_a_law_takes_one_file(ten_line_law: str) -> None:
    """It is fitted, chosen where it is the truth, compared, and in JSON and report."""
    study = published_study()
    points = study.models["small-140m"]
    smooth = 2.5 + 3e4 * points.effective_parameters**-0.2 * points.tokens**-0.35
    points = replace(points, loss=smooth * np.exp(0.0005 * np.random.default_rng(0).standard_normal(36)))
    found = fit_model(points)
    assert found.forms.chosen is not None
    assert found.forms.chosen.law.name == ten_line_law
    assert found.forms.chosen.fit.values["y"] == pytest.approx(0.35, abs=0.02)
    assert ten_line_law in [form.to_dict()["form"] for form in found.forms.forms.values()]
    assert "L = E + X N^-x D^-y" in forms_text(found.forms)
    assert found.frontier is not None
    assert found.frontier.form == ten_line_law
    assert ten_line_law in {row.form for row in compare_training(points, holdout(points))}


def known_law_study() -> ModelPoints:
    """32 noiseless runs on the planner's own grid: E 2, X 2e3, x 0.42, Y 8e3, y 0.42."""
    points = published_study().models["small-140m"]
    cells = [(c, m) for c in (1e18, 4e18, 1.6e19, 6.4e19) for m in (1, 2, 4, 6, 8, 10, 12, 16)]
    flops, depth = (np.array(column, dtype=float) for column in zip(*cells, strict=True))
    model = preset("small-140m").model
    cost = [
        flops_per_token(model, mean_recurrence=m, backward_depth=default_backward_depth(m)) for _, m in cells
    ]
    once, recurrent = points.once_parameters[0], points.recurrent_parameters[0]
    sizes, tokens = once + depth * recurrent, flops / np.array(cost)
    return replace(
        points.select(np.zeros(36, dtype=bool)),
        run_ids=tuple(map(str, range(32))),
        flops=flops,
        mean_recurrence=depth,
        tokens=tokens,
        effective_parameters=sizes,
        once_parameters=np.full(32, once),
        recurrent_parameters=np.full(32, recurrent),
        loss=2 + 2e3 * sizes**-0.42 + 8e3 * tokens**-0.42,
        seeds=np.full(32, np.nan),
        weights=np.ones(32),
    )


def test_a_known_law_is_recovered_through_the_planners_grid() -> None:
    """Values of OpenAgentsInc/psionic issue 1103, worked out there by another program."""
    points = known_law_study()
    study = replace(published_study(), models={"small-140m": points}, curves=())
    found = predict(study, flops=2e19, resamples=50)
    assert found.form == "training"
    assert found.continuous_recurrence.value == pytest.approx(22.09, abs=0.005)
    assert found.continuous_tokens.value == pytest.approx(9.050e9, rel=1e-3)
    assert found.continuous_loss.value == pytest.approx(3.03186, abs=5e-6)
    assert found.mean_recurrence.value == 22
    forms, shape = fit_forms(points, resamples=50), shape_of(points)
    assert shape is not None
    assert forms.chosen is not None
    best = best_recurrence(forms.chosen.fit.vector, shape, points.budgets)[0]
    assert best == pytest.approx([2.428, 8.111, 19.42, 42.0], rel=1e-3)


def test_achieved_flops_give_the_intervals_of_the_planned_ones() -> None:
    study = published_study()
    points = study.models["small-140m"]
    off = np.exp(np.random.default_rng(1).uniform(-1e-3, 1e-3, 36))
    achieved = replace(points, flops=points.flops * off, tokens=points.tokens * off)
    exact, near = (
        predict(replace(study, models={"small-140m": one}), flops=1e20, resamples=400)
        for one in (points, achieved)
    )
    for name in ("continuous_recurrence", "loss"):
        planned, jittered = getattr(exact, name), getattr(near, name)
        assert jittered.high - jittered.low == pytest.approx(planned.high - planned.low, rel=0.2), name


def test_the_coupled_law_comes_back() -> None:
    study = grid()
    truth = {"E": 2.75, "X": 1.1e12, "x": 1.67, "Y": 1.1e5, "y": 0.585, "k": 1.6}
    loss = COUPLED.predict(
        np.array([[truth[name] for name in COUPLED.parameters]]), {"N": study.parameters, "D": study.tokens}
    )[0]
    fit = fit_coupled_law(study.parameters, study.tokens, loss)
    assert {name: getattr(fit, name) for name in truth} == pytest.approx(truth, rel=1e-5)
    additive = fit_training_law(study.parameters, study.tokens, study.loss)
    coupled = fit_coupled_law(study.parameters, study.tokens, study.loss)
    assert coupled.k == pytest.approx(1, rel=1e-5)
    assert pytest.approx(additive.E, rel=1e-5) == coupled.E


@pytest.mark.parametrize("replicates", [1, 2])
def test_lack_of_fit_says_no_and_only_then(replicates: int) -> None:
    """Ten studies a truth: the training law's own data pass it, the coupled law's do not."""
    points = published_study().models["small-140m"]
    tiled = {
        field.name: np.tile(getattr(points, field.name), replicates)
        for field in fields(points)
        if isinstance(getattr(points, field.name), np.ndarray)
    }
    points = replace(points, run_ids=points.run_ids * replicates, **tiled)
    own = {"N": points.effective_parameters, "D": points.tokens}
    additive = np.array([[2.67, 4.1e6, 3.06e4, 0.928, 0.516]])
    tests: set[str] = set()
    refused = {"training": 0, "coupled": 0}
    for seed in range(10):
        noise = np.exp(0.001 * np.random.default_rng(seed).standard_normal(len(points)))
        for name, law, truth in (("training", TRAINING, additive), ("coupled", COUPLED, COUPLED_TRUTH)):
            loss = law.predict(truth, own)[0] * noise
            fit = fit_training_law(own["N"], own["D"], loss, starts=30).fit
            ratio = uncertainty(fit, points.flops, draws=2).ratio
            found = lack_of_fit(fit, replace(points, loss=loss), points.flops, ratio)
            tests |= set(found.p_values)
            refused[name] += found.verdict is Fits.DOES_NOT_FIT
    assert refused["training"] <= 1
    assert refused["coupled"] >= 9
    assert {"mean recurrence", "tokens", "budget"} <= tests
    assert ("scatter beyond that of repeated runs" in tests) == (replicates == 2)
    assert ("runs of one sign along mean recurrence" in tests) == (replicates == 1)
