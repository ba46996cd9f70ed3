"""Runs of an early version, whose weights were in bfloat16: read and reported, never trained on or mixed."""

import json
from pathlib import Path

import pytest

from analysis.data.study import load_study
from parcae.config import InitialWeights, Precision
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import isoflop_grid
from sweeps.plan.manifest import plan_sweep
from sweeps.store.collect import collect
from sweeps.store.database import open_store
from tests.conftest import Command
from tests.sweeps.studies import TEXT, finish


def old_specs() -> list[RunSpec]:
    """Specifications as the early version wrote them."""
    specs = []
    for spec in isoflop_grid("small-140m", [1e18, 2e18, 4e18], [2, 4, 6, 8], **TEXT):
        plain = spec.to_dict()
        del plain["training"]["initial_weights"]
        plain["training"]["precision"] = "bfloat16"
        specs.append(RunSpec.from_dict(plain))
    return specs


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """An old study, of which one run has no result yet."""
    study = Study(tmp_path / "results.duckdb")
    specs = old_specs()
    plan_sweep(study, "old", specs, [None] * len(specs))
    for spec in specs[:-1]:
        size = spec.training.mean_recurrence
        finish(study, spec, 3 - 0.1 * size**0.1 + 0.02 * (size / 4 - 1) ** 2 - 1e-19 * spec.flops_budget)
    return study


def test_an_old_specification_keeps_its_meaning_and_its_id() -> None:
    spec = old_specs()[0]
    assert spec.training.precision is Precision.BFLOAT16_WEIGHTS
    assert spec.training.initial_weights is InitialWeights.NORMAL
    plain = json.loads(spec.json)
    assert plain["training"]["precision"] == "bfloat16"
    assert "initial_weights" not in plain["training"]
    new = isoflop_grid("small-140m", [1e18], [2], **TEXT)[0]
    assert new.run_id != spec.run_id
    assert json.loads(new.json)["training"]["precision"] == "bfloat16-mixed"


def test_finished_runs_are_reported_under_what_they_are(study: Study, command: Command) -> None:
    isoflop = command("parcae-fit", "isoflop", "--sweep", "old", "--json")
    assert isoflop.code == 0, isoflop.err
    (name,) = isoflop.json["models"]
    assert name == "small-140m (normal initial weights, bfloat16 weights)"


def test_unfinished_runs_are_refused_in_a_sentence(study: Study, command: Command) -> None:
    submitted = command("parcae-sweep", "submit", "--sweep", "old", "--cluster", "local")
    assert submitted.code == 2
    assert "1 of these runs" in submitted.sentence
    assert "weights in bfloat16" in submitted.sentence


def test_new_runs_of_the_same_name_share_no_fit_with_old_ones(study: Study) -> None:
    new = isoflop_grid("small-140m", [1e18, 2e18, 4e18], [2, 4, 6, 8], **TEXT)
    plan_sweep(study, "old", new, [None] * len(new))
    for spec in new:
        finish(study, spec, 2.9)
    groups = load_study(study.db, "old").models
    assert {name: len(points) for name, points in groups.items()} == {
        "small-140m": 12,
        "small-140m (normal initial weights, bfloat16 weights)": 11,
    }


def test_a_database_of_the_former_schema_is_brought_up_to_date(study: Study) -> None:
    collect(study.db)
    with open_store(study.db) as store:
        for column in ("architecture", "variant", "realised_flops", "hyperparameters", "extra"):
            store.connection.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        store.connection.execute("DROP TABLE scores")
        store.connection.execute("UPDATE parcae_schema SET version = 2")
    collect(study.db)
    with open_store(study.db) as store:
        rows = store.connection.execute("SELECT DISTINCT variant, state FROM runs ORDER BY state").fetchall()
    assert rows == [
        ("normal initial weights, bfloat16 weights", "done"),
        ("normal initial weights, bfloat16 weights", "planned"),
    ]


def test_a_variant_in_a_database_takes_the_word_of_the_option(study: Study) -> None:
    specs = isoflop_grid("nano", [1e10], [1], axes={"precision": [Precision.BFLOAT16]}, **TEXT)
    plan_sweep(study, "half", specs, [None])
    collect(study.db)
    with open_store(study.db) as store:
        (run,) = store.sweep("half").runs
        assert run.variant == "bfloat16"
        store.connection.execute("UPDATE runs SET variant = 'bfloat16-mixed' WHERE run_id = $1", [run.run_id])
        store.connection.execute("ALTER TABLE runs DROP COLUMN extra")
        store.connection.execute("DROP TABLE scores")
        store.connection.execute("UPDATE parcae_schema SET version = 4")
    with open_store(study.db) as store:
        assert store.sweep("half").runs == (run,)
