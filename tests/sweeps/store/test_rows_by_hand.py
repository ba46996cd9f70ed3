"""Numbers of a row of `runs` and `losses`, against numbers worked out by hand from what went in."""

import json
from pathlib import Path

import pytest

from sweeps.folders.paths import Study
from sweeps.runs.states import State
from sweeps.store.collect import collect
from sweeps.store.csv_export import write_csv
from sweeps.store.database import read_sweep
from sweeps.store.importing.study import import_study
from sweeps.store.rows import LossRow, RunRow
from tests.sweeps.studies import finish, plan

ONCE = 256 * 12 + 2 * 12 * 12
"""Of nano, one layer of width 12 on bytes: the unembedding, and what injects the input."""
RECURRENT = 4 * 12 * 12 + 2 * 12 * 48 + 12
"""Attention, MLP, and the gate of the value embedding."""
PASS = 2 * RECURRENT + 2 * 2 * 12 * 64
"""FLOPs per token of one recurrence forward, attention over 64 tokens included; backward costs twice that."""


def row_of(study: Study, run: int = 0, sweep: str = "s") -> RunRow:
    collect(study.db)
    return read_sweep(study.db, sweep).runs[run]


def losses_of(study: Study, sweep: str = "s") -> list[tuple[str, int, float]]:
    return [(row.run_id, row.test_recurrence, row.loss) for row in read_sweep(study.db, sweep).losses]


def test_a_planned_run(study: Study) -> None:
    spec = plan(study)[1]  # 1e10 FLOPs at mean recurrence 4
    row = row_of(study, 1)
    assert row.run_id == spec.run_id
    assert (row.model, row.state, row.convention, row.seed) == ("nano", State.PLANNED, "paper", 0)
    assert (row.mean_recurrence, row.backward_depth) == (4, 2)
    assert (row.once_parameters, row.recurrent_parameters) == (ONCE, RECURRENT)
    assert row.flops == 1e10
    assert row.flops_per_token == 6 * ONCE + PASS * (2 + 3 * 2)  # two forward only, two with gradient
    assert row.steps is not None
    assert row.steps == spec.training.steps > 100
    assert row.tokens == row.steps * spec.training.batch_sequences * spec.model.context
    assert row.tokens == pytest.approx(row.flops / row.flops_per_token, rel=0.02)
    assert row.parameters is not None
    assert 0 < row.parameters - (ONCE + RECURRENT) < 2 * 256 * 12
    assert (row.corpus, row.corpus_hash) == ("text", "0")
    hyperparameters = json.loads(row.hyperparameters or "")
    assert hyperparameters["learning_rate"] == spec.training.learning_rate
    assert hyperparameters["batch_sequences"] == spec.training.batch_sequences
    assert row.spec == spec.json
    assert (row.val_loss, row.realised_flops, row.result, row.reason) == (None, None, None, None)


def test_finished_runs(study: Study) -> None:
    specs = plan(study)
    finish(study, specs[1], 2.5, realised_flops=9.9e9)
    finish(study, specs[2], 2.25)
    row = row_of(study, 1)
    assert (row.run_id, row.state, row.val_loss) == (specs[1].run_id, State.DONE, 2.5)
    assert row.realised_flops == 9.9e9
    assert json.loads(row.result or "")["val_loss"] == 2.5
    assert losses_of(study) == [
        (specs[1].run_id, 4, 2.5),
        (specs[1].run_id, 24, 2.49),
        (specs[2].run_id, 1, 2.25),
        (specs[2].run_id, 24, 2.24),
    ]


def test_a_diverged_run_has_no_loss(study: Study) -> None:
    spec = plan(study)[0]
    where = {"step": 3, "loss": None, "state_norm": 1e9, "injection_norm": 0.5}
    finish(study, spec, status="diverged", steps=3, diverged_at=where, val_loss=None, losses={})
    row = row_of(study)
    assert (row.state, row.val_loss) == (State.DIVERGED, None)
    assert losses_of(study) == []


def test_an_imported_run_of_a_known_model(study: Study, tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text(
        "model,flops,mean_recurrence,seed,lr,val_loss\nnano,1e10,3,7,0.01,2.75\nnano,2e10,4,8,0.02,2.5\n"
    )
    import_study(study, tmp_path / "theirs.csv", "theirs")
    row = row_of(study, 0, "theirs")
    cost = 6 * ONCE + PASS * (1 + 3 * 2)  # of three recurrences the last two have gradient
    assert (row.run_id, row.model, row.state, row.convention) == ("theirs:1", "nano", State.DONE, "paper")
    assert (row.flops, row.mean_recurrence, row.seed, row.val_loss) == (1e10, 3, 7, 2.75)
    assert (row.backward_depth, row.flops_per_token, row.tokens) == (2, cost, 1e10 / cost)
    assert (row.once_parameters, row.recurrent_parameters) == (ONCE, RECURRENT)
    assert json.loads(row.hyperparameters or "") == {"lr": 0.01}
    after = row_of(study, 1, "theirs")
    assert (after.run_id, after.val_loss, after.backward_depth) == ("theirs:2", 2.5, 2)


def test_an_imported_run_of_any_shape(study: Study, tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text(
        "once_parameters,recurrent_parameters,mean_recurrence,tokens,flops,test_recurrence,val_loss\n"
        "1e8,5e7,4,2e9,3e18,2,3.2\n1e8,5e7,4,2e9,3e18,4,3.1\n1e8,5e7,4,2e9,3e18,9,3.05\n"
    )
    import_study(study, tmp_path / "theirs.csv", "theirs")
    assert row_of(study, 0, "theirs") == RunRow(
        run_id="theirs:1",
        model="theirs",
        architecture="looped",
        state=State.DONE,
        flops=3e18,
        tokens=2e9,
        mean_recurrence=4,
        once_parameters=1e8,
        recurrent_parameters=5e7,
        parameters=1.5e8,
        val_loss=3.1,
    )
    assert losses_of(study, "theirs") == [("theirs:1", 2, 3.2), ("theirs:1", 4, 3.1), ("theirs:1", 9, 3.05)]


def test_what_is_exported_comes_back(study: Study, tmp_path: Path) -> None:
    specs = plan(study)
    for spec in specs[:3]:
        finish(study, spec, 2.0 + spec.training.mean_recurrence)
    collect(study.db)
    before = read_sweep(study.db, "s")
    assert write_csv(before, tmp_path / "out.csv") == 6
    import_study(study, tmp_path / "out.csv", "again")
    collect(study.db)
    after = read_sweep(study.db, "again")
    names = ("model", "flops", "mean_recurrence", "tokens", "seed", "val_loss")
    names += ("once_parameters", "recurrent_parameters")
    done = [run for run in before.runs if run.state is State.DONE]
    assert [[getattr(run, name) for name in names] for run in after.runs] == [
        [getattr(run, name) for name in names] for run in done
    ]
    assert [row.loss for row in after.losses] == [row.loss for row in before.losses]
    assert before.losses[0] == LossRow(run_id=specs[0].run_id, test_recurrence=1, loss=3.0)
