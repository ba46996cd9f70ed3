"""Studies from CSV: three shapes read, everything else refused in a sentence before anything is kept."""

from pathlib import Path

import pytest

from parcae.errors import InputError
from parcae.flops import flops_per_token
from parcae.presets import PRESETS
from sweeps.folders.paths import Study
from sweeps.store.csv_import import import_csv, read_csv


def write(folder: Path, text: str) -> Path:
    path = folder / "study.csv"
    path.write_text(text)
    return path


def test_tokens_of_a_known_model_follow_from_its_flops(tmp_path: Path) -> None:
    path = write(tmp_path, "model,flops,mean_recurrence,val_loss\nsmall-140m,1e19,8,2.95\n")
    table = read_csv(path, "mine")
    (run,) = table.runs
    assert table.losses == ()  # nobody says at which test recurrence
    cost = flops_per_token(PRESETS["small-140m"].model, mean_recurrence=8, backward_depth=4)
    assert run.tokens == pytest.approx(1e19 / cost)
    assert (run.run_id, run.model, run.val_loss) == ("mine:1", "small-140m", 2.95)


def test_models_without_a_loop(tmp_path: Path) -> None:
    path = write(tmp_path, "parameters,tokens,val_loss\n1e8,2e9,3.1\n2e8,4e9,2.9\n")
    runs = read_csv(path, "chinchilla").runs
    assert [run.once_parameters for run in runs] == [1e8, 2e8]
    assert [run.recurrent_parameters for run in runs] == [0.0, 0.0]
    assert {run.model for run in runs} == {"chinchilla"}
    assert {(run.architecture, run.mean_recurrence) for run in runs} == {("no loop", 1.0)}


def test_loops_of_any_shape(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "once_parameters,recurrent_parameters,mean_recurrence,tokens,val_loss\n1e8,5e7,4,2e9,3.1\n",
    )
    (run,) = read_csv(path, "loops").runs
    assert (run.once_parameters, run.recurrent_parameters, run.parameters) == (1e8, 5e7, 1.5e8)


def test_parameters_given_beside_model_and_flops_are_kept(tmp_path: Path) -> None:
    header = "model,flops,once_parameters,recurrent_parameters,mean_recurrence,tokens,val_loss\n"
    path = write(tmp_path, f"{header}mine,1e18,1e8,5e7,4,2e9,3.1\nsmall-140m,1e18,1e8,5e7,4,2e9,3.1\n")
    table = read_csv(path, "loops")
    assert [run.once_parameters for run in table.runs] == [1e8, 1e8]
    assert [run.flops for run in table.runs] == [1e18, 1e18]
    assert table.ignored == ()
    path = write(tmp_path, f"{header}mine,1e18,,,4,2e9,3.1\nsmall-140m,1e18,1e8,5e7,4,2e9,3.1\n")
    table = read_csv(path, "loops")
    assert table.ignored == ("once_parameters", "recurrent_parameters")
    assert [run.once_parameters is None for run in table.runs] == [True, False]


def test_losses_at_several_depths_are_one_run(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "model,flops,mean_recurrence,test_recurrence,val_loss,seed\n"
        "a,1e18,4,1,3.9,0\na,1e18,4,4,3.1,0\na,1e18,4,8,3.0,0\na,1e18,4,4,3.2,1\n",
    )
    table = read_csv(path, "s")
    assert [run.val_loss for run in table.runs] == [3.1, 3.2]
    assert [run.seed for run in table.runs] == [0, 1]
    assert [(row.test_recurrence, row.loss) for row in table.losses] == [
        (1, 3.9),
        (4, 3.1),
        (8, 3.0),
        (4, 3.2),
    ]


def test_columns_that_mean_nothing_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, "parameters,tokens,val_loss,colour\n1e8,2e9,3.1,red\n")
    assert read_csv(path, "s").ignored == ("colour",)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        ("model,flops,mean_recurrence,val_loss\n", "no runs"),
        ("model,flops,mean_recurrence\na,1e18,2\n", "lacks the column val_loss"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,2,nan\n", "line 2 has nan for val_loss"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,2,NaN\n", "line 2 has NaN"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,2,\n", "line 2 has ''"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,two,3.1\n", "'two' for mean_recurrence"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,2,3.1\na,1e18,4\n", "line 3 has 3 cells"),
        ("model,flops,mean_recurrence,val_loss\na,-1e18,2,3.1\n", "-1e18 for flops"),
        ("model,flops,mean_recurrence,val_loss\na,inf,2,3.1\n", "inf for flops"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,0.5,3.1\n", "at least 1"),
        ("model,flops,mean_recurrence,val_loss\n,1e18,2,3.1\n", "names no model"),
        ("model,flops,mean_recurrence,val_loss,val_loss\na,1e18,2,3.1,3.1\n", "twice"),
        ("model,flops,mean_recurrence,val_loss,seed\na,1e18,2,3.1,0.5\n", "whole number"),
        ("model,flops,mean_recurrence,val_loss,seed\na,1e18,2,3.1,1e30\n", "whole number up to"),
        ("model,flops,mean_recurrence,val_loss,test_recurrence\na,1e18,2,3.1,1e10\n", "whole number up to"),
        (
            "model,flops,mean_recurrence,test_recurrence,val_loss\na,1e18,2,2,3.1\na,1e18,2,2,3.1\n",
            "line 3 repeats the run of line 2",
        ),
    ],
)
def test_a_corrupt_file_is_refused_and_nothing_kept(tmp_path: Path, text: str, named: str) -> None:
    study = Study(tmp_path / "results.duckdb")
    with pytest.raises(InputError, match=named):
        import_csv(study, write(tmp_path, text), "mine")
    assert not study.runs.exists()


def test_a_name_is_never_taken_over(tmp_path: Path) -> None:
    study = Study(tmp_path / "results.duckdb")
    path = write(tmp_path, "parameters,tokens,val_loss\n1e8,2e9,3.1\n")
    import_csv(study, path, "mine")
    import_csv(study, path, "mine")  # the same again is nothing new
    write(tmp_path, "parameters,tokens,val_loss\n1e8,2e9,3.2\n")
    with pytest.raises(InputError, match="another imported sweep"):
        import_csv(study, path, "mine")
    with pytest.raises(InputError, match="built in"):
        import_csv(study, path, "published")
