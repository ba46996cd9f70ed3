"""Every column of a row, from a run's folder, from a file and from the paper, and back from the database."""

import csv
import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from parcae.config import Injection
from parcae.flops import counted_parameters, flops_per_token, parameter_count
from parcae.presets import preset
from parcae.training.result import read_result
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import isoflop_grid
from sweeps.runs.states import State, Status
from sweeps.store.collect import collect
from sweeps.store.csv_export import write_csv
from sweeps.store.database import model_runs, open_store, read_sweep
from sweeps.store.importing.study import import_study, read_imported
from sweeps.store.rows import LOOPED, NO_LOOP, LossRow, RunRow, architecture, given_row, run_row
from tests.sweeps.studies import TEXT, finish, plan


def spec_of(model: str, recurrence: int) -> RunSpec:
    (spec,) = isoflop_grid(model, [1e19], [recurrence], **TEXT)
    return spec


def test_every_column_of_a_planned_run(study: Study) -> None:
    spec = spec_of("small-140m", 8)
    row = run_row(spec, Status(State.PLANNED, "because"), "12:34")
    once, recurrent = counted_parameters(spec.model)
    hyperparameters = row.hyperparameters
    assert row == RunRow(
        run_id=spec.run_id,
        model="small-140m",
        architecture="diagonal",
        variant=None,
        state=State.PLANNED,
        reason="because",
        flops=1e19,
        realised_flops=None,
        convention="paper",
        mean_recurrence=8.0,
        backward_depth=4.0,
        tokens=float(spec.training.steps * spec.training.batch_sequences * spec.model.context),
        steps=spec.training.steps,
        flops_per_token=flops_per_token(spec.model, mean_recurrence=8, backward_depth=4),
        parameters=float(parameter_count(spec.model)),
        once_parameters=float(once),
        recurrent_parameters=float(recurrent),
        seed=0,
        hyperparameters=hyperparameters,
        corpus="text",
        corpus_hash="0",
        val_loss=None,
        spec=spec.json,
        result=None,
        signature="12:34",
    )
    assert once != recurrent
    assert row.once_parameters + 8 * row.recurrent_parameters > row.parameters
    assert json.loads(hyperparameters or "") == {
        "optimiser": "muon",
        "learning_rate": spec.training.learning_rate,
        "adamw_learning_rate": spec.training.adamw_learning_rate,
        "weight_decay": spec.training.weight_decay,
        "cooldown": spec.training.cooldown,
        "gradient_clip": 1.0,
        "batch_sequences": spec.training.batch_sequences,
    }


@pytest.mark.parametrize(("state", "loss"), [(State.DONE, 2.0), (State.DIVERGED, None)])
def test_what_a_result_adds(study: Study, state: State, loss: float | None) -> None:
    spec = plan(study)[1]
    finish(study, spec, 2.0, realised_flops=7.5)
    result = read_result(study.run(spec.run_id).path)
    row = run_row(spec, Status(state), "", result)
    assert (row.val_loss, row.realised_flops) == (loss, 7.5)
    assert json.loads(row.result or "")["tokens"] == spec.tokens


def test_every_column_of_a_published_run() -> None:
    model = preset("small-140m").model
    once, recurrent = counted_parameters(model)
    cost = flops_per_token(model, mean_recurrence=5, backward_depth=3)
    row = given_row(run_id="r", model="small-140m", flops=1e19, mean_recurrence=5.0, val_loss=3.0)
    assert row == RunRow(
        run_id="r",
        model="small-140m",
        architecture="diagonal",
        state=State.DONE,
        flops=1e19,
        convention="paper",
        mean_recurrence=5.0,
        backward_depth=3.0,
        tokens=1e19 / cost,
        flops_per_token=cost,
        parameters=float(parameter_count(model)),
        once_parameters=float(once),
        recurrent_parameters=float(recurrent),
        val_loss=3.0,
    )
    assert given_row(
        run_id="r", model="small-140m", flops=1e19, tokens=5.0, mean_recurrence=5.0, val_loss=3.0
    ) == (replace(row, tokens=5.0))


def test_a_model_without_a_loop_is_one_thing() -> None:
    planned = run_row(spec_of("small-140m-fixed", 1), Status(State.PLANNED))
    once, recurrent = counted_parameters(preset("small-140m-fixed").model)
    alone = given_row(run_id="r", model="mine", parameters=1e8, tokens=1e9, val_loss=3.0)
    split = given_row(
        run_id="r",
        model="mine",
        once_parameters=1e8,
        recurrent_parameters=0.0,
        mean_recurrence=1.0,
        tokens=1e9,
        val_loss=3.0,
    )
    assert alone == split
    for row, size in ((planned, float(once + recurrent)), (alone, 1e8)):
        assert (row.architecture, row.mean_recurrence) == (NO_LOOP, 1.0)
        assert (row.once_parameters, row.recurrent_parameters) == (size, 0.0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("small-140m", "diagonal"),
        ("small-140m-add", "add"),
        ("rdm-100m-residual-norm", "concat, residual norm, rdm"),
        ("somebodys-fixed", NO_LOOP),
        ("somebodys-concat", "concat"),
        ("somebodys", LOOPED),
    ],
)
def test_architectures_by_name(name: str, expected: str) -> None:
    row = given_row(run_id="r", model=name, flops=1e19, mean_recurrence=2.0, val_loss=3.0)
    assert row.architecture == expected


def test_architectures_by_configuration() -> None:
    model = preset("nano").model
    assert architecture(model) == "diagonal"
    assert architecture(replace(model, injection=Injection.CONCAT)) == "concat"
    assert architecture(replace(model, injection=Injection.NONE)) == NO_LOOP


def test_rows_come_back_from_the_database_as_they_went_in(study: Study) -> None:
    specs = plan(study)
    finish(study, specs[1], 2.5, realised_flops=1e10)
    collect(study.db)
    rows = read_sweep(study.db, "s")
    assert rows.runs[0] == run_row(specs[0], Status(State.PLANNED))
    done = run_row(
        specs[1], Status(State.DONE), rows.runs[1].signature, read_result(study.run(specs[1].run_id).path)
    )
    assert rows.runs[1] == done
    assert rows.losses[0] == LossRow(run_id=specs[1].run_id, test_recurrence=4, loss=2.5)
    assert set(model_runs(study.db, "nano")) == set(rows.runs)
    with open_store(study.db) as store:
        unknown = [
            f"{field.name} IS NULL" for field in fields(RunRow) if getattr(rows.runs[0], field.name) is None
        ]
        query = f"SELECT count(*) FROM runs WHERE run_id = $1 AND {' AND '.join(unknown)}"
        assert store.connection.execute(query, [specs[0].run_id]).fetchall() == [(1,)]


@pytest.mark.parametrize(
    "text",
    [
        "parameters,tokens,val_loss\n100000000.0,1000000000.0,3.5\n",
        "model,flops,mean_recurrence,seed,val_loss\nsmall-140m,1e+19,2.0,0,3.5\n",
        "model,flops,mean_recurrence,test_recurrence,val_loss\nmine,1e+19,2.0,2,3.5\nmine,1e+19,2.0,4,3.25\n",
    ],
)
def test_what_is_exported_is_imported_as_the_same(study: Study, text: str) -> None:
    path = study.db.parent / "given.csv"
    path.write_text(text)
    import_study(study, path, "one")
    given = read_imported(study.imported("one"), "one")
    collect(study.db)
    again = study.db.parent / "again.csv"
    assert write_csv(read_sweep(study.db, "one"), again) == text.count("\n") - 1
    import_study(study, again, "two")
    back = read_imported(study.imported("two"), "two")

    def numbers(runs: tuple[RunRow, ...]) -> list[RunRow]:
        same = {
            "run_id": "",
            "model": "",
            "flops_per_token": None,
            "convention": None,
            "backward_depth": None,
            "extra": None,
        }
        return [replace(run, **same) for run in runs]  # type: ignore[arg-type]

    assert numbers(back.runs) == numbers(given.runs)
    assert [(row.test_recurrence, row.loss) for row in back.losses] == [
        (row.test_recurrence, row.loss) for row in given.losses
    ]


def test_no_exported_cell_is_a_formula_and_numbers_stay_numbers(study: Study, tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "plain"]
    lines = "".join(f'"{name}",1e8,2e9,3.5,{seed}\n' for seed in (0, 1) for name in names)
    (tmp_path / "in.csv").write_text(f"model,parameters,tokens,val_loss,seed\n{lines}")
    import_study(study, tmp_path / "in.csv", "one")
    collect(study.db)
    write_csv(read_sweep(study.db, "one"), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == 2 * ([f"'{name}" for name in names[:4]] + ["plain"])
    assert {float(row["parameters"]) for row in rows} == {1e8}
    assert {float(row["val_loss"]) for row in rows} == {3.5}
