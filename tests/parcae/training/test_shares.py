"""Shares of a batch: read ahead or not, together they are the batch."""

import torch

from parcae.data.batches import Batches
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.training.depth import sample_depths
from parcae.training.distributed import Processes
from parcae.training.step import Share, ShareReader
from tests.parcae.models import training

TRAINING = training(steps=6, batch_sequences=8)


def reader(rank: int, count: int, *, ahead: bool) -> ShareReader:
    batches = Batches(load_corpus(EMBEDDED), context=16, batch_sequences=8, seed=0)
    return ShareReader(batches, TRAINING, Processes(rank, count), ahead=ahead)


def same(one: Share, other: Share) -> bool:
    return (
        torch.equal(one.tokens, other.tokens)
        and torch.equal(one.targets, other.targets)
        and ((one.depths, one.seeds) == (other.depths, other.seeds))
    )


def test_reading_ahead_changes_nothing_wherever_one_begins() -> None:
    plain, ahead = reader(0, 1, ahead=False), reader(0, 1, ahead=True)
    for step in (0, 1, 2, 5, 3, 4, 4):  # in order, and not
        assert same(ahead.at(step), plain.at(step))


def test_the_shares_of_all_processes_are_the_batch() -> None:
    batches = Batches(load_corpus(EMBEDDED), context=16, batch_sequences=8, seed=0)
    tokens, _ = batches.batch(3)
    shares = [reader(rank, 2, ahead=False).at(3) for rank in (0, 1)]
    found = torch.cat([share.tokens for share in shares])
    assert sorted(found.tolist()) == sorted(tokens.tolist())
    assert sorted(d for s in shares for d in s.depths) == sorted(sample_depths(TRAINING, 3).tolist())
    for share in shares:
        assert share.depths == sorted(share.depths, reverse=True)
