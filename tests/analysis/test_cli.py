"""The command line: promised keys, exit codes, one-sentence refusals, and a quick start."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis import cli

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
        [sys.executable, "-m", "sweeps.cli", "import", "few.csv", "--sweep", "few"],
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
        assert callable(getattr(analysis, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        analysis.nothing  # noqa: B018
