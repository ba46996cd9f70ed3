"""The command line: promised keys, exit codes, one-sentence refusals, and a quick start."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis import cli

from .points import published_study

Run = tuple[int, str, str]


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `parcae-fit` with its arguments in an empty folder: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Run:
        monkeypatch.setattr(sys, "argv", ["parcae-fit", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


def published(fit: Any, *arguments: str) -> Any:
    code, out, err = fit(*arguments, "--sweep", "published", "--json")
    assert code == 0, err
    return json.loads(out)


def test_isoflop_keys_and_exponents(fit: Any) -> None:
    models = published(fit, "isoflop")["models"]
    assert set(models) == {"small-140m", "medium-370m"}
    for name, gamma_mu, gamma_d in (("small-140m", 0.40, 0.77), ("medium-370m", 0.38, 0.77)):
        found = models[name]
        assert {"flops", "mean_recurrence", "tokens", "interior"} <= set(found["optima"][0])
        assert found["gamma_mean_recurrence"]["value"] == pytest.approx(gamma_mu, abs=0.02)
        assert found["gamma_tokens"]["value"] == pytest.approx(gamma_d, abs=0.03)
        for gamma in ("gamma_mean_recurrence", "gamma_tokens"):
            assert found[gamma]["low"] < found[gamma]["value"] < found[gamma]["high"]


def test_training_law_keys(fit: Any) -> None:
    for found in published(fit, "training-law")["models"].values():
        assert {"E", "X", "x", "Y", "y", "huber", "status", "intervals"} <= set(found)
        assert set(found["intervals"]) == {"E", "X", "x", "Y", "y"}
        assert found["status"] == "converged"


def test_saturation_keys(fit: Any) -> None:
    found = published(fit, "saturation")
    assert len(found["runs"]) == 4
    assert {"run_id", "L_inf", "Z", "z", "huber"} <= set(found["runs"][0])
    assert set(found["forms"]) == {"exponential", "shifted_power", "power", "power_no_floor"}
    assert {"in_distribution", "extrapolation"} <= set(found["forms"]["power"])


def test_predict_compare_and_equivalence_keys(fit: Any) -> None:
    found = published(fit, "predict", "--model", "medium-370m", "--flops", "2e20")
    assert {"mean_recurrence", "tokens", "loss"} <= set(found)
    assert set(found["loss"]) == {"value", "low", "high"}
    forms = published(fit, "compare", "--top", "2")["models"]["small-140m"]
    assert forms[0]["held_out_error_percent"] <= forms[1]["held_out_error_percent"]
    assert 0 < published(fit, "equivalence")["phi"]["value"] < 1


def test_report_writes_the_pdf_and_says_where(fit: Any, tmp_path: Path) -> None:
    code, out, _ = fit("report", "--sweep", "published")
    assert code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["published.pdf"]
    assert (tmp_path / "published.pdf").read_bytes().startswith(b"%PDF")
    assert str(tmp_path / "published.pdf") in out
    assert "C^0.401" in out
    (tmp_path / "named").mkdir()
    again = published(fit, "report", "--output", "named/here.pdf")
    assert Path(again["report"]) == tmp_path / "named" / "here.pdf"
    assert again["findings"]


def test_report_in_another_format_with_its_figures(fit: Any, tmp_path: Path) -> None:
    (tmp_path / "few.csv").write_text("parameters,tokens,val_loss\n1e7,1e9,3.4\n1e8,1e9,3.1\n")
    command = [sys.executable, "-m", "sweeps", "import", "few.csv", "--sweep", "few"]
    path = str(Path(cli.__file__).parents[1])
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    code, out, _ = fit("report", "--format", "md", "--date", "1 May 2026", "--figures", "drawn")
    assert code == 0
    assert f"report: {tmp_path / 'few.md'}" in out
    assert "last result 1 May 2026" in (tmp_path / "few.md").read_text()
    code, _, err = fit("report", "--output", "few.png")
    assert code == 2
    assert "its name must end in .pdf, .html, .md, .tex, .json" in err


@pytest.mark.parametrize("command", ["isoflop", "training-law", "saturation", "equivalence", "compare"])
def test_people_get_the_same_as_text(fit: Any, command: str) -> None:
    code, out, _ = fit(command, "--sweep", "published")
    assert code == 0
    assert "nan" not in out
    assert len(out.splitlines()) > 5


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("unified", "--sweep", "published"), "no finished run with tokens, parameters and losses"),
        (("isoflop",), "there is no sweep"),
        (("predict", "--sweep", "published", "--flops", "1e20"), "name one of"),
        (("predict", "--sweep", "published", "--model", "nano", "--flops", "1e20"), "has no model 'nano'"),
        (("predict", "--sweep", "published", "--flops", "many"), "Invalid value for '--flops'"),
        (("compare", "--sweep", "published", "--hold-out", "nothing"), "no finished run 'nothing'"),
        (("compare", "--sweep", "published", "--top", "0"), "must be at least 1"),
    ],
)
def test_wrong_requests_exit_2_in_one_sentence(
    fit: Any, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    code, out, err = fit(*arguments)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert not out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("isoflop", "too few runs for an isoFLOP curve"),
        ("training-law", "too few runs for a training law"),
        ("saturation", "no finished run with losses at several"),
        ("equivalence", "too few looped runs"),
        ("compare", "leaves nothing"),
    ],
)
def test_too_few_points_exit_2(fit: Any, tmp_path: Path, command: str, sentence: str) -> None:
    (tmp_path / "few.csv").write_text(
        "model,flops,mean_recurrence,val_loss\nsmall-140m,1e18,2,3.4\nsmall-140m,1e18,4,3.41\n"
    )
    subprocess.run(
        [sys.executable, "-m", "sweeps", "import", "few.csv", "--sweep", "few"],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(cli.__file__).parents[1]), "PATH": ""},
        capture_output=True,
    )
    code, _, err = fit(command)
    assert code == 2
    assert sentence in err


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from analysis import cli; sys.argv = ['parcae-fit', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'scipy', 'matplotlib', 'pandas', 'numpy', 'duckdb')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(cli.__file__).parents[1],
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_library_is_one_import_away() -> None:
    import analysis

    for name in analysis.__all__:
        assert callable(getattr(analysis, name)) == (name != "figures")
    assert callable(analysis.figures.isoflop)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        analysis.nothing  # noqa: B018


def imported(fit: Any, tmp_path: Path, text: str, *arguments: str) -> Any:
    """The JSON of a command on a study imported from CSV text."""
    (tmp_path / "mine.csv").write_text(text)
    command = [str(Path(sys.executable).parent / "parcae-sweep"), "import", "mine.csv", "--sweep", "mine"]
    subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)
    code, out, err = fit(*arguments, "--sweep", "mine", "--json")
    assert code == 0, err
    return json.loads(out)


def test_isoflop_has_the_corrected_and_the_tied_values_beside_the_plain_ones(fit: Any) -> None:
    found = published(fit, "isoflop")["models"]["small-140m"]
    assert found["axis"] == "mean recurrence"
    assert found["gamma_mean_recurrence"]["budgets"] == [1e18, 2e18, 4e18, 8e18, 1.6e19, 6.4e19]
    assert found["optima"][0]["tokens_extrapolated"]
    corrected = found["corrected"]
    assert {"forms", "optima", "gamma_mean_recurrence", "gamma_tokens", "bias"} == set(corrected)
    for gamma in (corrected["gamma_mean_recurrence"], corrected["gamma_tokens"], found["gamma_tokens_tied"]):
        assert gamma["low"] <= gamma["value"] <= gamma["high"]
    assert 1e18 not in corrected["gamma_mean_recurrence"]["budgets"]


SIZES = "parameters,flops,tokens,val_loss\n" + "".join(
    f"{n:.6g},{c * off:.6g},{c * off / (6 * n):.6g},{1.7 + 400 * n**-0.34 + 410 * (c / 6 / n) ** -0.28:.5f}\n"
    for c in (1e18, 4e18, 1.6e19)
    for n, off in zip((2e7, 5e7, 1e8, 2e8, 5e8), (1.0, 1.0004, 0.9996, 1.0002, 0.9998), strict=True)
)
"""The field's commonest isoFLOP: sizes without a loop at FLOPs as they were achieved."""


def test_sizes_without_a_loop_have_isoflop_curves(fit: Any, tmp_path: Path) -> None:
    found = imported(fit, tmp_path, SIZES, "isoflop")["models"]["mine"]
    assert found["axis"] == "parameters"
    for optimum in found["optima"]:
        assert optimum["interior"]
        size = ((0.34 * 400) / (0.28 * 410)) ** (1 / 0.62) * (optimum["flops"] / 6) ** (0.28 / 0.62)
        assert optimum["parameters"] == pytest.approx(size, rel=0.15)
        assert optimum["tokens_tied"] == pytest.approx(
            optimum["flops"] / (6 * optimum["parameters"]), rel=1e-3
        )
    assert found["gamma_parameters"]["low"] <= 0.28 / 0.62 <= found["gamma_parameters"]["high"]
    along = imported(fit, tmp_path, SIZES, "isoflop", "--axis", "tokens")["models"]["mine"]
    assert along["axis"] == "tokens"
    assert along["gamma_tokens"]["value"] == pytest.approx(1 - found["gamma_parameters"]["value"], abs=0.05)


def test_an_axis_that_nothing_is_known_of_is_refused(fit: Any, tmp_path: Path) -> None:
    imported(fit, tmp_path, SIZES, "isoflop")
    code, _, err = fit("isoflop", "--sweep", "mine", "--axis", "mean-recurrence")
    assert code == 2
    assert "no run has a loop; give --axis parameters or tokens" in err


def test_flops_scattered_within_a_budget_make_no_more_budgets(fit: Any, tmp_path: Path) -> None:
    """Each budget's runs lie 8 % to either side, with a gap of 9 % between them."""
    off = (-0.08, -0.06, -0.05, 0.04, 0.08)
    text = "parameters,flops,tokens,val_loss\n" + "".join(
        f"{n:g},{c * (1 + o):.6g},{c / (6 * n):.6g},{1.7 + 400 * n**-0.34 + 410 * (c / 6 / n) ** -0.28:.5f}\n"
        for c in (1e18, 2e18, 4e18)
        for n, o in zip((2e7, 5e7, 1e8, 2e8, 5e8), off, strict=True)
    )
    found = imported(fit, tmp_path, text, "isoflop")["models"]["mine"]
    assert [optimum["runs"] for optimum in found["optima"]] == [5, 5, 5]


def test_routes_are_told_over_the_same_budgets(fit: Any) -> None:
    found = published(fit, "isoflop")["models"]["small-140m"]
    one, other = (row for row in found["routes"] if row["exponent_of"] == "mean recurrence")
    assert one["budgets"] == found["gamma_mean_recurrence"]["budgets"]
    assert other["budgets"] == found["corrected"]["gamma_mean_recurrence"]["budgets"]
    assert one["corrected"]["value"] is None
    assert other["corrected"]["value"] == found["corrected"]["gamma_mean_recurrence"]["value"]
    _, out, _ = fit("isoflop", "--sweep", "published")
    assert "4: 2e+18 to 1.6e+19" in out
    _, out, _ = fit("isoflop", "--sweep", "published", "--axis", "tokens")
    assert "\nmean recurrence" not in out


def test_the_best_of_several_learning_rates_is_fitted_and_said_so(fit: Any, tmp_path: Path) -> None:
    text = "parameters,tokens,lr,val_loss\n" + "".join(
        f"{n:g},{d:g},{rate:g},{(1.8 + 250 * n**-0.32 + 900 * d**-0.33) * (1 + 0.004 * step**2):.6f}\n"
        for n in (5e7, 1.3e8, 4e8, 1e9)
        for d in (6e9, 1.2e10, 3e10, 8e10)
        for rate, step in ((5e-4, -1), (1e-3, 0), (2e-3, 1.5))
    )
    found = imported(fit, tmp_path, text, "training-law")
    assert found["passed_over"] == 32
    law = found["models"]["mine"]
    assert (law["E"], law["x"], law["y"]) == pytest.approx((1.8, 0.32, 0.33), rel=0.01)
    _, out, _ = fit("training-law", "--sweep", "mine")
    assert "32 runs with other hyperparameters were not used" in out


def test_weights_say_what_the_replicates_say(fit: Any, tmp_path: Path) -> None:
    rows = published_runs()
    text = "model,flops,mean_recurrence,seed,val_loss\n" + "".join(
        f"{model},{flops:g},{mean_recurrence:g},{seed},{loss * (1 + (seed - 1) * noise):.6f}\n"
        for model, flops, mean_recurrence, loss in rows
        for noise in [0.0003 if flops > 5e18 else 0.003]
        for seed in (0, 1, 2)
    )
    plain = imported(fit, tmp_path, text, "training-law")["models"]["small-140m"]
    code, out, err = fit("training-law", "--sweep", "mine", "--json", "--weights")
    assert code == 0
    weighed = json.loads(out)["models"]["small-140m"]
    assert "weighted by the noise of each budget" in err
    assert weighed["E"] != plain["E"]
    code, _, err = fit("isoflop", "--sweep", "published", "--weights")
    assert code == 0
    assert "no budget has enough replicate seeds" in err


def published_runs() -> list[tuple[str, float, float, float]]:
    points = published_study().models["small-140m"]
    columns = (points.flops, points.mean_recurrence, points.loss)
    return [("small-140m", *map(float, row)) for row in zip(*columns, strict=True)]
