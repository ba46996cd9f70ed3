"""Every number of a row of `runs` and `losses`, against numbers worked out by hand from what went in."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps.folders.paths import Study
from sweeps.store.collect import collect
from sweeps.store.csv_export import write_csv
from sweeps.store.csv_import import import_csv
from sweeps.store.database import read_study
from tests.sweeps.studies import finish, plan

ONCE = 256 * 12 + 2 * 12 * 12
"""Of nano, one layer of width 12 on bytes: the unembedding, and what injects the input."""
RECURRENT = 4 * 12 * 12 + 2 * 12 * 48 + 12
"""Attention, MLP, and the gate of the value embedding."""
PASS = 2 * RECURRENT + 2 * 2 * 12 * 64
"""FLOPs of one recurrence forward, attention over 64 tokens included; backward costs twice that."""


def row_of(study: Study, run: int = 0, sweep: str = "s") -> dict[str, Any]:
    collect(study.db)
    return {str(key): value for key, value in read_study(study.db, sweep).runs.iloc[run].items()}


def test_a_planned_run(study: Study) -> None:
    spec = plan(study)[1]  # 1e10 FLOPs at mean recurrence 4
    row = row_of(study, 1)
    assert row["run_id"] == spec.run_id
    assert (row["model"], row["state"], row["convention"], row["seed"]) == ("nano", "planned", "paper", 0)
    assert (row["mean_recurrence"], row["backward_depth"]) == (4, 2)
    assert (row["once_parameters"], row["recurrent_parameters"]) == (ONCE, RECURRENT)
    assert row["flops"] == 1e10
    assert row["flops_per_token"] == 6 * ONCE + PASS * (2 + 3 * 2)  # two forward only, two with gradient
    steps, tokens = row["steps"], row["tokens"]
    assert steps == spec.training.steps > 100
    assert tokens == steps * spec.training.batch_sequences * spec.model.context
    assert tokens == pytest.approx(row["flops"] / row["flops_per_token"], rel=0.02)
    shared = 256 * 12  # tied to the unembedding
    assert row["parameters"] > ONCE + RECURRENT
    assert row["parameters"] - (ONCE + RECURRENT) < 2 * shared
    assert row["corpus"] == "text"
    assert row["corpus_hash"] == "0"
    hyperparameters = json.loads(str(row["hyperparameters"]))
    assert hyperparameters["learning_rate"] == spec.training.learning_rate
    assert hyperparameters["batch_sequences"] == spec.training.batch_sequences
    assert json.loads(str(row["spec"])) == json.loads(spec.json)
    for unknown in ("val_loss", "realised_flops", "result", "reason", "predicted_loss"):
        assert row[unknown] is None or row[unknown] != row[unknown], unknown


def test_a_finished_run(study: Study) -> None:
    specs = plan(study)
    finish(study, specs[1], 2.5, realised_flops=9.9e9)
    finish(study, specs[2], 2.25)
    row = row_of(study, 1)
    assert (row["run_id"], row["state"], row["val_loss"]) == (specs[1].run_id, "done", 2.5)
    assert row["realised_flops"] == 9.9e9
    assert json.loads(str(row["result"]))["val_loss"] == 2.5
    losses = read_study(study.db, "s").losses
    assert losses.to_dict("list") == {
        "run_id": [specs[1].run_id] * 2 + [specs[2].run_id] * 2,
        "test_recurrence": [4, 24, 1, 24],
        "loss": [2.5, 2.49, 2.25, 2.24],
    }


def test_a_diverged_run_has_no_loss(study: Study) -> None:
    spec = plan(study)[0]
    finish(study, spec, status="diverged", diverged_at={"step": 3}, val_loss=None, losses=None)
    row = row_of(study)
    assert row["state"] == "diverged"
    assert row["val_loss"] != row["val_loss"]
    assert read_study(study.db, "s").losses.empty


def test_an_imported_run_of_a_known_model(study: Study, tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text(
        "model,flops,mean_recurrence,seed,lr,val_loss\nnano,1e10,3,7,0.01,2.75\nnano,2e10,4,8,0.02,2.5\n"
    )
    import_csv(study, tmp_path / "theirs.csv", "theirs")
    row = row_of(study, 0, "theirs")
    assert row["run_id"] == "theirs:1"
    assert (row["model"], row["state"], row["convention"]) == ("nano", "done", "paper")
    assert (row["flops"], row["mean_recurrence"], row["seed"], row["val_loss"]) == (1e10, 3, 7, 2.75)
    assert row["backward_depth"] == 2  # of three recurrences the last two have gradient
    assert (row["once_parameters"], row["recurrent_parameters"]) == (ONCE, RECURRENT)
    assert row["flops_per_token"] == 6 * ONCE + PASS * (1 + 3 * 2)
    assert row["tokens"] == pytest.approx(1e10 / row["flops_per_token"], rel=1e-12)
    assert json.loads(str(row["hyperparameters"])) == {"lr": 0.01}
    after = row_of(study, 1, "theirs")
    assert (after["run_id"], after["val_loss"], after["backward_depth"]) == ("theirs:2", 2.5, 2)


def test_an_imported_run_of_any_shape(study: Study, tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text(
        "once_parameters,recurrent_parameters,mean_recurrence,tokens,flops,test_recurrence,val_loss\n"
        "1e8,5e7,4,2e9,3e18,2,3.2\n1e8,5e7,4,2e9,3e18,4,3.1\n1e8,5e7,4,2e9,3e18,9,3.05\n"
    )
    import_csv(study, tmp_path / "theirs.csv", "theirs")
    row = row_of(study, 0, "theirs")
    expected = {
        "model": "theirs",
        "flops": 3e18,
        "tokens": 2e9,
        "mean_recurrence": 4,
        "once_parameters": 1e8,
        "recurrent_parameters": 5e7,
        "parameters": 1.5e8,
        "val_loss": 3.1,
    }
    assert {name: row[name] for name in expected} == expected
    losses = read_study(study.db, "theirs").losses
    assert losses["test_recurrence"].tolist() == [2, 4, 9]
    assert losses["loss"].tolist() == [3.2, 3.1, 3.05]


def test_an_imported_run_without_a_loop(study: Study, tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text("parameters,tokens,val_loss\n1e8,2e9,3.1\n")
    import_csv(study, tmp_path / "theirs.csv", "theirs")
    row = row_of(study, 0, "theirs")
    assert (row["parameters"], row["once_parameters"], row["recurrent_parameters"]) == (1e8, 1e8, 0)
    assert (row["tokens"], row["val_loss"]) == (2e9, 3.1)
    assert row["mean_recurrence"] != row["mean_recurrence"]


def test_what_is_exported_comes_back(study: Study, tmp_path: Path) -> None:
    specs = plan(study)
    for spec in specs[:3]:
        finish(study, spec, 2.0 + spec.training.mean_recurrence)
    collect(study.db)
    before = read_study(study.db, "s")
    assert write_csv(before, tmp_path / "out.csv") == 6
    import_csv(study, tmp_path / "out.csv", "again")
    collect(study.db)
    after = read_study(study.db, "again")
    done = before.runs[before.runs["state"] == "done"]
    columns = ["model", "flops", "mean_recurrence", "tokens", "seed", "val_loss"]
    columns += ["parameters", "once_parameters", "recurrent_parameters"]
    assert after.runs[columns[:6]].to_dict("list") == done[columns[:6]].to_dict("list")
    assert after.runs[columns[7:]].to_dict("list") == done[columns[7:]].to_dict("list")
    assert after.losses["loss"].tolist() == before.losses["loss"].tolist()
