"""Batches cover the text once an epoch; the validation set is fixed."""

import numpy as np
import pytest

from parcae.data.batches import VALIDATION_SEQUENCES, VALIDATION_TOKENS, Batches, validation_set
from parcae.data.corpus import EMBEDDED, Corpus, load_corpus
from parcae.data.tokenizer import tokenizer_hash
from parcae.errors import InputError


def counting(length: int, validation: int = 50) -> Corpus:
    """A text whose byte number i is i modulo 251."""
    text = (np.arange(length) % 251).astype(np.uint8)
    return Corpus(name="counting", hash="0", train=text, validation=text[:validation])


def test_an_epoch_holds_every_window_once_and_targets_follow() -> None:
    batches = Batches(counting(250), context=10, batch_sequences=4, seed=0)
    assert batches.windows == 23
    seen = []
    for step in range(6):
        tokens, targets = batches.batch(step)
        assert tokens.dtype == np.int64
        assert ((targets - tokens) % 251 == 1).all()
        seen += tokens[:, 0].tolist()
    first, rest = seen[:23], seen[23:]
    assert len(set(first)) == 23
    assert {start % 10 for start in first} == {first[0] % 10}
    assert len(rest) == 1


def test_epochs_differ_in_order_and_batches_depend_on_seed_and_step_alone() -> None:
    def make(seed: int) -> Batches:
        return Batches(counting(250), context=10, batch_sequences=23, seed=seed)

    assert (make(0).batch(7)[0] == make(0).batch(7)[0]).all()
    assert (make(0).batch(0)[0] != make(0).batch(1)[0]).any()
    assert (make(0).batch(0)[0] != make(1).batch(0)[0]).any()


def test_rows_of_a_batch_are_read_alone_in_the_order_asked() -> None:
    batches = Batches(counting(250), context=10, batch_sequences=8, seed=0)  # step 2 reaches into an epoch
    tokens, targets = batches.batch(2)
    some, their_targets = batches.batch(2, [7, 0, 5])
    assert (some == tokens[[7, 0, 5]]).all()
    assert (their_targets == targets[[7, 0, 5]]).all()


def test_too_little_text_is_refused() -> None:
    with pytest.raises(InputError, match="context of 100"):
        Batches(counting(200), context=100, batch_sequences=1, seed=0)
    with pytest.raises(InputError, match="50 validation tokens"):
        validation_set(counting(500), 50)


def test_validation_windows_are_spread_and_do_not_overlap() -> None:
    tokens, targets = validation_set(load_corpus(EMBEDDED), 128)
    assert tokens.shape == targets.shape == (VALIDATION_TOKENS // 128, 128)
    assert len(validation_set(load_corpus(EMBEDDED), 1_024)[0]) == VALIDATION_SEQUENCES
    assert (tokens[:, 1:] == targets[:, :-1]).all()
    few, _ = validation_set(counting(500, validation=50), 10)
    assert few[:, 0].tolist() == [0, 10, 20, 30]


def test_the_embedded_corpus_is_python_and_its_documentation() -> None:
    corpus = load_corpus(EMBEDDED)
    share = len(corpus.validation) / (len(corpus.train) + len(corpus.validation))
    assert 0.02 < share < 0.1
    assert len(corpus.train) > 3_000_000
    assert b"import" in corpus.train.tobytes()
    assert load_corpus(EMBEDDED).hash == corpus.hash
    assert len(corpus.hash) == 16
    with pytest.raises(InputError, match="python-stdlib"):
        load_corpus("wikipedia")
    with pytest.raises(InputError, match="bytes"):
        tokenizer_hash("gpt")
