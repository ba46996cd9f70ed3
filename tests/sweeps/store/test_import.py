"""Studies from files of all kinds: understood, or refused in a sentence before anything is kept."""

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from parcae.errors import InputError
from parcae.flops import flops_per_token
from parcae.presets import PRESETS
from sweeps.folders.paths import Study
from sweeps.store.collect import collect, rebuild
from sweeps.store.database import read_sweep
from sweeps.store.importing.columns import parse_map
from sweeps.store.importing.numbers import Count, LossUnit, decimal_comma, number
from sweeps.store.importing.study import NOTHING_SAID, ImportedTable, import_study, read_imported
from sweeps.store.importing.understand import Options
from sweeps.store.rows import RunRow


def write(folder: Path, text: str, name: str = "study.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def imported(folder: Path, text: str, name: str = "s", **options: Any) -> ImportedTable:
    """The rows of the study in `text`, from what was stored of it."""
    return stored(Study(folder / "results.duckdb"), write(folder, text), name, Options(**options))


def stored(study: Study, path: Path, name: str = "s", options: Options = NOTHING_SAID) -> ImportedTable:
    import_study(study, path, name, options)
    return read_imported(study.imported(name), name)


def sizes(runs: tuple[RunRow, ...]) -> list[float | None]:
    """Parameters, tokens and loss of each run, one after the other."""
    return [value for run in runs for value in (run.parameters, run.tokens, run.val_loss)]


def test_tokens_of_a_known_model_follow_from_its_flops(tmp_path: Path) -> None:
    (run,) = imported(tmp_path, "model,flops,mean_recurrence,val_loss\nsmall-140m,1e19,8,2.95\n", "mine").runs
    cost = flops_per_token(PRESETS["small-140m"].model, mean_recurrence=8, backward_depth=4)
    assert run.tokens == pytest.approx(1e19 / cost)
    assert (run.run_id, run.model, run.val_loss) == ("mine:1", "small-140m", 2.95)


def test_models_without_a_loop(tmp_path: Path) -> None:
    runs = imported(tmp_path, "parameters,tokens,val_loss\n1e8,2e9,3.1\n2e8,4e9,2.9\n", "chinchilla").runs
    assert [run.once_parameters for run in runs] == [1e8, 2e8]
    assert [run.recurrent_parameters for run in runs] == [0.0, 0.0]
    assert {run.model for run in runs} == {"chinchilla"}
    assert {(run.architecture, run.mean_recurrence) for run in runs} == {("no loop", 1.0)}


def test_of_parameters_tokens_and_flops_two_give_the_third(tmp_path: Path) -> None:
    runs = imported(tmp_path, "N,D,C,loss\n1e8,2e9,,3.1\n1e8,,1.2e18,3.2\n,2e9,1.2e18,3.3\n").runs
    assert [(run.parameters, run.tokens) for run in runs] == [(1e8, 2e9)] * 3
    assert [run.flops for run in runs] == [None, 1.2e18, 1.2e18]


def test_loops_of_any_shape(tmp_path: Path) -> None:
    (run,) = imported(
        tmp_path,
        "once_parameters,recurrent_parameters,mean_recurrence,tokens,val_loss\n1e8,5e7,4,2e9,3.1\n",
    ).runs
    assert (run.once_parameters, run.recurrent_parameters, run.parameters) == (1e8, 5e7, 1.5e8)


def test_parameters_given_beside_model_and_flops_are_kept(tmp_path: Path) -> None:
    header = "model,flops,once_parameters,recurrent_parameters,mean_recurrence,tokens,val_loss\n"
    table = imported(tmp_path, f"{header}mine,1e18,,,4,2e9,3.1\nsmall-140m,1e18,1e8,5e7,4,2e9,3.1\n")
    assert [run.once_parameters for run in table.runs] == [None, 1e8]
    assert [run.flops for run in table.runs] == [1e18, 1e18]


def test_losses_at_several_depths_are_one_run(tmp_path: Path) -> None:
    table = imported(
        tmp_path,
        "model,flops,mean_recurrence,test_recurrence,val_loss,seed\n"
        "a,1e18,4,1,3.9,0\na,1e18,4,4,3.1,0\na,1e18,4,8,3.0,0\na,1e18,4,4,3.2,1\n",
    )
    assert [run.val_loss for run in table.runs] == [3.1, 3.2]
    assert [run.seed for run in table.runs] == [0, 1]
    assert [(row.test_recurrence, row.loss) for row in table.losses] == [
        (1, 3.9),
        (4, 3.1),
        (8, 3.0),
        (4, 3.2),
    ]


TEN = (
    *((4e7, 5.77e9, 3.399), (9e7, 2.33e9, 3.364), (1.6e8, 9.23e8, 3.456), (4e7, 1.73e10, 3.298)),
    *((9e7, 7e9, 3.204), (1.6e8, 2.77e9, 3.224), (2.5e8, 1.57e9, 3.289), (9e7, 2.33e10, 3.081)),
    *((1.6e8, 9.23e9, 3.033), (2.5e8, 5.2e9, 3.06)),
)
NUMBERS = [value for row in TEN for value in row]
HEADER = ("parameters", "tokens", "val_loss")


def table(
    header: tuple[str, ...] = HEADER,
    between: str = ",",
    n: str = "{:.0f}",
    d: str = "{:.0f}",
    loss: str = "{:g}",
) -> str:
    rows = [(n.format(a), d.format(b), loss.format(c)) for a, b, c in TEN]
    return "".join(between.join(row) + "\n" for row in (header, *rows))


def _markdown(text: str) -> str:
    head, *rows = (f"| {line} |" for line in text.splitlines())
    return "\n".join([head, "|---|:--|--:|", *rows])


WAYS = {
    "plain": table(),
    "semicolons": table(between=";"),
    "decimal commas": table(between=";").replace(".", ","),
    "points between thousands": table(between=";", n="{:,.0f}").translate(str.maketrans(",.", ".,")),
    "tabs": table(between="\t"),
    "spaces": table(between="  "),
    "Markdown": _markdown(table(between=" | ")),
    "windows": "\ufeff" + table().replace("\n", "\r\n"),
    "a comment": "# exported today\n" + table(),
    "names in a comment": "# " + table(between=" "),
    "a comma more": table(loss="{:g},"),
    "an index": "," + table().replace("\n", "\n7,").removesuffix("7,"),
    "capitals": table(("Parameters", "Tokens", "Val_Loss")),
    "letters": table(("N", "D", "loss")),
    "n_params": table(("n_params", "n_tokens", "final/val_loss")),
    "powers": table(n="{:.0f}*10^0", d="{:.0f}×10⁰"),
    "thousands": table(n='"{:,.0f}"', d='"{:,.0f}"'),
    "underscores": table(n="{:_.0f}", d="{:_.0f}"),
    "exponents": table(n="{:.3e}", d="{:.3e}"),
    "empty lines": table() + "\n\n,,\n",
    "a name's unit": table(("params_k", "tokens", "loss"), n="{:.0f}e-3"),
}


@pytest.mark.parametrize("way", WAYS)
def test_one_table_many_ways(tmp_path: Path, way: str) -> None:
    assert sizes(imported(tmp_path, WAYS[way]).runs) == pytest.approx(NUMBERS)


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "study.csv"
    path.write_text(table().replace("\n", ",\n").replace("val_loss,", "val_loss,größe"), encoding=encoding)
    study = Study(tmp_path / "results.duckdb")
    assert sizes(stored(study, path).runs) == pytest.approx(NUMBERS)


@pytest.mark.parametrize(
    "shape", ["records", "lines", "columns", "split", "wandb", "pandas", "nested", "parquet", "duckdb"]
)
def test_any_kind_of_file(tmp_path: Path, shape: str) -> None:
    records = [dict(zip(HEADER, row, strict=True)) for row in TEN]
    columns = {name: [record[name] for record in records] for name in HEADER}
    path = tmp_path / "study.dat"
    documents: dict[str, Any] = {
        "records": records,
        "columns": columns,
        "split": {"columns": HEADER, "data": TEN},
        "wandb": {"runs": records, "project": "mine"},
        "pandas": {name: {str(i): value for i, value in enumerate(own)} for name, own in columns.items()},
        "nested": [
            {"name": f"run-{i}", "config": {"N": n, "D": d}, "summary": {"final/val_loss": loss}}
            for i, (n, d, loss) in enumerate(TEN)
        ],
    }
    options = Options(mapping=parse_map("parameters=config.N,tokens=config.D") if shape == "nested" else {})
    if shape in documents:
        path.write_text(json.dumps(documents[shape]))
    elif shape == "lines":
        path.write_text(
            "".join(json.dumps(record) + "\n" for record in [*records, {"val_loss": float("nan")}])
        )
    else:
        with duckdb.connect(str(path) if shape == "duckdb" else ":memory:") as connection:
            values = ", ".join(str(row) for row in TEN)
            connection.execute(f"CREATE TABLE runs AS SELECT * FROM (VALUES {values}) t({', '.join(HEADER)})")
            if shape == "parquet":
                connection.execute(f"COPY runs TO '{path}' (FORMAT parquet)")
    rows = stored(Study(tmp_path / "results.duckdb"), path, "s", options)
    assert sizes(rows.runs)[:30] == pytest.approx(NUMBERS)
    assert [run.reason for run in rows.runs[10:]] == ["without parameters and tokens"] * (shape == "lines")


def test_a_study_of_parcaes_own(tmp_path: Path) -> None:
    header = "run,model,flops,mean_recurrence,test_recurrence,lr,val_loss\n"
    text = f"{header}a,m,1e18,4,2,0.1,3.9\na,m,1e18,4,4,0.1,3.1\n"
    for folder in ("theirs", "ours"):
        (tmp_path / folder).mkdir()
    theirs = Study(tmp_path / "theirs" / "results.duckdb")
    for name in ("one", "two"):
        import_study(theirs, write(tmp_path, text), name)
    collect(theirs.db)
    before = theirs.db.read_bytes()
    ours = Study(tmp_path / "ours" / "results.duckdb")
    with pytest.raises(InputError, match="2 sweeps; name one of two, one with --table"):
        import_study(ours, theirs.db, "s")
    rows = stored(ours, theirs.db, "s", Options(table="one"))
    (run,) = rows.runs
    assert (run.flops, run.mean_recurrence, run.val_loss) == (1e18, 4, 3.1)
    assert json.loads(run.hyperparameters or "") == {"lr": 0.1}
    assert [(row.test_recurrence, row.loss) for row in rows.losses] == [(2, 3.9), (4, 3.1)]
    assert theirs.db.read_bytes() == before


def test_names_states_and_further_columns_are_kept(tmp_path: Path) -> None:
    text = (
        "Name,State,N,D,loss,GPU,optim.lr\n"
        "first,finished,1e8,2e9,3.1,H100,3e-4\nfirst,finished,2e8,2e9,3.0,,3e-4\nburst,finished,2e8,2e9,nan,A100,1\n"
        "fell,diverged,2e8,4e9,9.9,,1\nstopped,crashed,,,,,1\n"
        "inf,finished,2e8,4e9,inf,,1\nno size,,,4e9,3.1,,1\n"
    )
    study = Study(tmp_path / "results.duckdb")
    found, _ = import_study(study, write(tmp_path, text), "s")
    assert found.left_out == {
        "without a loss": 1,
        "diverged": 2,
        "failed": 1,
        "without parameters": 1,
    }
    collect(study.db)
    before = read_sweep(study.db, "s")
    assert [run.run_id for run in before.runs][:3] == ["s:first", "s:first#2", "s:burst"]
    assert json.loads(before.runs[0].extra or "") == {"GPU": "H100", "optim.lr": "3e-4"}
    assert [run.state.value for run in before.runs] == [
        *("done", "done", "unknown", "diverged", "failed", "diverged", "unknown")
    ]
    assert [run.val_loss for run in before.runs] == [3.1, 3.0, *[None] * 5]
    rebuild(study.db)
    assert read_sweep(study.db, "s") == before


def test_units_are_converted(tmp_path: Path) -> None:
    small = "\n".join(["N,D,loss", *(f"{n / 1e6},{d / 1e9},{2.0}" for n, d, _ in TEN)])
    runs = imported(tmp_path, small, parameters_in=Count.MILLIONS, tokens_in=Count.BILLIONS).runs
    assert sizes(runs) == pytest.approx([value for n, d, _ in TEN for value in (n, d, 2.0)])
    ppl = "N,D,ppl\n1e8,2e9,20.085536923187668\n"
    assert imported(tmp_path, ppl, "ppl").runs[0].val_loss == pytest.approx(3)
    assert imported(tmp_path, ppl.replace("ppl", "loss"), "p", loss=LossUnit.PERPLEXITY).runs[
        0
    ].val_loss == pytest.approx(3)
    bits = "N,D,val_bpb\n1e8,2e9,0.8\n"
    with pytest.raises(InputError, match="bytes per token"):
        imported(tmp_path, bits, "bits")
    assert imported(tmp_path, bits, "bits", bytes_per_token=4.5).runs[0].val_loss == pytest.approx(
        0.8 * 4.5 * 0.6931471805599453
    )


def test_a_mapped_column_comes_before_a_common_name(tmp_path: Path) -> None:
    text = "tokens,seen,N,loss,final/val_loss\n1,2e9,1e8,9,3.1\n"
    (run,) = imported(tmp_path, text, mapping=parse_map("tokens=seen, loss=final/val_loss")).runs
    assert sizes((run,)) == [1e8, 2e9, 3.1]
    assert json.loads(run.extra or "") == {"given tokens": "1", "loss": "9"}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *(
            ("1.2B", 1.2e9),
            ("40M", 4e7),
            ("3e18", 3e18),
            ("16*10^7", 1.6e8),
            ("5.77×10^9", 5.77e9),
            ("10^18", 1e18),
        ),
        *(
            ("2.5 x 10⁹", 2.5e9),
            ("40_000_000", 4e7),
            ("5,770,000,000", 5.77e9),
            ("40 000 000", 4e7),
            ("7K", 7e3),
        ),
        *(("1.5 trillion", 1.5e12), ("12B tokens", 1.2e10), ("1'000'000", 1e6), ("-3", -3)),
    ],
)
def test_numbers_as_people_write_them(cell: str, value: float) -> None:
    assert number(cell) == pytest.approx(value)


@pytest.mark.parametrize("cell", ["two", "1.2.3", "B", "3,39", "1e", "*10^3"])
def test_what_is_no_number(cell: str) -> None:
    with pytest.raises(ValueError, match=re.escape(cell)):
        number(cell)


def test_a_decimal_comma_is_told_from_one_between_thousands() -> None:
    assert not decimal_comma(["40,000,000", "3.399"], ";")
    assert not decimal_comma(["3,399"], ",")
    assert decimal_comma(["3,399", "3,06"], ";")
    assert decimal_comma(["3,399", "3,061", "40000000"], ";")
    assert number("40.000.000", True) == 4e7


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        ("model,flops,mean_recurrence,val_loss\n", "no runs"),
        ("model,flops,mean_recurrence\na,1e18,2\n", "lacks the column val_loss for loops at a budget"),
        (
            "N,loss,d_tok\n1e8,3,1e9\n",
            "lacks the column tokens for models without a loop.*found parameters .N.*map tokens=d_tok",
        ),
        ("1e8,2e9,3.1\n1e8,2e9,3.1\n", "no header"),
        (
            "N,D,a/val_loss,b/val_loss\n1e8,2e9,3.1,3\n",
            "several columns that may be val_loss: 'a/val_loss', 'b/val",
        ),
        ("model,flops,mean_recurrence,val_loss\na,1e18,2,nan\n", "no run that can be used: 1 without a loss"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,two,3.1\n", "line 2 has 'two' for mean_recurrence"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,2,3.1\na,1e18,4\n", "line 3 has 3 cells"),
        ("model,flops,mean_recurrence,val_loss\na,-1e18,2,3.1\n", "-1e18 for flops"),
        ("model,flops,mean_recurrence,val_loss\na,inf,2,3.1\n", "inf for flops"),
        ("model,flops,mean_recurrence,val_loss\na,1e18,0.5,3.1\n", "at least 1"),
        ("model,flops,mean_recurrence,val_loss,val_loss\na,1e18,2,3.1,3.1\n", "twice"),
        ("model,flops,mean_recurrence,val_loss,seed\na,1e18,2,3.1,0.5\n", "whole number"),
        ("model,flops,mean_recurrence,val_loss,seed\na,1e18,2,3.1,1e30\n", "whole number up to"),
        ("model,flops,mean_recurrence,val_loss,test_recurrence\na,1e18,2,3.1,1e10\n", "whole number up to"),
        (
            "model,flops,mean_recurrence,test_recurrence,val_loss\na,1e18,2,2,3.1\na,1e18,2,2,3.1\n",
            "line 3 repeats",
        ),
        ('{"runs": []}', "no list of runs"),
        ('{"N": 1}\n{"N": \n', "line 2 is no JSON"),
        ("PK\x03\x04", "spreadsheet"),
    ],
)
def test_a_wrong_file_is_refused_and_nothing_kept(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        imported(tmp_path, text)
    assert not Study(tmp_path / "results.duckdb").runs.exists()


def test_a_name_is_taken_over_only_when_asked(tmp_path: Path) -> None:
    study = Study(tmp_path / "results.duckdb")
    path = write(tmp_path, "parameters,tokens,val_loss\n1e8,2e9,3.1\n")
    import_study(study, path, "mine")
    import_study(study, path, "mine")  # the same again is nothing new
    write(tmp_path, "parameters,tokens,val_loss\n1e8,2e9,3.2\n")
    with pytest.raises(InputError, match=r"another imported sweep.*--replace"):
        import_study(study, path, "mine")
    collect(study.db)
    import_study(study, path, "mine", replace=True)
    collect(study.db)
    assert [run.val_loss for run in read_sweep(study.db, "mine").runs] == [3.2]
    with pytest.raises(InputError, match="built in"):
        import_study(study, path, "published")


@pytest.mark.parametrize(
    "header",
    [
        ("Model size", "Training tokens", "Val loss (nats/token)"),
        ("N (params)", "D (tokens)", "loss"),
        ("num_params", "optim/n_tokens", "eval/loss"),
        ("nparams", "tokens seen", "train_loss"),
    ],
)
def test_common_names(tmp_path: Path, header: tuple[str, ...]) -> None:
    assert sizes(imported(tmp_path, table(header)).runs) == pytest.approx(NUMBERS)


def test_a_validation_loss_comes_before_a_training_loss(tmp_path: Path) -> None:
    text = "N,D,train_loss,final/val_loss\n1e8,2e9,2.9,3.1\n"
    assert imported(tmp_path, text).runs[0].val_loss == 3.1
