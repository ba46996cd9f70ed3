"""Looped beside fixed depth from stored scores: the paper's own numbers, and a study on disk."""

from pathlib import Path

import pytest

from analysis.checks.scores import compare_scores, scores_text
from analysis.engine.formatting import within
from analysis.published import published
from parcae.errors import InputError
from sweeps.folders.paths import Study
from sweeps.plan.grid import isoflop_grid
from sweeps.plan.manifest import plan_sweep
from sweeps.store.rows import ScoreRow, SweepRows, given_row
from sweeps.store.scores import StoredScore, add_scores
from tests.conftest import Command
from tests.sweeps.studies import TEXT, finish

SIZES = {"140M": "small-140m", "370M": "medium-370m", "770M": "large-770m", "1.3B": "xlarge-1.3b"}


def score(run_id: str, t: int, value: float, **changes: object) -> ScoreRow:
    plain = {"step": 10, "task": "core", "seed": 1, "version": "v", "metric": "centred", "examples": 22}
    return ScoreRow(run_id=run_id, test_recurrence=t, value=value, **{**plain, **changes})  # type: ignore[arg-type]


def table_5() -> SweepRows:
    """The paper's models of four sizes, with their CORE."""
    runs, scores = [], []
    for row in published("quality_table5").to_dict("records"):
        looped = row["architecture"] == "parcae"
        size = SIZES[str(row["scale"])]
        name, t = (size, 8) if looped else (f"{size}-fixed", 1)
        runs.append(
            given_row(
                run_id=name,
                model=name,
                tokens=float(row["training_tokens"]),
                val_loss=float(row["val_perplexity"]),
                mean_recurrence=float(t),
            )
        )
        scores.append(score(name, t, float(row["core"])))
        scores.append(score(name, 3, 99.0))  # at another T
        scores.append(score(name, t, 99.0, step=5))  # of an earlier checkpoint
    return SweepRows(name="five", kind="imported", runs=tuple(runs), losses=(), scores=tuple(scores))


def test_efficiency_by_hand() -> None:
    found = {each.model: each for each in compare_scores(table_5()) if each.equal == "tokens"}
    assert set(found) == set(SIZES.values())
    small = found["small-140m"]
    assert (small.looped, small.fixed, small.mean_recurrence) == (14.04, 13.0, 8)
    assert small.efficiency == pytest.approx((14.04 - 13.0) / (17.46 - 13.0))
    assert found["large-770m"].efficiency == pytest.approx((25.07 - 22.42) / (25.45 - 22.42))
    assert found["xlarge-1.3b"].efficiency is None  # there is no larger one
    with within(80):
        assert max(map(len, scores_text(list(found.values())).splitlines())) <= 80


def test_seeds_are_averaged_and_the_lowest_loss_stands_for_its_side() -> None:
    common = {"flops": 1e18, "model": "small-140m"}
    runs = (
        given_row(run_id="a", mean_recurrence=4, val_loss=3.0, **common),  # type: ignore[arg-type]
        given_row(run_id="b", mean_recurrence=6, val_loss=3.1, **common),  # type: ignore[arg-type]
        given_row(run_id="c", mean_recurrence=1, val_loss=3.2, **common),  # type: ignore[arg-type]
    )
    scores = (
        score("a", 4, 10.0, seed=1),
        score("a", 4, 12.0, seed=2),
        score("b", 6, 50.0),
        score("c", 1, 9.0),
    )
    rows = SweepRows(name="s", kind="imported", runs=runs, losses=(), scores=scores)
    (found,) = compare_scores(rows)
    assert (found.equal, found.mean_recurrence, found.looped, found.fixed) == ("flops", 4, 11.0, 9.0)
    with pytest.raises(InputError, match="no two runs of the sweep s"):
        compare_scores(SweepRows(name="s", kind="imported", runs=runs, losses=(), scores=scores[:3]))


def test_through_the_command(command: Command, tmp_path: Path) -> None:
    study = Study(tmp_path / "results.duckdb")
    specs = isoflop_grid("nano", [1e10], [1, 4], **TEXT)
    plan_sweep(study, "s", specs, [None] * len(specs))
    for spec, loss in zip(specs, (2.0, 1.9), strict=True):
        finish(study, spec, loss)
    refused = command("parcae-fit", "scores")
    assert (refused.code, "no run of the sweep s has a score" in refused.sentence) == (2, True)
    for spec, value in zip(specs, (0.1, 0.2), strict=True):
        t = str(spec.training.mean_recurrence)
        stored = StoredScore(
            step=spec.training.steps,
            task="core",
            version="v",
            seed=1,
            metric="centred",
            examples=2,
            values={t: value},
        )
        add_scores(study.run(spec.run_id), [stored])
    (found,) = command("parcae-fit", "scores", "--json").json["comparisons"]
    assert (found["looped"], found["fixed"], found["equal"]) == (0.2, 0.1, "flops")
    assert "Looped and fixed depth at equal FLOPs" in command("parcae-fit", "scores").out
