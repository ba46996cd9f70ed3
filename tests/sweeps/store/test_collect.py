"""The database says what the folders say: again and again, anew, and after any loss of it."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from parcae.errors import InputError, WorkFailed
from sweeps.folders.paths import Study
from sweeps.store.collect import collect, collect_sweep, rebuild
from sweeps.store.database import open_store, read_sweep
from sweeps.store.importing.study import import_study
from sweeps.store.rows import LossRow
from tests.sweeps.studies import finish, plan


def content(study: Study) -> dict[str, list[tuple[Any, ...]]]:
    with open_store(study.db) as store:
        tables = [
            name for (name,) in store.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        ]
        return {
            name: store.connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall() for name in tables
        }


def states(study: Study, sweep: str = "s") -> list[str]:
    return [run.state for run in read_sweep(study.db, sweep).runs]


def test_a_plan_a_result_and_its_losses_arrive(study: Study) -> None:
    specs = plan(study)
    collect(study.db)
    assert states(study) == ["planned"] * 4
    finish(study, specs[1], 2.5)
    collect(study.db)
    rows = read_sweep(study.db, "s")
    assert [run.run_id for run in rows.runs] == [spec.run_id for spec in specs]
    assert [run.state for run in rows.runs] == ["planned", "done", "planned", "planned"]
    assert rows.runs[1].val_loss == 2.5
    assert rows.losses == (
        LossRow(run_id=specs[1].run_id, test_recurrence=4, loss=2.5),
        LossRow(run_id=specs[1].run_id, test_recurrence=24, loss=2.49),
    )
    with open_store(study.db) as store:
        assert store.connection.execute("SELECT step, loss FROM metrics ORDER BY step").fetchall() == [
            (1, 5),
            (2, 4),
        ]


def test_collecting_again_changes_no_byte(study: Study) -> None:
    finish(study, plan(study)[0])
    collect(study.db)
    before = study.db.read_bytes()
    collect(study.db)
    assert study.db.read_bytes() == before


def test_rebuilding_gives_the_same_content(study: Study, tmp_path: Path) -> None:
    specs = plan(study)
    (tmp_path / "study.csv").write_text("parameters,tokens,val_loss\n1e8,2e9,3.1\n")
    import_study(study, tmp_path / "study.csv", "theirs")
    for position, spec in enumerate(specs[:3]):  # step by step, as a sweep goes
        finish(study, spec, 2.0 + position)
        collect(study.db)
    before = content(study)
    assert rebuild(study.db) is None
    assert content(study) == before
    study.db.unlink()
    collect(study.db)
    assert content(study) == before


def test_an_unreadable_database_is_refused_and_kept_when_rebuilt(study: Study) -> None:
    finish(study, plan(study)[0])
    study.db.write_text("my thesis")
    with pytest.raises(InputError, match="cannot open the database"):
        collect(study.db)
    kept = rebuild(study.db)
    assert kept is not None
    assert kept.read_text() == "my thesis"
    assert states(study) == ["done", "planned", "planned", "planned"]


def test_a_database_that_another_process_holds_is_told_in_a_sentence(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(study)
    collect(study.db)
    holding = (
        f"import duckdb, sys; c = duckdb.connect({str(study.db)!r}); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", holding], stdin=-1, stdout=-1)
    assert holder.stdout is not None
    holder.stdout.readline()
    monkeypatch.setattr("sweeps.store.database.BUSY_SECONDS", 0.3)
    with pytest.raises(WorkFailed, match=r"another process has held it.*nothing is lost"):
        collect(study.db)
    holder.communicate()
    collect(study.db)
    assert states(study) == ["planned"] * 4


def test_somebody_elses_database_is_refused(study: Study) -> None:
    with duckdb.connect(str(study.db)) as connection:
        connection.execute("CREATE TABLE mine (x INTEGER)")
    with pytest.raises(InputError, match="not one of parcae's"):
        collect(study.db)


def test_a_folder_that_is_gone_is_planned_again(study: Study) -> None:
    specs = plan(study)
    finish(study, specs[0])
    collect(study.db)
    shutil.rmtree(study.run(specs[0].run_id).path)
    collect(study.db)
    assert states(study) == ["planned"] * 4


def test_a_sweep_that_is_gone_takes_its_plans_but_not_its_results(study: Study) -> None:
    specs = plan(study)
    finish(study, specs[0])
    plan(study, "other", budgets=(4e10,))
    collect(study.db)
    study.manifest("s").unlink()
    collect(study.db)
    with open_store(study.db) as store:
        assert store.connection.execute("SELECT count(*) FROM runs").fetchone() == (3,)
        assert store.connection.execute("SELECT name FROM sweeps").fetchall() == [("other",)]


def test_planning_twice_plans_once_and_more_adds(study: Study) -> None:
    plan(study)
    plan(study)
    plan(study, budgets=(2e10, 4e10))
    collect(study.db)
    assert len(states(study)) == 6


def test_the_latest_sweep_is_the_default(study: Study) -> None:
    plan(study, "one")
    plan(study, "two", budgets=(4e10,))
    collect(study.db)
    assert read_sweep(study.db, None).name == "two"
    plan(study, "one")
    collect(study.db)
    assert read_sweep(study.db, None).name == "one"
    with pytest.raises(InputError, match=r"no sweep 'three'.*one, two"):
        read_sweep(study.db, "three")


def test_a_sweep_is_read_as_its_folders_are_now(study: Study) -> None:
    finish(study, plan(study)[0])
    latest = collect_sweep(study.db, None)
    assert (latest.name, latest.runs[0].state, latest.runs[1].state) == ("s", "done", "planned")
    assert collect_sweep(study.db, "s") == latest
    with pytest.raises(InputError, match="no sweep 'other'"):
        collect_sweep(study.db, "other")
