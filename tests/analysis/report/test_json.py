"""JSON says what the results say, key by key: each number is the attribute of its own name."""

import json
import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import pytest

from analysis.checks.held_out import FormResult, compare_training, holdout
from analysis.engine.intervals import Interval
from analysis.fits.equivalence import study_equivalence
from analysis.prediction.predict import Prediction, predict
from analysis.report.fitted_study import FittedModel, FittedStudy, FittedTestTime
from analysis.report.json_output import (
    comparison_json,
    equivalence_json,
    isoflop_json,
    report_json,
    saturation_json,
    training_json,
    unified_json,
)

from .conftest import MODEL


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Interval):
        return {"value": plain(value.value), "low": plain(value.low), "high": plain(value.high)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def agrees(found: Mapping[str, Any], result: Any, *keys: str, **renamed: str) -> None:
    """Each key of `found` holds the attribute of that name, or of the one that `renamed` gives it."""
    for key in (*keys, *renamed):
        expected = plain(getattr(result, renamed.get(key, key)))
        assert found[key] == expected, key
        assert expected is None or json.dumps(found[key], allow_nan=False)


def test_a_number_that_is_missing_is_null() -> None:
    nothing = float("nan")
    assert Interval(value=1.0, low=nothing, high=nothing).to_dict() == {
        "value": 1.0,
        "low": None,
        "high": None,
    }


def test_isoflop(model: FittedModel) -> None:
    found, fit = isoflop_json({MODEL: model})["models"][MODEL], model.isoflop
    assert found["axis"] == "mean recurrence"
    assert len(found["optima"]) == len(fit.optima) == 6
    for row, optimum in zip(found["optima"], fit.optima, strict=True):
        agrees(row, optimum, "flops", "mean_recurrence", "tokens", "tokens_tied", "loss", "parameters")
        agrees(
            row, optimum, "tokens_extrapolated", "interior", "verdict", "message", "warnings", runs="points"
        )
        assert row["runs"] == 6
    for name in ("gamma_mean_recurrence", "gamma_parameters", "gamma_tokens", "gamma_tokens_tied"):
        law = getattr(fit, name)
        agrees(found[name], law, "k", "status", "message", "budgets")
        agrees(found[name], law.exponent, "value", "low", "high")
    corrected = fit.corrected
    assert corrected is not None
    agrees(found["corrected"], corrected, "forms", "bias")
    for row, place in zip(found["corrected"]["optima"], corrected.optima, strict=True):
        agrees(row, place, "flops", "tokens", "used", mean_recurrence="on_axis")
    agrees(found["corrected"]["gamma_mean_recurrence"], corrected.gamma_axis.exponent, "value", "low", "high")
    agrees(found["corrected"]["gamma_tokens"], corrected.gamma_tokens.exponent, "value", "low", "high")
    routes = model.routes
    agrees(found["training_law"], routes.mean_recurrence, gamma_mean_recurrence="law")
    agrees(found["training_law"], routes.tokens, gamma_tokens="law")
    agrees(found, routes, "warnings")
    assert found["believed"] == list(routes.believed)
    for row, route in zip(found["routes"], routes.rows, strict=True):
        agrees(row, route, "budgets", "parabolas_of_law", exponent_of="quantity")
        for name in ("parabolas", "corrected", "law"):
            agrees(row[name], getattr(route, name), "value", "low", "high")


def test_the_chosen_law(model: FittedModel) -> None:
    form, along = model.forms.chosen, model.frontier
    assert form is not None
    assert along is not None
    for found in (
        isoflop_json({MODEL: model})["models"][MODEL]["chosen_law"],
        training_json({MODEL: model})["models"][MODEL]["chosen_law"],
    ):
        agrees(found, form.law, "equation", form="name")
        agrees(found, form, "intervals", "held_out_error_percent", "rolling_error_percent")
        agrees(found, form.fit, "status", "message")
        agrees(found["lack_of_fit"], form.lack_of_fit, "verdict", "message", "p_values")
        agrees(found, along, "gamma_mean_recurrence", "gamma_tokens", budgets="slope_flops")
        for name, value in form.intervals.items():
            assert found[name] == value.value
        assert found["alike"] == [other.law.name for other in model.forms.alike[1:]]


def test_training_law(model: FittedModel) -> None:
    found, law = training_json({MODEL: model})["models"][MODEL], model.training.law
    agrees(found, law, "E", "X", "x", "Y", "y", "huber", "status", "message", "points")
    agrees(found, model.training, "intervals")
    assert set(found["intervals"]) == {"E", "X", "x", "Y", "y"}
    assert model.frontier is not None
    assert found["frontier_form"] == model.frontier.form
    for row, point in zip(found["frontier"], model.frontier.points, strict=True):
        agrees(row, point, "flops", "mean_recurrence", "tokens", "loss", "loss_without_loop", "gain_percent")
        agrees(row, point, "interior", best_beyond_trained="beyond_trained")
        agrees(row, point, **{"within_0.1_percent": "near_best"})
        agrees(row["continuous"], point, mean_recurrence="continuous_recurrence", tokens="continuous_tokens")
        if point.supported:
            gain = 100 * (1 - row["loss"]["value"] / row["loss_without_loop"])
            assert row["gain_percent"]["value"] == pytest.approx(gain, rel=1e-9)
            assert gain > 0
    for row, variant in zip(found["robustness"], model.robustness.variants, strict=True):
        agrees(row, variant, "setting", "status", "E", "x", "y", "gamma_mean_recurrence", "gamma_parabolas")
    assert [row["form"] for row in found["forms"]] == list(model.forms.forms)
    for row, form in zip(found["forms"], model.forms.forms.values(), strict=True):
        agrees(row, form.law, "equation", "source", form="name")
        agrees(row, form.fit, "status", "message", "huber")
        agrees(row, form, "weight", "rolling_error_percent", "held_out_error_percent")
        assert row["aicc"] == (None if form.uncertainty is None else plain(form.uncertainty.aicc))
        agrees(row["behind_percent"], form.behind, "value", "low", "high")
        agrees(row["behind_percent"], form, standard_error="behind_error")


def test_saturation(test_time: FittedTestTime) -> None:
    found = saturation_json(test_time)
    for row, (curve, fit) in zip(found["runs"], test_time.saturation, strict=True):
        agrees(row, curve, "run_id", "model", "mean_recurrence")
        agrees(row, fit, "L_inf", "Z", "z", "huber", "points", "status", "message", "intervals")
        agrees(row, fit, "best_test_recurrence", "best_loss")
        assert row["best_loss"] == min(curve.loss)
        assert row["points"] == 10
    assert list(found["forms"]) == [score.form for score in test_time.forms]
    for score in test_time.forms:
        agrees(found["forms"][score.form], score, "in_distribution", "extrapolation", "runs")


def test_unified(test_time: FittedTestTime) -> None:
    found = unified_json(test_time)["models"][MODEL]
    for form, fit in test_time.unified[MODEL].items():
        row = found["forms"][form]
        agrees(row, fit, "E", "X", "x", "Y", "y", "Z", "z", "gamma", "k", "huber", "mean_error", "points")
        agrees(row, fit, "status", "message", "intervals")
        spread = fit.uncertainty
        assert row["aicc"] == (spread and plain(spread.aicc))
        assert row["noise_shared_in_a_budget"] == (spread and plain(spread.ratio))
    assert {key: found[key] for key in found["forms"]["gamma_one"]} == found["forms"]["gamma_one"]
    oracle = test_time.oracle[MODEL]
    agrees(found["oracle_floor"], oracle, "huber", "mean_error", "status", "message")
    assert (found["oracle_floor"]["Z"], found["oracle_floor"]["z"]) == (
        oracle.values["Z"],
        oracle.values["z"],
    )


def test_equivalence(fitted: FittedStudy) -> None:
    found = equivalence_json(fitted.equivalence)
    one = fitted.equivalence[0]
    assert found["architecture"] == one.architecture
    for row in (found, found["architectures"][one.architecture]):
        agrees(row, one.joint, "phi", "intervals", "huber", "status", "message", "points")
        for name in ("E", "A", "B", "alpha", "beta"):
            assert row[name] == plain(one.joint.intervals[name].value)
    row = found["architectures"][one.architecture]
    agrees(row, one, "looped", "baselines")
    for ranked, form in zip(row["forms"], one.forms, strict=True):
        agrees(ranked, form, "form", "equation", "aicc", "mean_error", "status")


def test_equivalence_of_several_sizes() -> None:
    from ..points import published_study

    found = study_equivalence(list(published_study().models.values()))
    sizes = equivalence_json(found)["architectures"][found[0].architecture]["sizes"]
    assert set(sizes) == {"small-140m", "medium-370m"}
    for size, fit in found[0].sizes.items():
        agrees(sizes[size], fit, "phi", "huber", "status", "points")


def test_comparison(model: FittedModel) -> None:
    results: tuple[FormResult, ...] = compare_training(model.points, holdout(model.points))
    found = comparison_json({MODEL: results})["models"][MODEL]
    for row, result in zip(found, results, strict=True):
        agrees(row, result, "form", "equation", "status", "message", "fitted", "train_error_percent")
        agrees(row, result, "held_out_error_percent", "coverage")
        for unseen, held in zip(row["held_out"], result.held_out, strict=True):
            agrees(unseen, held, "run_id", "flops", "test_recurrence", "loss", "predicted", "covered")
            percent = 100 * (unseen["predicted"]["value"] / unseen["loss"] - 1)
            assert unseen["error_percent"] == pytest.approx(percent, rel=1e-9)
    errors = [abs(row["error_percent"]) for row in found[0]["held_out"]]
    assert found[0]["held_out_error_percent"] == pytest.approx(sum(errors) / len(errors), rel=1e-9)


def test_prediction(fitted: FittedStudy) -> None:
    prediction: Prediction = predict(fitted.study, flops=8e18, test_recurrence=[4, 8], resamples=100)
    found = prediction.to_dict()
    agrees(found, prediction, "model", "form", "alike", "flops", "loss", "extrapolated", "warnings")
    assert found["mean_recurrence"] == prediction.mean_recurrence.value
    assert found["tokens"] == prediction.tokens.value
    assert found["tokens"] != found["flops"] == 8e18
    agrees(found["intervals"], prediction, "mean_recurrence", "tokens")
    agrees(
        found["continuous"],
        prediction,
        mean_recurrence="continuous_recurrence",
        tokens="continuous_tokens",
        loss="continuous_loss",
    )
    agrees(found, prediction, **{"within_0.1_percent": "near_best"})
    assert [row["test_recurrence"] for row in found["test_time"]] == [4, 8]
    for row, loss in zip(found["test_time"], prediction.test_time, strict=True):
        agrees(row, loss, "test_recurrence", "loss")


def test_study_and_report(fitted: FittedStudy, tmp_path: Any) -> None:
    study, found = fitted.study, fitted.study.to_dict()
    agrees(found, study, "runs", "left_out", "data_hash", sweep="name", runs_fitted="used")
    assert found["passed_over"] == 0
    assert found["runs_fitted"] == 36
    files = [tmp_path / "a.pdf", tmp_path / "figures" / "summary.svg"]
    page = report_json(fitted, files)
    assert page["report"] == str(tmp_path / "a.pdf")
    assert page["files"] == [str(file) for file in files]
    assert set(page) == {"report", "files", "findings", "extrapolated", "warnings"}
