"""Documents from files, and from a dataset of the Hub that is in its cache."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest

from parcae.data.recipes import RECIPES
from parcae.data.sources import download, find_files, read_documents
from parcae.data.tokenizer import load_tokenizer, token_bytes, train_tokenizer
from parcae.errors import InputError
from parcae.presets import PRESETS

WIKITEXT = [
    "",
    " = One = ",
    " The first . ",
    "",
    " = = A section = = ",
    " More . ",
    " = Two = ",
    " The second . ",
]


def test_lines_of_wikitext_are_joined_into_articles(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(WIKITEXT))
    rows = duckdb.from_query("SELECT unnest(?) AS text", params=[[f"{line}\n" for line in WIKITEXT]])
    rows.write_parquet(str(tmp_path / "a.parquet"))
    for name in ("a.txt", "a.parquet"):
        found = [text.strip() for text in read_documents(tmp_path / name, articles=True)]
        assert [text.splitlines()[0].strip() for text in found if text] == ["= One =", "= Two ="]
        assert "= = A section = =" in found[-2]


def test_a_named_column_is_read_and_a_missing_one_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"content": text, "id": 1}) for text in ("one", "", "two")))
    assert list(read_documents(path, "content")) == ["one", "two"]
    duckdb.sql("SELECT 1 AS number").write_parquet(str(tmp_path / "a.parquet"))
    with pytest.raises(InputError, match="text"):
        list(read_documents(tmp_path / "a.parquet"))
    with pytest.raises(InputError, match="INTEGER, not text"):
        list(read_documents(tmp_path / "a.parquet", "number"))


def test_a_dataset_in_the_cache_is_read_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    root = tmp_path / "datasets--someone--texts"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    data = root / "snapshots" / ("0" * 40) / "data"
    data.mkdir(parents=True)
    (data / "a.jsonl").write_text('{"text": "here"}\n')
    (data / "b.csv").write_text("not read")
    (found,) = find_files(["hf://datasets/someone/texts/data/*"])
    assert list(read_documents(found)) == ["here"]
    with pytest.raises(InputError, match="names no file"):
        find_files(["hf://datasets/someone/texts/other/*.parquet"])
    with pytest.raises(InputError, match="cannot download hf://datasets/someone/else"):
        download("hf://datasets/someone/else/*.parquet")
    with pytest.raises(InputError, match="OWNER/NAME"):
        download("hf://datasets/someone")


def test_every_preset_has_a_text_that_fits_it() -> None:
    for name, preset in PRESETS.items():
        if preset.text == "python-stdlib":
            assert preset.model.vocabulary == 256, name
        else:
            recipe = RECIPES[preset.text]
            assert (recipe.vocabulary, recipe.context) == (preset.model.vocabulary, preset.model.context), (
                name
            )
    assert len({recipe.hash for recipe in RECIPES.values()}) == len(RECIPES)


def test_tokens_stand_for_as_many_bytes_as_they_decode_to(tmp_path: Path) -> None:
    text = "the loop sees 日本 and 🙂 <|bos|>\n" * 50
    tokenizer = train_tokenizer([text], 280)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    sizes = token_bytes(tokenizer)
    ids = tokenizer.encode(text).ids
    assert sizes[np.array(ids)].sum() == len(text.encode())
    assert sizes[tokenizer.token_to_id("<|bos|>")] == 0
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again.encode(text).ids == ids
