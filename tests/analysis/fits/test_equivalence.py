"""What a recurrence is worth: phi recovered across shapes, and refused where one shape hides it."""

import math
from pathlib import Path

import numpy as np
import pytest

from analysis import fit_equivalence
from analysis.checks.robustness import robustness
from analysis.engine.verdict import FitStatus
from analysis.fits.equivalence import study_equivalence
from analysis.prediction.shape import shape_of
from parcae.errors import InputError
from parcae.flops import counted_parameters
from sweeps.folders.paths import Study
from sweeps.plan.manifest import read_manifest
from tests.conftest import Command
from tests.sweeps.studies import finish

from ..points import published_study


def shapes() -> tuple[np.ndarray, ...]:
    """48 runs of four shapes of loop."""
    once, recurrent, r, tokens = (
        a.ravel() for a in np.meshgrid([2e7, 8e7], [1e7, 6e7], [1, 2, 4, 8], [1e9, 4e9, 2e10], indexing="ij")
    )
    return once, recurrent, r, tokens


@pytest.mark.parametrize("phi", [0.0, 0.46, 1.0])
def test_phi_comes_back(phi: float) -> None:
    once, recurrent, r, tokens = shapes()
    loss = 1.8 + 2e3 * (once + r**phi * recurrent) ** -0.4 + 2e3 * tokens**-0.35
    fit = fit_equivalence(once, recurrent, r, tokens, loss, resamples=20)
    assert fit.status is FitStatus.CONVERGED
    assert fit.phi.value == pytest.approx(phi, abs=1e-6)
    assert fit.intervals["alpha"].value == pytest.approx(0.4, rel=1e-6)
    assert not abs(fit.phi.low - phi) > 1e-4  # or no limit: draws without noise may all be equal


def test_an_interval_holds_the_truth_in_noise() -> None:
    once, recurrent, r, tokens = shapes()
    loss = 1.8 + 2e3 * (once + r**0.46 * recurrent) ** -0.4 + 2e3 * tokens**-0.35
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(len(loss)))
    fit = fit_equivalence(once, recurrent, r, tokens, loss * noise, resamples=300)
    assert fit.phi.low < 0.46 < fit.phi.high
    assert fit.phi.high - fit.phi.low < 0.3


def test_one_recurrence_decides_nothing() -> None:
    once, recurrent, r, tokens = shapes()
    loss = 1.8 + 2e3 * (once + recurrent) ** -0.4 + 2e3 * tokens**-0.35
    fit = fit_equivalence(once, recurrent, np.ones_like(r), tokens, loss, resamples=5)
    assert fit.status is FitStatus.NOT_IDENTIFIED
    assert math.isnan(fit.phi.value)


def test_the_published_runs_of_both_sizes_decide_phi() -> None:
    (found,) = study_equivalence(list(published_study().models.values()))
    fit = found.joint
    assert (found.architecture, fit.status, fit.points) == ("diagonal", FitStatus.CONVERGED, 54)
    assert 0.4 < fit.phi.low < fit.phi.high < 0.8
    assert {size: own.status for size, own in found.sizes.items()} == {
        "small-140m": FitStatus.NOT_IDENTIFIED,
        "medium-370m": FitStatus.NOT_IDENTIFIED,
    }
    assert found.forms[0].form == "equivalence"


def test_no_looped_run_is_no_architecture() -> None:
    assert study_equivalence([]) == ()


def test_intervals_have_a_width_when_every_run_is_a_budget_of_its_own() -> None:
    """Resampling within budgets of one run each gave intervals of width zero."""
    once, recurrent, r, tokens = shapes()
    loss = 1.8 + 2e3 * (once + r**0.46 * recurrent) ** -0.4 + 2e3 * tokens**-0.35
    noise = np.exp(0.002 * np.random.default_rng(1).standard_normal(len(loss)))
    alone = fit_equivalence(
        once, recurrent, r, tokens, loss * noise, strata=np.arange(len(loss)), resamples=200
    )
    together = fit_equivalence(once, recurrent, r, tokens, loss * noise, resamples=200)
    assert alone.phi == together.phi
    assert 0.01 < alone.phi.high - alone.phi.low < 0.05


def test_a_model_may_have_one_kind_of_parameters_but_not_none() -> None:
    once, recurrent, r, tokens = shapes()
    once = np.where(once == 2e7, 0.0, once)
    loss = 1.8 + 2e3 * (once + r**0.46 * recurrent) ** -0.4 + 2e3 * tokens**-0.35
    assert fit_equivalence(once, recurrent, r, tokens, loss, resamples=5).phi.value == pytest.approx(0.46)
    with pytest.raises(InputError, match="both 0"):
        fit_equivalence(once, np.zeros_like(recurrent), r, tokens, loss)


LAW = (1.8, 2e3, 0.4, 2e3, 0.35)


def law_loss(size: float, tokens: float) -> float:
    E, A, alpha, B, beta = LAW
    return E + A * size**-alpha + B * tokens**-beta


def test_baselines_enter_however_they_are_written(command: Command, tmp_path: Path) -> None:
    """Runs without a loop are the same runs with N_rec = 0, at r = 1, or with all parameters recurrent."""
    header = "model,once_parameters,recurrent_parameters,mean_recurrence,tokens,val_loss"
    rows = []
    for tokens in (1e9, 4e9, 2e10):
        for recurrent in (1e7, 4e7):
            for r in (2, 4, 8):
                rows.append(f"own,0,{recurrent},{r},{tokens},{law_loss(r**0.46 * recurrent, tokens)!r}")
        for size in (1e7, 3e7, 9e7):
            rows += [
                f"flat,{size},0,1,{tokens},{law_loss(size, tokens)!r}",
                f"own,0,{size},1,{tokens},{law_loss(size, tokens)!r}",
            ]
    (tmp_path / "all.csv").write_text("\n".join([header, *rows]) + "\n")
    assert command("parcae-sweep", "import", "all.csv", "--sweep", "all").code == 0
    ran = command("parcae-fit", "equivalence", "--json")
    assert ran.code == 0, ran.err
    (found,) = ran.json["architectures"].values()
    assert (found["looped"], found["baselines"]) == (18, 18)
    assert ran.json["phi"]["value"] == pytest.approx(0.46, abs=1e-4)


def test_a_planned_study_has_a_phi_for_each_architecture(command: Command, tmp_path: Path) -> None:
    """nano, nano-add, nano-concat, and two sizes without a loop, which are the baselines of all three."""
    budgets = [argument for budget in ("1e10", "2e10", "4e10", "8e10") for argument in ("--flops", budget)]
    for model in ("nano", "nano-add", "nano-concat", "nano-fixed", "nano-32-fixed"):
        loop = () if model.endswith("fixed") else ("--recurrences", "1,2,4,8")
        ran = command("parcae-sweep", "plan", "--model", model, *budgets, *loop, "--sweep", "s", "--json")
        assert ran.code == 0, ran.err
    study = Study(tmp_path / "results.duckdb")
    manifest = read_manifest(study, "s")
    assert manifest is not None
    truth = {"nano": 0.3, "nano-add": 0.6, "nano-concat": 0.9}
    noise = np.random.default_rng(0)
    for spec in manifest.specs.values():
        once, recurrent = counted_parameters(spec.model, spec.convention)
        size = once + spec.training.mean_recurrence ** truth.get(spec.model_name, 1.0) * recurrent
        loss = 1.2 + 40 * size**-0.4 + 300 * spec.tokens**-0.45
        finish(study, spec, loss * float(np.exp(1e-4 * noise.standard_normal())))
    ran = command("parcae-fit", "equivalence", "--json")
    assert ran.code == 0, ran.err
    found = ran.json["architectures"]
    assert set(found) == {"diagonal", "add", "concat"}
    for architecture, phi in (("diagonal", 0.3), ("add", 0.6), ("concat", 0.9)):
        assert found[architecture]["looped"] == 12
        assert found[architecture]["baselines"] == 4 + 8
        assert found[architecture]["phi"]["low"] < phi < found[architecture]["phi"]["high"]
        assert found[architecture]["phi"]["value"] == pytest.approx(phi, abs=0.1)


def test_robustness_panel_holds_every_choice() -> None:
    points = published_study().models["medium-370m"]
    panel = robustness(points, shape_of(points))
    settings = [variant.setting for variant in panel.variants]
    assert settings == [
        "delta 0.0001",
        "delta 0.0003",
        "delta 0.001",
        "delta 0.003",
        "delta 0.01",
        "squared error",
        "without 3.2e+19 FLOPs",
        "without 6.4e+19 FLOPs",
        "without 1.28e+20 FLOPs",
    ]
    low, high = panel.spread("x")
    assert low == min(v.x for v in panel.variants)
    assert high == max(v.x for v in panel.variants)
    assert 0.6 < low < 0.78 < high < 1.0


def test_no_interval_ends_at_its_own_estimate() -> None:
    """The published sizes follow the law badly: least squares and Huber's loss differ by more than noise."""
    fit = study_equivalence(list(published_study().models.values()))[0].joint
    for name, value in fit.intervals.items():
        assert value.low < value.value < value.high, name
