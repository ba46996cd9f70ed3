"""Predictions: the law's own optimum, its interval, and refusals beyond the data."""

from dataclasses import replace

import numpy as np
import pytest

from analysis import predict
from analysis.prediction.planned_loss import predicted_losses
from analysis.published import published_sweep
from analysis.report.fitted_study import fit_model
from parcae.config import ModelConfig
from parcae.errors import InputError
from parcae.flops import effective_parameters
from parcae.presets import preset

from ..points import published_study


def test_prediction_is_the_frontiers() -> None:
    study = published_study()
    found = predict(study, "medium-370m", flops=6.4e19)
    frontier = fit_model(study.models["medium-370m"]).frontier
    assert frontier is not None
    point = frontier.points[1]
    assert found.mean_recurrence == point.mean_recurrence
    assert found.tokens == point.tokens
    assert found.continuous_recurrence == point.continuous_recurrence
    assert found.continuous_tokens == point.continuous_tokens
    assert found.loss.value == pytest.approx(point.loss.value)
    assert found.loss.low < found.loss.value < found.loss.high


def test_tokens_find_the_budget_whose_optimum_they_are() -> None:
    study = published_study()
    by_flops = predict(study, "medium-370m", flops=1e20)
    by_tokens = predict(study, "medium-370m", tokens=by_flops.tokens.value)
    assert by_tokens.flops == pytest.approx(1e20, rel=1e-9)
    assert by_tokens.tokens.value == pytest.approx(by_flops.tokens.value, rel=1e-9)
    assert by_tokens.mean_recurrence.value == by_flops.mean_recurrence.value


def test_advice_holds_itself_and_says_what_was_not_trained() -> None:
    """Trained up to mean recurrence 8, the optimum at 1.6e19 FLOPs is about 10."""
    study = published_study()
    points = study.models["small-140m"]
    shallow = replace(study, models={"small-140m": points.select(points.mean_recurrence <= 8)})
    found = predict(shallow, flops=1.6e19)
    assert found.mean_recurrence.value == 8
    assert found.near_best[0] <= 8 <= found.near_best[1]
    assert found.mean_recurrence.low <= 8 <= found.mean_recurrence.high
    assert "; 9 to 14 not trained" in found.summary()
    assert "not trained" not in predict(study, "medium-370m", flops=6.4e19).summary()


def test_far_budgets_are_refused_unless_asked_for() -> None:
    study = published_study()
    with pytest.raises(InputError, match=r"too far from the runs.*--extrapolate"):
        predict(study, "medium-370m", flops=1e22)
    points = study.models["small-140m"]
    shallow = replace(study, models={"small-140m": points.select(points.mean_recurrence <= 6)})
    with pytest.raises(InputError, match="best mean recurrence"):
        predict(shallow, flops=2e20)
    found = predict(study, "medium-370m", flops=1e22, extrapolate=True)
    assert found.warnings
    nearer = predict(study, "medium-370m", flops=2e20)
    assert not nearer.warnings
    assert found.loss.high - found.loss.low > nearer.loss.high - nearer.loss.low


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"flops": -1.0}, "budget is -1"),
        ({"flops": float("nan")}, "budget is nan"),
        ({}, "either a budget"),
        ({"flops": 1e20, "tokens": 1e9}, "either a budget"),
        ({"flops": 1e20, "test_recurrence": [0.5]}, "test recurrence is 0.5"),
        ({"flops": 1e20, "test_recurrence": [4.0]}, "unified law is too few points"),
    ],
)
def test_bad_requests_are_sentences(request_: dict[str, float], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        predict(published_study(), "medium-370m", **request_)


def test_the_model_must_be_one_of_the_studys() -> None:
    with pytest.raises(InputError, match="name one of small-140m, medium-370m"):
        predict(published_study(), flops=1e20)
    with pytest.raises(InputError, match="has no model 'large'"):
        predict(published_study(), "large", flops=1e20)


def test_an_undecided_law_predicts_nothing() -> None:
    study = published_study()
    points = study.models["medium-370m"]
    flat = replace(study, models={"medium-370m": replace(points, loss=np.full(len(points), 3.0))})
    with pytest.raises(InputError, match="not identified: all losses are equal"):
        predict(flat, flops=1e20)


def test_test_time_losses_come_from_the_unified_law() -> None:
    from ..fits.test_unified import curves

    study = published_study()
    points = study.models["small-140m"]
    smooth = 2.67 + 4.1e6 * points.effective_parameters**-0.928 + 3.06e4 * points.tokens**-0.516
    decaying = [
        replace(
            curve,
            model="small-140m",
            effective_parameters=points.effective_parameters[i],
            tokens=points.tokens[i],
            mean_recurrence=points.mean_recurrence[i],
            loss=smooth[i] + 1.5 * np.exp(-4 * curve.test_recurrence / points.mean_recurrence[i]),
        )
        for i, curve in enumerate(curves())
    ]
    known = replace(study, models={"small-140m": replace(points, loss=smooth)}, curves=tuple(decaying))
    found = predict(known, flops=1.6e19, test_recurrence=[1, 8, 24])
    mu = found.mean_recurrence.value
    for at in found.test_time:
        expected = found.loss.value + 1.5 * np.exp(-4 * at.test_recurrence / mu)
        assert at.loss.value == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match="test recurrence 100 is too far"):
        predict(known, flops=1.6e19, test_recurrence=[100])


def test_plans_of_published_models_are_predicted() -> None:
    model = preset("small-140m").model
    losses = predicted_losses("small-140m", model, [(2, 1e9), (8, 1e10)], None)
    size = effective_parameters(model, 8)
    assert losses[1] == pytest.approx(2.6704 + 4.113e6 * size**-0.92843 + 3.0607e4 * 1e10**-0.51584, rel=1e-3)
    assert losses[0] is not None
    assert losses[0] > 3


def test_plans_prefer_the_models_own_runs() -> None:
    runs = [replace(run, val_loss=2 * run.val_loss) for run in published_sweep().runs if run.val_loss]
    model = preset("small-140m").model
    published = predicted_losses("small-140m", model, [(4, 5e9)], None)[0]
    own = predicted_losses("small-140m", model, [(4, 5e9)], runs)[0]
    assert published is not None
    assert own == pytest.approx(2 * published, rel=1e-6)
    few = [run for run in runs if run.model == "small-140m"][:4]
    assert predicted_losses("small-140m", model, [(4, 5e9)], few)[0] == pytest.approx(published)


def test_plans_of_unknown_shapes_are_not_predicted() -> None:
    model = preset("nano").model
    assert predicted_losses("nano", model, [(4, 1e6)], None) == [None]
    other = ModelConfig.from_dict({**preset("small-140m").model.to_dict(), "context": 1024})
    assert predicted_losses("small-140m", other, [(4, 1e9)], None) == [None]
    assert predicted_losses("small-140m", preset("small-140m").model, [], None) == []
