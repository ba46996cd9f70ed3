"""A plan from the command line and from a study file, through the command itself."""

import datetime
import math
from pathlib import Path
from typing import Any

import pytest

from parcae.errors import InputError
from sweeps.plan.grid import AXES, Text, isoflop_grid
from sweeps.plan.request import _ONE, _SEVERAL, option_of, read_request
from tests.conftest import Command

NINE = [
    "--model",
    "nano-32",
    "--flops",
    "5e10",
    "--learning-rate",
    "5e-3,1e-2,2e-2",
    "--recurrences",
    "1,2,4",
]


def planned(command: Command, *words: str) -> dict[str, dict[str, object]]:
    done = command("parcae-sweep", "plan", *words, "--json")
    assert done.code == 0, done.err
    return {run["run_id"]: run for run in done.json["runs"]}


def test_rates_times_recurrences(command: Command) -> None:
    runs = planned(command, *NINE)
    assert len(runs) == 9
    assert {(run["learning_rate"], run["mean_recurrence"]) for run in runs.values()} == {
        (rate, recurrence) for rate in (5e-3, 1e-2, 2e-2) for recurrence in (1, 2, 4)
    }
    assert planned(command, *NINE).keys() == runs.keys()
    default = planned(command, "--model", "nano-32", "--flops", "5e10", "--recurrences", "1,2,4")
    assert default.keys() < runs.keys()


def test_a_study_file_says_what_options_say(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        'model = "nano-32"\nflops = ["5e10", 1e11]\nlearning-rate = [5e-3, 1e-2]\n'
        "batch = 8\nrecurrences = [1, 2]\n"
        'initial_weights = "normal,released"\nsweep = "mine"\n'
    )
    from_file = planned(command, "--from", str(file))
    words = ["--model", "nano-32", "--flops", "5e10,1e11", "--learning-rate", "5e-3,1e-2", "--batch", "8"]
    words += ["--recurrences", "1,2"]
    assert from_file.keys() == planned(command, *words, "--initial-weights", "normal,released").keys()
    assert len(from_file) == 16
    assert (tmp_path / "runs" / "sweeps" / "mine.json").exists()
    fewer = planned(command, "--from", str(file), "--flops", "5e10", "--batch", "16")
    assert {run["batch"] for run in fewer.values()} == {16}
    assert len(fewer) == 8


def test_fixed_tokens(command: Command) -> None:
    runs = planned(command, "--model", "nano-32", "--tokens", "1e6", "--recurrences", "1,4").values()
    assert {run["tokens"] for run in runs} == {488 * 16 * 128}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model", "nano"], "without a budget; give --flops or --tokens"),
        (["--flops", "1e10", "--tokens", "1e6"], "both --flops and --tokens"),
        (["--flops", "much"], "--flops"),
        (["--flops", "1e19", "--precision", "bf8"], "float64, float32, bfloat16"),
        (["--flops", "1e19", "--sampling", "log-normal-poisson"], "huginn"),
        (["--flops", "1e19", "--batch", "1.5"], "whole numbers"),
        (["--flops", "1e19", "--recurrences", "2", "--backward-depth", "4"], "--backward-depth 4 exceeds"),
        (["--flops", "1e19", "--learning-rate", "-1"], "--learning-rate is -1"),
        (["--flops", "1e19", "--learning-rate", "inf"], "--learning-rate 'inf'"),
        (["--flops", "1e19", "--batch", "0"], "--batch is 0"),
        (["--flops", "1e19", "--context", "1"], "--context is 1; it must be at least 2"),
        (["--flops", "1e19", "--recurrences", "1001"], "from 1 to 1000"),
        (["--flops", "1e19", "--weight-decay", "nan"], "--weight-decay 'nan'"),
        (["--flops", "1e19", "--epochs-allowed", "-1"], "--epochs-allowed is -1"),
        (["--flops", "1e19", "--convention", "mine"], "'--convention': 'mine' is not one of"),
        (["--flops", "1e19", "--model", "nano-fixed", "--sampling", "huginn"], "--sampling cannot be chosen"),
        (
            ["--model", "small-140m-add", "--flops", "1e19", "--discretisation", "zero-order-hold"],
            "--discretisation zero-order-hold needs the diagonal injection; this model's is add",
        ),
        (["--from", "missing.toml"], "missing.toml"),
    ],
)
def test_a_wrong_plan_is_one_sentence(command: Command, tmp_path: Path, words: list[str], named: str) -> None:
    done = command("parcae-sweep", "plan", *words)
    assert done.code == 2
    assert named in done.sentence
    assert not (tmp_path / "runs").exists()


def test_a_study_file_with_an_unknown_key_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("flops = 1e10\nrate = 1e-3\n")
    done = command("parcae-sweep", "plan", "--from", "study.toml")
    assert done.code == 2
    assert "'rate'" in done.sentence
    assert "learning_rate" in done.sentence


KINDS = {
    **dict.fromkeys(("model", "sweep", "data"), "name"),
    **dict.fromkeys(("recurrences", "seeds", "batch", "context", "backward_depth"), "whole"),
    **dict.fromkeys(("flops", "tokens", "learning_rate", "adamw_learning_rate"), "number"),
    **dict.fromkeys(("epochs_allowed", "weight_decay", "cooldown"), "number"),
    **dict.fromkeys(("convention", "sampling", "precision", "initial_weights", "discretisation"), "choice"),
}
ONE_VALUE = ("model", "sweep", "data", "convention", "epochs_allowed")
WRONG: dict[str, list[Any]] = {
    "name": [3, 2.5, True, "", [], {"a": "nano"}, ["nano"], datetime.date(2026, 1, 1)],
    "whole": [2.0, 1.5, True, "", "two", "1,,2", [], [[1]], {"a": 1}, [1, True], math.nan, math.inf, "nan"],
    "number": [True, "", "much", "1,,2", [], [[1.0]], [1.0, math.nan], {"a": 1}, math.nan, -math.inf, "inf"],
    "choice": [3, True, "", "paperr", [], [["paper"]], {"a": 1}, math.nan],
}
"""Values that no option of a kind takes."""


def test_every_option_is_covered() -> None:
    assert KINDS.keys() == {*_ONE, *_SEVERAL, *map(option_of, AXES)}


@pytest.mark.parametrize("option", KINDS)
def test_a_wrong_value_in_a_study_file_is_one_sentence_with_its_key(tmp_path: Path, option: str) -> None:
    wrong = list(WRONG[KINDS[option]])
    if option in ONE_VALUE:
        wrong += [["paper", "official"], "40,2"] if KINDS[option] != "name" else []
    right: dict[str, Any] = {"model": "nano"} | ({} if option == "tokens" else {"flops": 2e8})
    file = tmp_path / "study.toml"
    for value in wrong:
        file.write_text("\n".join(f"{key} = {toml(item)}" for key, item in (right | {option: value}).items()))
        with pytest.raises(InputError) as refused:
            read_request(file, {})
        sentence = str(refused.value)
        assert f"--{option.replace('_', '-')} " in sentence, value
        assert ("; it takes " in sentence) or ("is an empty list" in sentence), value
        assert "\n" not in sentence


def toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return f"{{{', '.join(f'{key} = {toml(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case str():
            return f'"{value}"'
        case _:
            return str(value)


def test_a_key_given_in_both_spellings_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("flops = 1e19\nlearning-rate = 1e-3\nlearning_rate = 2e-3\n")
    done = command("parcae-sweep", "plan", "--from", "study.toml")
    assert done.code == 2
    assert "both learning-rate and learning_rate" in done.sentence


def test_what_makes_no_difference_makes_no_run(command: Command) -> None:
    base = ["--model", "nano", "--flops", "1e9", "--recurrences", "1,2"]
    plain = planned(command, *base)
    assert planned(command, *base, "--weight-decay=-0.0", "--cooldown", "1").keys() == plain.keys()
    drawn = planned(command, *base, "--sampling", "per-sequence,per-batch,fixed,huginn")
    assert drawn.keys() > plain.keys()
    assert sorted(run["mean_recurrence"] for run in drawn.values()) == [1, 2, 2, 2, 2]
    fixed = planned(command, "--model", "nano-fixed", "--flops", "1e9", "--sampling", "per-sequence")
    assert fixed.keys() == planned(command, "--model", "nano-fixed", "--flops", "1e9").keys()


def test_a_whole_number_has_the_id_of_the_same_fraction() -> None:
    def ids(flops: float, decay: float) -> list[str]:
        text = Text("text", "0", "bytes", "0")
        specs = isoflop_grid("nano", [flops], [2], axes={"weight_decay": [decay]}, text=text)
        return [spec.run_id for spec in specs]

    assert ids(10**10, 0) == ids(1e10, 0.0) == ids(1e10, -0.0)
