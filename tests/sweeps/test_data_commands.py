"""`parcae-sweep data` as a user has it: what it prints, and one sentence for what it cannot do."""

import json
import subprocess
from pathlib import Path

import duckdb
import pytest

from tests.conftest import BIN, Command, tree

SWEEP = "parcae-sweep"
OPTIONS = ("--vocabulary", "300", "--context", "32", "--held-out-one-in", "4")


def write_source(folder: Path, documents: int = 120) -> None:
    folder.mkdir()
    lines = (
        json.dumps({"text": f"document {i} " + "has so many words " * (i % 17 + 1), "n": i, "o": {}})
        for i in range(documents)
    )
    (folder / "a.jsonl").write_text("\n".join(lines))


def test_prepared_shown_listed_and_verified(command: Command, tmp_path: Path) -> None:
    write_source(tmp_path / "source")
    made = command(SWEEP, "data", "prepare", "source", "--out", "data/mine", *OPTIONS)
    assert made.code == 0, made.err
    assert made.out.splitlines()[0].split("\t") == ["", "documents", "tokens", "rows", "cropped"]
    assert "tokenising" in made.err
    before = tree(tmp_path / "data")
    assert command(SWEEP, "data", "prepare", "source", "--out", "data/mine", *OPTIONS).out == made.out
    assert tree(tmp_path / "data") == before
    shown = command(SWEEP, "data", "show", "data/mine", "--json").json
    assert shown["train"]["documents"] + shown["validation"]["documents"] == 120
    rows = {text["name"]: text for text in command(SWEEP, "data", "list", "--json").json["texts"]}
    assert rows["mine"]["tokens"] == shown["train"]["rows"] * 32
    assert rows["fineweb-edu"] == {
        "name": "fineweb-edu",
        "vocabulary": 32_768,
        "tokens": None,
        "where": "not prepared",
    }
    assert command(SWEEP, "data", "verify", "data/mine").code == 0
    (tmp_path / "data" / "mine" / "manifest.json").write_text("{}")
    broken = {text["name"]: text for text in command(SWEEP, "data", "list", "--json").json["texts"]}["mine"]
    assert "cannot read" in broken["where"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("source",), "--out"),
        (("nowhere", "--out", "o"), "nowhere names no file"),
        (("source", "--out", "source"), "holds something else"),
        (("source", "--out", "note.txt"), "it is a file"),
        (
            ("source", "--out", "o", "--column", "body"),
            "no row of .*a.jsonl has text under 'body'; it has text, n",
        ),
        (("source", "--out", "o", "--column", "n"), "n of .*a.jsonl holds UBIGINT, not text"),
        (("source", "--out", "o", "--column", "o"), "o of .*a.jsonl holds OBJECT, not text"),
        (("rows.parquet", "--out", "o", "--column", "body"), "has no column 'body'; it has text, n"),
        (("rows.parquet", "--out", "o", "--column", "n"), "holds .*, not text"),
        (("note.txt", "--out", "o"), "the sources hold one document, which is never cut"),
        (("note.txt", "--out", "o", "--held-out-one-in", "2"), "the sources hold one document"),
        (("source", "--out", "o", "--held-out-one-in", "1000000"), "none of the 120 documents are held out"),
        (("source", "--out", "o", "--vocabulary", "100"), "256 bytes"),
        (("source", "--out", "o", "--vocabulary", "60000"), "too small for a vocabulary"),
        (("source", "--out", "o", "--tokenizer", "note.txt"), "as a tokenizer.json"),
        (("source", "--out", "o", "--recipe", "c4"), "there is no text 'c4'"),
        (("source", "--recipe", "fineweb-edu", "--context", "64"), "cannot choose the context"),
        (("huginn",), "not published as text"),
        (("python-stdlib",), "needs no preparing"),
        (("broken.parquet", "--out", "o"), "cannot read broken.parquet"),
        (("latin.txt", "--out", "o"), "latin.txt is not UTF-8"),
        (("empty.jsonl", "--out", "o"), "the sources hold no text"),
    ],
)
def test_what_cannot_be_prepared_is_a_sentence(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    import re

    write_source(tmp_path / "source")
    (tmp_path / "note.txt").write_text("a note")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing more PAR1")
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    (tmp_path / "empty.jsonl").touch()
    rows = duckdb.from_query("SELECT 'words' AS text, 1 AS n")
    rows.write_parquet(str(tmp_path / "rows.parquet"))
    ran = command(SWEEP, "data", "prepare", *arguments)
    assert ran.code == 2, ran.err
    last = ran.err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(says, last), last
    assert not list(tmp_path.rglob("manifest.json"))
    assert not list(tmp_path.rglob("*.bin"))


@pytest.mark.parametrize("wrong", [("--column", "body"), ("--column", "n"), ("--held-out-one-in", "1000000")])
def test_the_corrected_command_goes_through(command: Command, tmp_path: Path, wrong: tuple[str, ...]) -> None:
    """Also after documents were tokenised: with a tokenizer of one's own nothing is read beforehand."""
    write_source(tmp_path / "source")
    assert command(SWEEP, "data", "prepare", "source", "--out", "first", *OPTIONS).code == 0
    prepare = (SWEEP, "data", "prepare", "source", "--out", "mine", "--tokenizer", "first/tokenizer.json")
    assert command(*prepare, *wrong).code == 2
    assert command(*prepare, "--held-out-one-in", "4").code == 0


def test_much_cropped_is_said(command: Command, tmp_path: Path) -> None:
    write_source(tmp_path / "source")
    few = command(SWEEP, "data", "prepare", "source", "--out", "long", *OPTIONS, "--context", "64")
    assert "are cropped" not in few.err
    made = command(SWEEP, "data", "prepare", "source", "--out", "short", *OPTIONS, "--context", "4")
    assert made.code == 0
    assert "% of the training tokens are cropped and never seen" in made.err


def test_a_disk_that_is_full_is_a_sentence_and_nothing_is_half_written(
    command: Command, tmp_path: Path
) -> None:
    write_source(tmp_path / "source", 4000)
    line = f"ulimit -f 64; {BIN / SWEEP} data prepare source --out mine {' '.join(OPTIONS)}"
    full = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert full.returncode == 1
    assert "can be run again" in full.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.bin"))
    assert not list(tmp_path.rglob(".*.tmp"))
    assert command(SWEEP, "data", "prepare", "source", "--out", "mine", *OPTIONS).code == 0


def test_a_tokenizer_that_is_not_the_shards_is_found(command: Command, tmp_path: Path) -> None:
    write_source(tmp_path / "source")
    command(SWEEP, "data", "prepare", "source", "--out", "mine", *OPTIONS)
    path = tmp_path / "mine" / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["merges"] = values["model"]["merges"][:-1]
    path.write_text(json.dumps(values))
    ran = command(SWEEP, "data", "verify", "mine")
    assert ran.code == 2
    assert "is not the tokenizer that the shards were made with" in ran.sentence
