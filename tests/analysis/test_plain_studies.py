"""Models without a loop, from the file to the report: the size and tokens that a known law makes best."""

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import cli, load_study, predict
from parcae.errors import InputError
from sweeps.folders.paths import Study
from sweeps.store.importing.study import import_study

E, A, B, ALPHA, BETA = 1.69, 406.4, 410.7, 0.34, 0.28  # Hoffmann et al. arXiv 2203.15556, table A3
G = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))


def loss(n: float, d: float) -> float:
    return E + A * n**-ALPHA + B * d**-BETA


def best_size(flops: float) -> float:
    """The closed form of its equation 4."""
    return float(G * (flops / 6) ** (BETA / (ALPHA + BETA)))


def best_loss(flops: float) -> float:
    return loss(best_size(flops), flops / 6 / best_size(flops))


def study(folder: Path, rows: list[dict[str, object]], name: str = "plain") -> None:
    noise = np.random.default_rng(0)
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            measured = float(str(row["loss"])) * np.exp(0.001 * noise.standard_normal())
            writer.writerow({**row, "loss": measured})
    import_study(Study(folder / "results.duckdb"), path, name)


def isoflops() -> list[dict[str, object]]:
    """Five sizes at each of five budgets; no column gives the FLOPs."""
    rows: list[dict[str, object]] = []
    for flops in (1e18, 3e18, 1e19, 3e19, 1e20):
        for place in (-2, -1, 0, 1, 2):
            n = best_size(flops) * 1.7**place
            d = flops / 6 / n
            rows.append({"name": f"run-{flops:g}-{place}", "N": n, "D": d, "loss": loss(n, d)})
    return rows


def grid(cost: float) -> list[dict[str, object]]:
    """Every size on every number of tokens, a token costing 6 N and `cost` FLOPs."""
    return [
        {"N": n, "D": d, "C": (6 * n + cost) * d, "loss": loss(n, d)}
        for n in (3e7, 7e7, 1.5e8, 3.1e8, 7e8)
        for d in (1e9, 2.3e9, 5e9, 1.3e10, 3e10)
    ]


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `parcae-fit` on the study of isoFLOP curves: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    study(tmp_path, isoflops())

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["parcae-fit", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


def test_both_routes_find_the_exponents(fit: Any, tmp_path: Path) -> None:
    found = load_study(tmp_path / "results.duckdb").models["plain"]
    assert found.spent == pytest.approx(6 * found.effective_parameters * found.tokens)
    code, out, err = fit("isoflop")
    assert code == 0, err
    assert "through 5 interior optima of 5 budgets" in out
    (line,) = [line for line in out.splitlines() if line.startswith("parameters ")]
    cells = re.split(r"\s{2,}", line)
    assert cells[:2] == ["parameters", "5: 1e+18 to 1e+20"]
    parabolas, _, law = (float(cell.split("(")[0]) for cell in cells[2:5])
    assert parabolas == pytest.approx(BETA / (ALPHA + BETA), abs=0.02)
    assert law == pytest.approx(BETA / (ALPHA + BETA), abs=0.02)


def test_the_law_has_a_frontier_of_sizes(fit: Any) -> None:
    code, out, err = fit("training-law", "--json")
    assert code == 0, err
    points = json.loads(out)["models"]["plain"]["size_frontier"]
    assert len(points) == 5
    for point in points:
        assert point["parameters"]["value"] == pytest.approx(best_size(point["flops"]), rel=0.05)
        assert point["tokens"]["value"] == pytest.approx(
            point["flops"] / 6 / point["parameters"]["value"], rel=1e-9
        )
        assert point["loss"]["low"] < loss(
            best_size(point["flops"]), point["flops"] / 6 / best_size(point["flops"])
        )


def test_predict_gives_size_and_tokens(fit: Any) -> None:
    code, out, err = fit("predict", "--flops", "2e20", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["parameters"] == pytest.approx(best_size(2e20), rel=0.05)
    assert (
        found["intervals"]["parameters"]["low"] < best_size(2e20) < found["intervals"]["parameters"]["high"]
    )
    assert found["loss"]["value"] == pytest.approx(best_loss(2e20), rel=2e-3)
    assert found["extrapolated"] == ["2e+20 FLOPs lie beyond the trained 1e+18 to 1e+20"]
    code, out, err = fit("predict", "--tokens", str(found["tokens"]), "--json")
    assert json.loads(out)["flops"] == pytest.approx(2e20, rel=1e-6)
    assert "C = 6 N D" in fit("predict", "--flops", "2e20")[1]
    code, out, err = fit("predict", "--flops", "1e23")
    assert code == 2
    assert "too far from the runs of plain, which support 2.5e+17 to 4e+20" in err
    assert "no test recurrence" in fit("predict", "--flops", "2e20", "--test-recurrence", "4")[2]


def test_compare_holds_out_runs_by_their_names(fit: Any) -> None:
    code, out, err = fit("compare")
    assert code == 0, err
    assert "plain:run-1e+20--2" in out
    code, out, err = fit("compare", "--hold-out", "run-1e+20-0", "--hold-out", "run-1e+20-1")
    assert code == 0, err
    assert out.count("plain:run-1e+20") == 2
    assert "no finished run 'run-7'" in fit("compare", "--hold-out", "run-7")[2]


def test_the_report_says_which_size_is_best(fit: Any, tmp_path: Path) -> None:
    code, out, err = fit("report", "--format", "md", "--output", "plain.md")
    assert code == 0, err
    assert "C = 6 N D, the best parameters grow as C^0.4" in out
    text = (tmp_path / "plain.md").read_text()
    assert "Which size does the law advise?" in text
    assert "the cost of its loop is unknown" not in text


@pytest.mark.parametrize("cost", [0.0, 2e8])
def test_a_token_costs_what_the_runs_say(tmp_path: Path, cost: float) -> None:
    study(tmp_path, grid(cost))
    found = predict(tmp_path / "results.duckdb", flops=5e19, resamples=50)
    sizes = np.geomspace(1e8, 1e9, 20001)
    truth = sizes[np.argmin([loss(n, 5e19 / (6 * n + cost)) for n in sizes])]
    numbers = found.to_dict()
    assert numbers["parameters"] == pytest.approx(truth, rel=0.03)
    assert numbers["tokens"] == pytest.approx(5e19 / (6 * numbers["parameters"] + cost), rel=1e-6)
    assert "the runs' own FLOPs" in found.summary()


def test_a_single_size_has_no_best_one(tmp_path: Path) -> None:
    study(tmp_path, [row for row in grid(0.0) if row["N"] == 3e7])
    with pytest.raises(InputError, match="cannot predict for 'plain'"):
        predict(tmp_path / "results.duckdb", flops=1e18, resamples=50)


def test_a_grid_of_sizes_and_tokens_is_no_isoflop_study(fit: Any, tmp_path: Path) -> None:
    study(tmp_path, [{"N": row["N"], "D": row["D"], "loss": row["loss"]} for row in grid(0.0)], "grid")
    code, _, err = fit("isoflop", "--sweep", "grid")
    assert code == 2
    assert "three sizes that share 6 N D" in err
