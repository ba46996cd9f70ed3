"""A wrong request gets one sentence and exit code 2, and nothing on disk changes."""

from pathlib import Path

import pytest

from tests.conftest import Command, tree

SWEEP, FIT = "parcae-sweep", "parcae-fit"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((SWEEP, "plan", "--flops", "-1e19"), "-1e+19"),
        ((SWEEP, "plan", "--flops", "0"), "0 FLOPs"),
        ((SWEEP, "plan", "--flops", "nan"), "nan"),
        ((SWEEP, "plan", "--flops", "plenty"), "'plenty'"),
        ((SWEEP, "plan", "--flops", "1e6"), "one step costs"),
        ((SWEEP, "plan", "--flops", "1e300"), "smaller budget"),
        ((SWEEP, "plan"), "--flops"),
        ((SWEEP, "plan", "--flops", "1e19", "--model", "huge"), "'huge'"),
        ((SWEEP, "plan", "--flops", "1e19", "--recurrences", "1,two"), "'1,two'"),
        ((SWEEP, "plan", "--flops", "1e19", "--recurrences", "0"), "recurrence of 0"),
        ((SWEEP, "plan", "--flops", "1e19", "--seeds", "-1"), "seed -1"),
        ((SWEEP, "plan", "--flops", "1e19", "--sweep", "published"), "built in"),
        ((SWEEP, "plan", "--flops", "1e19", "--sweep", "../up"), "'../up'"),
        ((SWEEP, "plan", "--flops", "1e19", "--convention", "mine"), "mine"),
        ((SWEEP, "plan", "--flops", "1e19", "--db", "no/such/folder/results.duckdb"), "does not exist"),
        ((SWEEP, "status"), "no sweep"),
        ((SWEEP, "submit"), "no sweep"),
        ((SWEEP, "submit", "--sweep", "published"), "built in"),
        ((SWEEP, "collect"), "no sweep"),
        ((SWEEP, "rebuild"), "no runs"),
        ((SWEEP, "export", "--output", "out.csv"), "no sweep"),
        ((SWEEP, "import", "missing.csv", "--sweep", "s"), "missing.csv"),
        ((SWEEP, "dance"), "dance"),
        ((FIT, "isoflop"), "no sweep"),
        ((FIT, "report"), "no sweep"),
        ((FIT, "training-law", "--sweep", "nowhere"), "no sweep"),
        ((FIT, "report", "--sweep", "published", "--output", "no/such/folder/a.pdf"), "no folder"),
        ((FIT, "report", "--sweep", "published", "--output", "."), "it is a folder"),
        ((SWEEP, "export", "--sweep", "published", "--output", "no/such/folder/a.csv"), "no folder"),
        ((SWEEP, "plan", "--flops", "1e19", "--db", "."), "it is a folder"),
    ],
)
def test_in_an_empty_folder(command: Command, tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    ran = command(*arguments)
    assert ran.code == 2, ran.err
    assert named in ran.sentence
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((SWEEP, "status", "--sweep", "other"), "'other'"),
        ((SWEEP, "submit", "--sweep", "other"), "'other'"),
        ((SWEEP, "submit", "--cluster", "cloud"), "'cloud'"),
        ((FIT, "isoflop", "--sweep", "other"), "'other'"),
        ((FIT, "isoflop"), "no finished run"),
        ((FIT, "training-law"), "no finished run"),
        ((FIT, "saturation"), "no finished run"),
        ((FIT, "unified"), "no finished run"),
        ((SWEEP, "export", "--output", "out.csv"), "no finished run"),
        ((SWEEP, "plan", "--flops", "-1", "--model", "nano"), "-1"),
        ((SWEEP, "import", "bad.csv", "--sweep", "bad"), "'x' for val_loss"),
        ((SWEEP, "import", "few.csv", "--sweep", "s"), "planned sweep"),
    ],
)
def test_beside_a_planned_sweep(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    (tmp_path / "bad.csv").write_text("parameters,tokens,val_loss\n1e8,1e9,x\n")
    (tmp_path / "few.csv").write_text("parameters,tokens,val_loss\n1e8,1e9,3\n")
    assert command(SWEEP, "plan", "--model", "nano", "--flops", "1e10", "--sweep", "s").code == 0
    before = tree(tmp_path)
    ran = command(*arguments)
    assert ran.code == 2, ran.err
    assert named in ran.sentence
    assert tree(tmp_path) == before


@pytest.mark.parametrize("law", ["isoflop", "training-law", "saturation", "unified"])
def test_too_few_points_for_a_fit(command: Command, tmp_path: Path, law: str) -> None:
    (tmp_path / "few.csv").write_text("model,flops,mean_recurrence,val_loss\na,1e10,1,3\na,1e10,2,2.9\n")
    assert command(SWEEP, "import", "few.csv", "--sweep", "few").code == 0
    before = tree(tmp_path)
    ran = command(FIT, law, "--sweep", "few", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "few" in ran.sentence
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [
        (SWEEP, "plan", "--flops", "1e19"),
        (SWEEP, "status"),
        (SWEEP, "collect"),
        (SWEEP, "submit", "--cluster", "local"),
        (SWEEP, "import", "few.csv", "--sweep", "few"),
        (FIT, "isoflop"),
        (FIT, "report"),
    ],
)
def test_an_unreadable_database(command: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "few.csv").write_text("parameters,tokens,val_loss\n1e8,1e9,3\n")
    assert command(SWEEP, "plan", "--model", "nano", "--flops", "1e10").code == 0
    (tmp_path / "results.duckdb").write_bytes(b"not a database" * 1000)
    before = tree(tmp_path)
    ran = command(*arguments)
    assert ran.code == 2, ran.err
    assert "results.duckdb" in ran.sentence
    assert tree(tmp_path) == before
