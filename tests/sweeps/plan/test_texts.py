"""Texts that are named, found, pinned, and refused once they have changed."""

import json
import shutil
from pathlib import Path

import pytest

from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.prepare import prepare
from parcae.errors import InputError
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import isoflop_grid
from sweeps.plan.texts import (
    check_epochs,
    choose_text,
    known_texts,
    locate,
    missing_text,
    open_text,
    pin_texts,
    tokenizer_file,
)
from tests.conftest import Command, tree


def prepared(folder: Path, words: str = "one two three four", context: int = 64) -> Path:
    source = folder.with_name(f"{folder.name}-source.jsonl")
    source.write_text("\n".join(json.dumps({"text": f"{i} {words} " * 20}) for i in range(200)))
    prepare([str(source)], folder, vocabulary=300, context=context, held_out_one_in=5)
    return folder


def planned(study: Study, folder: Path) -> list[RunSpec]:
    chosen = choose_text(study, str(folder))
    locate(study, chosen)
    return isoflop_grid("nano", [1e9], [1], text=chosen.text)


def test_the_model_takes_its_vocabulary_from_the_text(study: Study, tmp_path: Path) -> None:
    (spec,) = planned(study, prepared(tmp_path / "mine"))
    assert (spec.model.vocabulary, spec.model.context, spec.corpus) == (300, 64, "mine")
    assert spec.variant == "vocabulary 300"
    text = open_text(study.runs, spec)
    assert (text.vocabulary, text.tokenizer, text.hash) == (300, spec.tokenizer_hash, spec.corpus_hash)
    assert tokenizer_file(study.runs, spec).is_file()
    chosen = choose_text(study, str(tmp_path / "mine"))
    with pytest.raises(InputError, match=r"context of 128.*--context 64"):
        isoflop_grid("nano-32", [1e11], [2], text=chosen.text)
    (shorter,) = isoflop_grid("nano-32", [1e11], [2], axes={"context": [32]}, text=chosen.text)
    assert chosen.epochs(shorter) == pytest.approx(shorter.tokens / (chosen.tokens / 2))


def test_a_text_beside_the_database_is_known_by_its_name(study: Study) -> None:
    study.data.mkdir()
    prepared(study.data / "mine")
    by_name, by_folder = (choose_text(study, name) for name in ("mine", str(study.data / "mine")))
    assert by_name == by_folder
    assert {text.name: text.tokens for text in known_texts(study)}["mine"] == by_name.tokens


def test_the_embedded_text_and_the_named_ones_need_nothing_on_disk(study: Study) -> None:
    text = choose_text(study, EMBEDDED).text
    assert (text.corpus_hash, text.vocabulary) == (load_corpus(EMBEDDED).hash, 256)
    chosen = choose_text(study, "fineweb-edu")
    (spec,) = isoflop_grid("small-140m", [1e19], [8], text=chosen.text)
    assert spec.variant is None
    assert "data prepare fineweb-edu --out" in missing_text(study, [spec])
    with pytest.raises(InputError, match="is not prepared"):
        pin_texts(study, [spec])
    assert not study.runs.exists()
    assert [text.name for text in known_texts(study)][:2] == [EMBEDDED, "fineweb-edu"]
    with pytest.raises(InputError, match=r"'c4'.*python-stdlib, fineweb-edu"):
        choose_text(study, "c4")


def test_seen_too_often_is_a_warning_and_then_an_error(study: Study, tmp_path: Path) -> None:
    chosen = choose_text(study, str(prepared(tmp_path / "mine")))
    for epochs, warns in ((3, False), (20, True)):
        cost = isoflop_grid("nano", [1e9], [1], text=chosen.text)[0].flops_per_token
        specs = isoflop_grid("nano", [cost * chosen.tokens * epochs], [1], text=chosen.text)
        warning = check_epochs(chosen, specs, 40)
        assert (warning is not None) == warns
    with pytest.raises(InputError, match=r"--epochs-allowed \d"):
        check_epochs(chosen, specs, 10)


@pytest.mark.parametrize("how", ["a token", "the tokenizer", "another text", "gone", "cut"])
def test_a_text_that_changed_after_pinning_is_refused(study: Study, tmp_path: Path, how: str) -> None:
    folder = prepared(tmp_path / "mine")
    specs = planned(study, folder)
    pin_texts(study, specs)
    pin_texts(study, specs)
    open_text(study.runs, specs[0])
    shard = next(folder.glob("train-*.bin"))
    if how == "a token":
        content = bytearray(shard.read_bytes())
        content[8] ^= 1
        shard.write_bytes(content)
    elif how == "cut":
        shard.write_bytes(shard.read_bytes()[:-2])
    elif how == "the tokenizer":
        other = prepared(tmp_path / "other", "five six seven")
        shutil.copyfile(other / "tokenizer.json", folder / "tokenizer.json")
    else:
        shutil.rmtree(folder)
        if how == "another text":
            prepared(folder, "five six seven eight")
    says = {
        "a token": "has changed since",
        "cut": "cut short",
        "the tokenizer": "is not the tokenizer",
        "another text": "pinned to",
        "gone": "no prepared text",
    }[how]
    for refuse in (lambda: open_text(study.runs, specs[0]), lambda: pin_texts(study, specs)):
        with pytest.raises(InputError, match=says):
            refuse()


def test_a_text_that_was_moved_is_found_again_by_a_plan(study: Study, tmp_path: Path) -> None:
    specs = planned(study, prepared(tmp_path / "mine"))
    pin_texts(study, specs)
    shutil.copytree(tmp_path / "mine", tmp_path / "elsewhere" / "mine")
    shutil.rmtree(tmp_path / "mine")
    assert planned(study, tmp_path / "elsewhere" / "mine") == specs
    pin_texts(study, specs)
    open_text(study.runs, specs[0])


def test_a_plan_into_an_imported_sweep_leaves_nothing(study: Study, command: Command) -> None:
    prepared(study.db.parent / "mine")
    study.sweeps.mkdir(parents=True)
    study.imported("theirs").write_text("model,flops,mean_recurrence,val_loss\na,1e10,1,3\n")
    before = tree(study.runs)
    words = ("--data", "mine", "--model", "nano", "--flops", "1e9", "--recurrences", "1")
    refused = command("parcae-sweep", "plan", *words, "--sweep", "theirs")
    assert refused.code == 2
    assert "was imported" in refused.sentence
    assert tree(study.runs) == before
