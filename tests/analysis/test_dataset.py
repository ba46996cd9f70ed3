"""What becomes of every run: used, or left out and counted with the reason."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.dataset import FIXED_DEPTH, Study, build_study, load_study, read_sweep, spaced
from analysis.published import published_tables
from parcae.errors import InputError
from parcae.flops import effective_parameters
from parcae.presets import preset
from sweeps.store import RUN_COLUMNS

NO_LOSSES = pd.DataFrame({"run_id": [], "test_recurrence": [], "loss": []})


def runs(count: int = 6, **columns: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "run_id": [f"r{i}" for i in range(count)],
            "model": "mine",
            "state": "done",
            "flops": 1e18,
            "mean_recurrence": np.arange(1.0, count + 1),
            "tokens": np.linspace(2e9, 1e9, count),
            "once_parameters": 1e7,
            "recurrent_parameters": 2e6,
            "val_loss": np.linspace(3.0, 3.2, count),
        }
    )
    return table.assign(**columns).reindex(columns=list(RUN_COLUMNS))


def study(table: pd.DataFrame, losses: pd.DataFrame = NO_LOSSES) -> Study:
    return build_study("s", "planned", table, losses)


def test_published_study_is_built_in(tmp_path: Path) -> None:
    found = load_study(tmp_path / "nothing.duckdb", "published")
    assert {name: len(points) for name, points in found.models.items()} == {
        "small-140m": 36,
        "medium-370m": 18,
    }
    assert len(found.curves) == 4
    assert not list(tmp_path.iterdir())
    points = found.models["small-140m"]
    sizes = [effective_parameters(preset("small-140m").model, m) for m in points.mean_recurrence]
    np.testing.assert_array_equal(points.effective_parameters, sizes)


def test_published_tables_are_the_stores() -> None:
    tables = read_sweep(Path("nothing.duckdb"), "published")
    assert set(RUN_COLUMNS) <= set(tables.runs.columns)
    assert len(published_tables()[1]) == 16


def test_a_missing_database_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no sweep"):
        load_study(tmp_path / "nothing.duckdb", None)


def test_effective_parameters_unroll_the_loop() -> None:
    points = study(runs()).models["mine"]
    np.testing.assert_array_equal(points.effective_parameters, 1e7 + points.mean_recurrence * 2e6)


def test_every_run_left_out_is_counted() -> None:
    table = runs(8)
    table.loc[0, "state"] = "diverged"
    table.loc[1, "state"] = "queued"
    table.loc[2, "val_loss"] = np.nan
    table.loc[3, "val_loss"] = np.inf
    table.loc[4, ["flops", "tokens"]] = np.nan
    table = pd.concat([table, table.iloc[[7]].assign(run_id="copy")])
    found = study(table)
    assert found.left_out == {
        "diverged": 1,
        "queued": 1,
        "without a loss": 2,
        "with neither a budget nor tokens and parameters": 1,
        "duplicates of another run": 1,
    }
    assert found.used == 3
    assert found.runs == found.used + sum(found.left_out.values())


def test_runs_of_two_seeds_are_no_copies() -> None:
    table = pd.concat([runs(4).assign(seed=0), runs(4).assign(seed=1, run_id=list("abcd"))])
    assert study(table).used == 8


def test_models_without_a_loop_are_one_group() -> None:
    table = runs(
        4,
        mean_recurrence=np.nan,
        model=["70m", "160m", "410m", "1b"],
        once_parameters=[7e7, 1.6e8, 4.1e8, 1e9],
        recurrent_parameters=0.0,
        flops=np.nan,
    )
    found = study(table)
    assert list(found.models) == [FIXED_DEPTH]
    np.testing.assert_array_equal(
        np.sort(found.models[FIXED_DEPTH].effective_parameters), [7e7, 1.6e8, 4.1e8, 1e9]
    )


def test_runs_without_tokens_are_kept_for_the_curves() -> None:
    points = study(runs(tokens=np.nan)).models["mine"]
    assert points.on_grid.all()
    assert not points.sized.any()


def test_curves_need_two_finite_losses() -> None:
    losses = pd.DataFrame(
        {
            "run_id": ["r0", "r0", "r0", "r1", "elsewhere"],
            "test_recurrence": [4, 1, 2, 1, 1],
            "loss": [3.0, 3.5, np.nan, 3.4, 3.0],
        }
    )
    found = study(runs(), losses)
    assert [curve.run_id for curve in found.curves] == ["r0"]
    np.testing.assert_array_equal(found.curves[0].test_recurrence, [1, 4])
    assert found.left_out == {"test-time losses that are no number": 1}


def test_hash_is_of_the_data_and_not_of_their_order() -> None:
    table = runs()
    assert study(table).data_hash == study(table.iloc[::-1]).data_hash
    assert study(table).data_hash != study(runs(val_loss=3.0)).data_hash


def test_a_study_without_finished_runs_says_why() -> None:
    with pytest.raises(InputError, match="6 queued"):
        study(runs(state="queued")).require_points()


def test_spaced_keeps_the_ends_and_takes_nothing_twice() -> None:
    assert spaced(range(5), 5) == [0, 1, 2, 3, 4]
    assert spaced(range(101), 5) == [0, 25, 50, 75, 100]
    assert len(set(spaced(range(13), 12))) == 12
