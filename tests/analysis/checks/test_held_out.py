"""Held-out scoring: what is held out, how forms rank, and that promises are kept."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.checks.held_out import compare_study, compare_training, holdout
from analysis.data.points import Study
from analysis.engine.verdict import FitStatus
from analysis.laws import UNIFIED
from parcae.errors import InputError

from ..points import grid, published_study


def known_study(noise: float, seed: int = 0) -> Study:
    """The published 140M runs with the losses of a known law."""
    study = published_study()
    points = study.models["small-140m"]
    smooth = 2.67 + 4.1e6 * points.effective_parameters**-0.928 + 3.06e4 * points.tokens**-0.516
    scatter = np.random.default_rng(seed).standard_normal(len(points))
    return replace(study, models={"small-140m": replace(points, loss=smooth * np.exp(noise * scatter))})


def test_the_largest_budgets_are_held_out() -> None:
    points = published_study().models["small-140m"]
    out = holdout(points, top_budgets=2)
    assert sorted(set(points.flops[out])) == [1.6e19, 6.4e19]
    assert out.sum() == 12
    named = holdout(points, runs={points.run_ids[3]})
    assert named.sum() == 1


def test_the_true_form_wins_and_keeps_its_promise() -> None:
    results = compare_study(known_study(0.001), top_budgets=2)["small-140m"]
    best = results[0]
    assert best.form == "training"
    assert best.fitted == 24
    assert best.held_out_error_percent < 0.5
    assert best.coverage >= 0.75
    errors = [r.held_out_error_percent for r in results if np.isfinite(r.held_out_error_percent)]
    assert errors == sorted(errors)
    unseen = best.held_out[0]
    assert unseen.error_percent == pytest.approx(100 * (unseen.predicted.value / unseen.loss - 1))


def test_without_noise_nothing_is_off() -> None:
    best = compare_study(known_study(0.0))["small-140m"][0]
    assert best.held_out_error_percent < 1e-6


def test_a_form_that_cannot_be_fitted_is_ranked_last_with_its_verdict() -> None:
    points = published_study().models["medium-370m"]
    results = compare_training(points, holdout(points, top_budgets=2))
    assert results[-1].status in (FitStatus.TOO_FEW_POINTS, FitStatus.NOT_IDENTIFIED)
    assert results[-1].message
    assert np.isnan(results[-1].held_out_error_percent)


def test_requests_that_leave_nothing_are_refused() -> None:
    study = published_study()
    with pytest.raises(InputError, match="no finished run 'elsewhere'"):
        compare_study(study, runs=["elsewhere"])
    with pytest.raises(InputError, match="it must be at least 1"):
        compare_study(study, top_budgets=0)
    with pytest.raises(InputError, match="leaves nothing"):
        compare_study(study, top_budgets=6)


def test_unified_forms_are_compared_where_there_are_curves() -> None:
    from ..fits.test_unified import curves

    study, shape = known_study(0.0), grid()
    points = study.models["small-140m"]
    named = [
        replace(curve, model="small-140m", run_id=run)
        for curve, run in zip(curves(noise=0.001), points.run_ids, strict=True)
    ]
    assert len(named) == len(shape.loss)
    results = compare_study(replace(study, curves=tuple(named)))
    unified = results["small-140m, test time"]
    assert {r.form for r in unified} == set(UNIFIED)
    assert unified[-1].form == "no_conditioning"
    assert len(unified[0].held_out) == 60


def test_forms_are_ranked_on_all_sizes_of_an_architecture_together() -> None:
    """Each size without its own largest budget."""
    results = compare_study(published_study())
    together = results["diagonal, all sizes"]
    alone = [results[size][0] for size in ("small-140m", "medium-370m")]
    assert together[0].fitted == sum(form.fitted for form in alone) == 42
    assert len(together[0].held_out) == 12
    assert together[0].form == "equivalence"
