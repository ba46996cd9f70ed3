"""Losses in units that compare: bytes counted by hand, texts of another tokenizer read anew."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parcae.data.corpus import EMBEDDED, Corpus, load_corpus
from parcae.data.manifest import PreparedText
from parcae.data.prepare import prepare
from parcae.data.tokenizer import BYTES, load_tokenizer
from parcae.errors import InputError
from parcae.evaluation.texts import TextLosses, evaluate_texts
from parcae.formats.pretrained import Pretrained, load_pretrained, save_model
from tests.parcae.models import TINY, random_model

WORDS = ["the", "loop", "réads", "ünïcode", "日本", "and", "goes", "on"]


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedText:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, size=30)) + f" {i}" for i in range(150)]
    (tmp_path / "source.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return prepare(
        [str(tmp_path / "source.jsonl")], tmp_path / "mine", vocabulary=290, context=128, held_out_one_in=3
    )


def bpe_model(text: PreparedText) -> Pretrained:
    model = random_model(replace(TINY, vocabulary=text.vocabulary)).float()
    return Pretrained(
        model=model,
        mean_recurrence=4,
        backward_depth=2,
        tokenizer="tokenizer.json",
        tokenizer_file=text.folder / "tokenizer.json",
    )


def test_bits_per_byte_and_perplexity_by_hand() -> None:
    found = TextLosses(text="t", tokens=50, bytes=200, losses={1: math.log(2), 4: 2 * math.log(2)})
    assert found.bits_per_byte == pytest.approx({1: 0.25, 4: 0.5})  # a bit a token, four bytes each
    assert found.perplexity == pytest.approx({1: 2.0, 4: 4.0})


def test_a_file_has_as_many_bytes_as_its_text(prepared: PreparedText, tmp_path: Path) -> None:
    model = bpe_model(prepared)
    text = "日本 and the loop goes on" * 3
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (found,) = evaluate_texts(model, [tmp_path / "a.txt"], [1, 4], 10_000)
    ids = load_tokenizer(prepared.folder / "tokenizer.json").encode(text).ids
    assert (found.tokens, found.bytes) == (len(ids), len(text.encode()))  # each after <|bos|>
    assert set(found.losses) == {1, 4}
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.txt: it is not UTF-8"):
        evaluate_texts(model, [tmp_path / "latin.txt"], [1], 100)


def test_a_text_of_another_tokenizer_is_cut_anew(prepared: PreparedText) -> None:
    bytes_model = Pretrained(model=random_model(TINY), mean_recurrence=4, backward_depth=2, tokenizer=BYTES)
    documents = list(prepared.validation_documents())
    read = sum(map(len, documents))
    (found,) = evaluate_texts(bytes_model, [], [1], 10**6, [prepared])
    assert (found.tokens, found.bytes) == (read + len(documents) - 1, read)
    (own,) = evaluate_texts(bpe_model(prepared), [], [1], 10**6, [prepared])
    assert own.tokens == prepared.manifest.validation.rows * TINY.context  # not cut anew
    corpus = Corpus(
        name="two",
        hash="0",
        train=np.zeros(0, np.uint8),
        validation=np.frombuffer(b"\0the loop\0goes on", dtype=np.uint8),
    )
    (other,) = evaluate_texts(bpe_model(prepared), [], [1], 1000, [corpus])
    assert other.bytes == len(b"the loopgoes on")


def test_an_exported_model_takes_its_tokenizer_along(prepared: PreparedText, tmp_path: Path) -> None:
    model = bpe_model(prepared)
    save_model(model, tmp_path / "exported")
    again = load_pretrained(tmp_path / "exported")
    first, second = (evaluate_texts(m, [], [2], 100, [prepared])[0].losses[2] for m in (model, again))
    assert first == second
    (tmp_path / "exported" / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"put its tokenizer.json into"):
        evaluate_texts(load_pretrained(tmp_path / "exported"), [], [2], 100, [prepared])


def test_the_embedded_text_gives_its_documents_back() -> None:
    corpus = load_corpus(EMBEDDED)
    documents = list(corpus.validation_documents())
    assert len(documents) > 10
    assert sum(map(len, documents)) == pytest.approx(len(corpus.validation), rel=0.001)
