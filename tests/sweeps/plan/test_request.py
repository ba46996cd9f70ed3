"""A plan from the command line and from a study file, through the command itself."""

from pathlib import Path

import pytest

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
        (["--model", "nano"], "either --flops or --tokens"),
        (["--flops", "1e10", "--tokens", "1e6"], "either --flops or --tokens"),
        (["--flops", "much"], "--flops"),
        (["--flops", "1e19", "--precision", "bf8"], "float64, float32, bfloat16"),
        (["--flops", "1e19", "--sampling", "log-normal-poisson"], "huginn"),
        (["--flops", "1e19", "--batch", "1.5"], "whole numbers"),
        (["--flops", "1e19", "--recurrences", "2", "--backward-depth", "4"], "backward_depth 4 exceeds"),
        (["--flops", "1e19", "--learning-rate", "-1"], "learning_rate is -1"),
        (["--flops", "1e19", "--batch", "0"], "batch_sequences is 0"),
        (["--flops", "1e19", "--weight-decay", "nan"], "weight_decay is nan"),
        (["--model", "small-140m-add", "--flops", "1e19", "--discretisation", "zero-order-hold"], "diagonal"),
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


@pytest.mark.parametrize("option", ["flops", "convention", "epochs_allowed", "recurrences"])
def test_an_empty_list_in_a_study_file_is_refused(command: Command, tmp_path: Path, option: str) -> None:
    lines = {"model": '"nano"', "flops": "2e8"} | {option: "[]"}
    (tmp_path / "study.toml").write_text("\n".join(f"{name} = {value}" for name, value in lines.items()))
    done = command("parcae-sweep", "plan", "--from", "study.toml")
    assert done.code == 2
    assert f"--{option.replace('_', '-')} is an empty list" in done.sentence
