"""Perplexities of words and last words, worked out by hand."""

import math
from pathlib import Path

import pytest

from parcae.errors import InputError
from parcae.evaluation.language import detokenised, lambada, wikitext
from parcae.evaluation.tasks import Tasks, score
from tests.parcae.evaluation.repeating import AGAIN, OTHER, model_and_reader, repeating


def test_words_of_wikitext_by_hand(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text(" = T = \n\n aaaa b \n = U = \n\n cc \n")
    perplexity, bits = wikitext(*model_and_reader(), tmp_path / "w.txt", [1, 5])
    assert (perplexity.metric, bits.metric) == ("word_perplexity", "bits_per_byte")
    assert perplexity.examples == 2
    # " = T =\n\naaaa b\n" after a NUL: the second \n and three a follow their like; so do a c and a \n.
    texts = [detokenised(" = T = \n\n aaaa b \n"), detokenised(" = U = \n\n cc \n")]
    assert texts == [" = T =\n\naaaa b\n", " = U =\n\ncc\n"]
    count, again = sum(map(len, texts)), 4 + 2
    nats = -(again * AGAIN + (count - again) * OTHER)
    # Words are counted as they are written, with the empty ones before and after an article's spaces.
    words = len(["", "=", "T", "=", "aaaa", "b", ""]) + len(["", "=", "U", "=", "cc", ""])
    size = len(" = T = \n\n aaaa b \n = U = \n\n cc \n")
    for t in (1, 5):
        assert perplexity.values[t] == pytest.approx(math.exp(nats / words), rel=1e-5)
        assert bits.values[t] == pytest.approx(nats / size / math.log(2), rel=1e-5)
    (tmp_path / "other.txt").write_text("other")
    (other, _) = wikitext(*model_and_reader(), tmp_path / "other.txt", [1])
    assert other.version != perplexity.version  # another file is another task


def test_last_words_by_hand(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("so it is\nand again\n\nalone\n")
    (tmp_path / "l.jsonl").write_text('{"text": "so it is"}\n{"text": "and again"}\n')
    for name in ("l.txt", "l.jsonl"):
        accuracy, perplexity = lambada(*model_and_reader(), tmp_path / name, [2])
        assert accuracy.values == {2: 0.0}
        assert perplexity.values[2] == pytest.approx(math.exp(-(3 * OTHER + 6 * OTHER) / 2), rel=1e-5)
        assert accuracy.examples == 2


def test_files_without_words_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    for task in ("wikitext", "lambada"):
        with pytest.raises(InputError, match=r"empty.txt: it holds no"):
            score(repeating(), Tasks(**{task: [tmp_path / "empty.txt"]}), [1])
