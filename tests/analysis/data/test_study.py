"""What becomes of every run: used, or left out and counted with the reason."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.data.frames import COLUMNS, published_tables
from analysis.data.model_names import FIXED_DEPTH
from analysis.data.points import Study, spaced
from analysis.data.study import build_study, load_study, read_sweep, weighted
from parcae.errors import InputError
from parcae.flops import effective_parameters
from parcae.presets import preset
from sweeps.store.rows import NO_LOOP

NO_LOSSES = pd.DataFrame({"run_id": [], "test_recurrence": [], "loss": []})


def runs(count: int = 6, **columns: object) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "run_id": [f"r{i}" for i in range(count)],
            "model": "mine",
            "architecture": "looped",
            "state": "done",
            "flops": 1e18,
            "mean_recurrence": np.arange(1.0, count + 1),
            "tokens": np.linspace(2e9, 1e9, count),
            "once_parameters": 1e7,
            "recurrent_parameters": 2e6,
            "val_loss": np.linspace(3.0, 3.2, count),
        }
    )
    return table.assign(**columns).reindex(columns=COLUMNS)


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
    rows = read_sweep(Path("nothing.duckdb"), "published")
    runs, losses = published_tables()
    assert list(runs["run_id"]) == [run.run_id for run in rows.runs]
    assert list(runs.columns) == COLUMNS
    assert len(losses) == 16


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
        mean_recurrence=1.0,
        architecture=NO_LOOP,
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


def test_equal_losses_of_two_seeds_are_two_runs_and_a_repeated_line_is_one() -> None:
    table = pd.concat([runs(4).assign(seed=0), runs(4).assign(seed=1, run_id=list("abcd"))])
    repeated = pd.concat([table, table.iloc[[2]].assign(run_id="again")])
    assert study(repeated).used == 8
    assert study(repeated).left_out == {"duplicates of another run": 1}


def test_without_seeds_equal_losses_are_copies_unless_cells_hold_replicates() -> None:
    copied = pd.concat([runs(4), runs(4)])
    assert study(copied).used == 4
    replicates = pd.concat([runs(4), runs(4, val_loss=runs(4)["val_loss"] + [0.001, 0.0, -0.002, 0.001])])
    assert study(replicates).used == 8


def searched(**columns: object) -> pd.DataFrame:
    """Four cells with three learning rates each, the second the best by 1 %."""
    one = runs(4)
    rates = [
        one.assign(val_loss=one["val_loss"] * worse, lr=rate)
        for rate, worse in ((1, 1.01), (2, 1.0), (4, 1.02))
    ]
    return (
        pd.concat(rates).reset_index(drop=True).assign(run_id=lambda t: [f"r{i}" for i in t.index], **columns)
    )


@pytest.mark.parametrize("known", ["rates", "one seed", "nothing"])
def test_the_best_run_of_each_cell_is_fitted_where_hyperparameters_vary(known: str) -> None:
    table = searched()
    rates = '{"lr": ' + table["lr"].astype(str) + "}"
    given = {"rates": {"hyperparameters": rates}, "one seed": {"seed": 0}, "nothing": {}}[known]
    found = study(table.assign(**given).reindex(columns=COLUMNS))
    np.testing.assert_array_equal(found.models["mine"].loss, np.linspace(3.0, 3.2, 4))
    assert found.models["mine"].passed_over == 8
    assert sum(found.left_out.values()) == 8


def test_seeds_of_the_best_learning_rate_stay_together() -> None:
    table = pd.concat([searched(seed=0), searched(seed=1).assign(val_loss=lambda t: t["val_loss"] + 0.002)])
    table["hyperparameters"] = '{"lr": ' + table["lr"].astype(str) + "}"
    points = study(table.reindex(columns=COLUMNS)).models["mine"]
    assert len(points) == 8
    assert sorted(np.bincount(points.cells)) == [2, 2, 2, 2]


def test_jittered_budgets_are_one_budget_and_one_cell_a_recurrence() -> None:
    jitter = np.exp(0.001 * np.random.default_rng(0).standard_normal(12))
    table = pd.concat([runs(6), runs(6, val_loss=np.linspace(3.001, 3.201, 6))]).assign(
        seed=np.repeat([0, 1], 6)
    )
    points = study(table.assign(flops=1e18 * jitter, tokens=table["tokens"] * jitter)).models["mine"]
    assert len(points.budgets) == 1
    np.testing.assert_array_equal(np.bincount(points.cells), [2] * 6)


def test_runs_are_weighed_where_the_noise_of_budgets_differs() -> None:
    generator = np.random.default_rng(0)
    tables = [
        runs(6, flops=budget, seed=seed, val_loss=3 * np.exp(noise * generator.standard_normal(6)))
        for budget, noise in ((1e18, 0.004), (1e19, 0.001))
        for seed in range(4)
    ]
    points, noise = weighted(study(pd.concat(tables)).models["mine"])
    assert noise.differs
    np.testing.assert_allclose(noise.deviations, [0.004, 0.001], rtol=0.5)
    quiet, loud = points.weights[points.flops == 1e19], points.weights[points.flops == 1e18]
    assert quiet[0] / loud[0] == pytest.approx((noise.deviations[0] / noise.deviations[1]) ** 2)
    assert points.weights.mean() == pytest.approx(1.0)


def test_equal_noise_weighs_all_runs_alike() -> None:
    generator = np.random.default_rng(1)
    tables = [
        runs(6, flops=budget, seed=seed, val_loss=3 * np.exp(0.002 * generator.standard_normal(6)))
        for budget in (1e18, 1e19)
        for seed in range(4)
    ]
    points, noise = weighted(study(pd.concat(tables)).models["mine"])
    assert not noise.differs
    np.testing.assert_array_equal(points.weights, 1.0)


def test_shapes_and_variants_of_one_name_are_models_of_their_own() -> None:
    wide = runs(4, once_parameters=3e7, run_id=list("abcd"))
    found = study(pd.concat([runs(4), wide]))
    assert list(found.models) == ["mine (12M)", "mine (32M)"]
    table = pd.concat(
        [runs(4).assign(variant=None), runs(4, run_id=list("abcd")).assign(variant="normal starts")]
    )
    assert list(study(table).models) == ["mine", "mine (normal starts)"]
    assert list(study(runs(4).assign(variant="normal starts")).models) == ["mine (normal starts)"]
    assert list(study(runs(4).assign(variant="bfloat16 weights")).models) == ["mine (bfloat16 weights)"]


def test_architectures_of_one_size_are_models_of_their_own() -> None:
    models = [preset(name).model.to_dict() for name in ("nano-add", "nano")]
    specs = [json.dumps({"model": model}) for model in models]
    table = pd.concat([runs(4, spec=specs[0]), runs(4, spec=specs[1], run_id=list("abcd"))])
    assert list(study(table).models) == ["mine (12M, add)", "mine (12M, diagonal)"]


def test_sizes_without_a_loop_share_one_law() -> None:
    table = runs(
        4,
        mean_recurrence=1.0,
        architecture=NO_LOOP,
        once_parameters=[1e7, 2e7, 4e7, 8e7],
        recurrent_parameters=0.0,
    )
    assert list(study(table).models) == ["mine"]
