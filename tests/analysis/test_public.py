"""What a notebook imports: every public name, and how little comes with it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import (
    FitStatus,
    IsoflopFit,
    fit_coupled_law,
    fit_equivalence,
    fit_isoflop,
    fit_saturation,
    fit_training_law,
    fit_unified_law,
    load_study,
    predict,
    write_report,
)
from parcae.errors import InputError

from ..conftest import BIN
from .points import ONCE, RECURRENT, grid

HEAVY = ("typer", "rich", "matplotlib", "torch", "submitit")
TABLES = ("pandas", "duckdb")  # what a database takes, and arrays do not


@pytest.mark.parametrize(
    "name",
    ["fit_training_law", "fit_coupled_law", "fit_saturation", "fit_unified_law", "fit_isoflop", "predict"],
)
def test_a_fit_is_one_light_import_away(name: str) -> None:
    heavy = HEAVY if name == "predict" else HEAVY + TABLES
    script = f"""
import sys
from analysis import {name}
assert callable({name})
print(*(module for module in {heavy} if module in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not done.stdout.split()


GRID = grid()
FRAME = pd.DataFrame(
    {
        "flops": GRID.flops,
        "mean_recurrence": GRID.mean_recurrence,
        "parameters": GRID.parameters,
        "tokens": GRID.tokens,
        "loss": GRID.noisy(0.001, 0),
        "once_parameters": np.full(36, ONCE),
        "recurrent_parameters": np.full(36, RECURRENT),
        "note": ["as it came"] * 36,
    }
)
RATES = GRID.mean_recurrence / 2  # 1 to 6, of which 1 is no loop
WORTH = FRAME.assign(
    mean_recurrence=RATES,
    loss=2.67 + 4.1e6 * (ONCE + RATES**0.5 * RECURRENT) ** -0.928 + 3.06e4 * GRID.tokens**-0.516,
)
T = np.array([1.0, 2, 3, 4, 6, 8, 12, 16])
CURVE = pd.DataFrame({"test_recurrence": T, "loss": 2.5 + 0.4 * np.exp(-0.9 * T)})
LOSSES = pd.DataFrame(
    [
        {**row, "test_recurrence": t, "loss": row["loss"] + 0.9 * np.exp(-2 * t / row["mean_recurrence"])}
        for row in FRAME.to_dict("records")
        for t in (1, 4, 12)
    ]
)
LOSSES["runs"] = np.repeat(np.arange(36), 3)


def by_name(frame: pd.DataFrame, *names: str) -> list[np.ndarray]:
    return [frame[name].to_numpy() for name in names]


FITS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "training": (
        lambda: fit_training_law(FRAME),
        lambda: fit_training_law(*by_name(FRAME, "parameters", "tokens", "loss")),
    ),
    "coupled": (
        lambda: fit_coupled_law(FRAME),
        lambda: fit_coupled_law(*by_name(FRAME, "parameters", "tokens", "loss")),
    ),
    "isoflop": (
        lambda: fit_isoflop(FRAME, laws=(), resamples=20),
        lambda: fit_isoflop(
            *by_name(FRAME, "flops", "mean_recurrence", "tokens", "loss"),
            parameters=FRAME["parameters"],
            laws=(),
            resamples=20,
        ),
    ),
    "saturation": (
        lambda: fit_saturation(CURVE),
        lambda: fit_saturation(*by_name(CURVE, "test_recurrence", "loss")),
    ),
    "unified": (
        lambda: fit_unified_law(LOSSES, resamples=10),
        lambda: fit_unified_law(
            *by_name(LOSSES, "parameters", "tokens", "mean_recurrence", "test_recurrence", "loss"),
            runs=LOSSES["runs"],
            resamples=10,
        ),
    ),
    "equivalence": (
        lambda: fit_equivalence(WORTH, resamples=10),
        lambda: fit_equivalence(
            *by_name(WORTH, "once_parameters", "recurrent_parameters", "mean_recurrence", "tokens", "loss"),
            resamples=10,
        ),
    ),
}


@pytest.fixture(scope="module", params=list(FITS))
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A fit of a DataFrame, and of the same numbers as arrays."""
    of_frame, of_arrays = FITS[request.param]
    return of_frame(), of_arrays()


def test_a_dataframe_is_as_good_as_arrays(both: tuple[Any, Any]) -> None:
    of_frame, of_arrays = both
    assert of_frame.to_dict() == of_arrays.to_dict()


def test_a_result_is_frozen_and_says_what_it_is_in_a_line(both: tuple[Any, Any]) -> None:
    fit = both[0]
    with pytest.raises(FrozenInstanceError):
        fit.status = "converged"
    assert type(fit).__name__ in analysis.__all__
    assert repr(fit).startswith(type(fit).__name__)
    assert len(repr(fit)) < 200
    assert "–" not in repr(fit)
    assert "\n" not in repr(fit)
    assert "nan" not in repr(fit)


def test_a_summary_and_a_dictionary_hold_every_number(both: tuple[Any, Any]) -> None:
    fit = both[0]
    values = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
    if isinstance(fit, IsoflopFit):
        gamma = fit.gamma_mean_recurrence.exponent
        assert values["gamma_mean_recurrence"]["value"] == gamma.value
        assert f"{gamma.value:.3g}" in fit.summary()
        return
    names = [name for name in fit.fit.law.parameters if np.isfinite(fit.fit.values[name])]
    assert len(names) >= 3
    for name in names:
        number = values[name]["value"] if isinstance(values[name], dict) else values[name]
        assert number == pytest.approx(fit.fit.values[name], rel=1e-12), name
        assert f"{number:.4g}" in fit.summary(), name
    assert fit.message in fit.summary() or fit.status is FitStatus.CONVERGED
    assert values["huber"] == fit.huber
    assert values["points"] == fit.points


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: fit_training_law(FRAME.drop(columns="tokens")), "has no column 'tokens'; it has flops"),
        (lambda: fit_training_law(FRAME, FRAME["tokens"]), "tokens is given beside a DataFrame"),
        (lambda: fit_training_law(FRAME["parameters"], FRAME["tokens"]), "loss is missing"),
        (lambda: fit_training_law(FRAME.assign(tokens="many")), "tokens is not a list of numbers"),
        (
            lambda: fit_isoflop(FRAME[["flops", "tokens", "loss"]]),
            "mean_recurrence and parameters are both missing",
        ),
        (lambda: fit_isoflop(FRAME.assign(seeds="a")), "seeds is not a list of numbers"),
        (
            lambda: fit_training_law(FRAME, starts=20).predict([1e8, 2e8], [1e9, 2e9, 3e9]),
            "parameters has 2 values but tokens has 3",
        ),
        (lambda: fit_training_law(FRAME, starts=20).predict(-1e8, 1e9), r"parameters\[0\] is -1e"),
        (
            lambda: fit_saturation([1, 2, 4, 8, 16], [3.0, 2.7, 2.6, 2.55, 2.54]).predict(0),
            r"test_recurrence\[0\] is 0",
        ),
    ],
)
def test_a_wrong_table_is_refused_in_a_sentence(wrong: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        wrong()


def test_every_public_result_has_a_summary() -> None:
    study = load_study(sweep="published")
    points, fit = study.models["medium-370m"], fit_isoflop(FRAME, resamples=50)
    assert "54 of 58 runs fitted" in study.summary()
    assert "medium-370m (diagonal): 18 runs, 3 budgets" in study.summary()
    assert "mean recurrence: 2 to 12" in points.summary()
    assert f"gamma = {fit.gamma_tokens.exponent.summary()}" in fit.gamma_tokens.summary()
    assert fit.optima[0].summary().startswith("1e+18 FLOPs: ")
    law = fit_training_law(FRAME, starts=20).fit
    assert f"{law.values['E']:.4g}" in law.summary()
    for name in analysis.__all__:
        result = getattr(analysis, name)
        if isinstance(result, type) and name not in ("FitStatus", "TestTimeCurve"):
            assert hasattr(result, "summary"), name


def test_a_run_of_weight_0_is_left_out() -> None:
    spoiled = FRAME.assign(loss=FRAME["loss"].where(FRAME.index != 3, 9.0), weights=1.0 * (FRAME.index != 3))
    rest = fit_training_law(FRAME.drop(index=3))
    assert pytest.approx(rest.E, rel=1e-6) == fit_training_law(spoiled).E
    assert pytest.approx(fit_coupled_law(FRAME.drop(index=3)).E, rel=1e-4) == fit_coupled_law(spoiled).E


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with an imported study of somebody's own."""
    folder = tmp_path_factory.mktemp("study")
    columns = ["once_parameters", "recurrent_parameters", "flops", "mean_recurrence", "tokens", "loss"]
    FRAME[columns].rename(columns={"loss": "val_loss"}).to_csv(folder / "mine.csv", index=False)
    command = [BIN / "parcae-sweep", "import", "mine.csv", "--sweep", "mine"]
    subprocess.run(command, check=True, cwd=folder, capture_output=True)
    return folder / "results.duckdb"


def test_a_study_is_loaded_from_a_path_or_its_name(database: Path, tmp_path: Path) -> None:
    study = load_study(str(database))
    assert study.to_dict() == load_study(database, "mine").to_dict()
    assert repr(study) == "Study(mine: 36 of 36 runs fitted; mine 36)"
    points = study.models["mine"]
    assert repr(points) == "ModelPoints(mine: 36 runs, 6 budgets)"
    frame = points.to_frame()
    assert frame["loss"].tolist() == points.loss.tolist()
    of_frame = fit_training_law(frame)
    assert pytest.approx(fit_training_law(FRAME).E, rel=1e-4) == of_frame.E
    with pytest.raises(InputError, match="there is no sweep in"):
        load_study(tmp_path / "nowhere.duckdb")


def test_prediction_and_report_take_a_path(database: Path, tmp_path: Path) -> None:
    prediction = predict(str(database), flops=8e18, resamples=50)
    again = predict(load_study(database), flops=8e18, resamples=50)
    assert prediction.to_dict() == again.to_dict()
    assert prediction.to_dict()["tokens"] == prediction.tokens.value
    assert f"{prediction.tokens.value:.3g}" in prediction.summary()
    assert repr(prediction).startswith("Prediction(model=mine, flops=8e+18")
    path = write_report(database, tmp_path / "mine.pdf")
    assert path == tmp_path / "mine.pdf"
    assert path.read_bytes().startswith(b"%PDF")


def test_module_and_command_are_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "--help"], check=True, capture_output=True, text=True
    )
    assert "training-law" in done.stdout


@pytest.mark.parametrize(
    ("at", "value", "sentence"),
    [(2, -1.0, r"weights\[2\] is -1"), (0, np.nan, r"weights\[0\]"), (5, np.inf, r"weights\[5\]")],
)
def test_weights_that_weigh_nothing_are_refused(at: int, value: float, sentence: str) -> None:
    runs = load_study(sweep="published").models["small-140m"].to_frame()
    weights = np.ones(len(runs))
    weights[at] = value
    with pytest.raises(InputError, match=sentence):
        fit_training_law(runs["parameters"], runs["tokens"], runs["loss"], weights=weights, starts=20)
