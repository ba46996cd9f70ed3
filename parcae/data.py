"""Batches of a corpus from (seed, step): every window once an epoch, in an order of that epoch's own.

Shapes: B batch, S context.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from parcae.corpus import Corpus
from parcae.errors import InputError

VALIDATION_SEQUENCES = 128
"""Held-out windows a run is scored on, spread evenly over the held-out text."""


@dataclass(frozen=True)
class Batches:
    """Training batches: non-overlapping windows, shifted by a random offset and shuffled each epoch."""

    corpus: Corpus
    context: int
    batch_sequences: int
    seed: int

    def __post_init__(self) -> None:
        if self._windows < 1:
            raise InputError(
                f"the corpus {self.corpus.name} has {len(self.corpus.train)} tokens, "
                f"too few for a context of {self.context}"
            )

    @property
    def _windows(self) -> int:
        return (len(self.corpus.train) - self.context) // self.context - 1

    def at(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens and targets, each int64 (B, S), of optimiser step `step` (0, 1, ...)."""
        rows = range(step * self.batch_sequences, (step + 1) * self.batch_sequences)
        windows = np.stack([self._window(row) for row in rows]).astype(np.int64)
        return windows[:, :-1], windows[:, 1:]

    def _window(self, row: int) -> np.ndarray:
        epoch, position = divmod(row, self._windows)
        order, offset = _epoch_order(self.seed, epoch, self._windows, self.context)
        start = offset + int(order[position]) * self.context
        return self.corpus.train[start : start + self.context + 1]


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, windows: int, context: int) -> tuple[np.ndarray, int]:
    generator = np.random.default_rng((seed, epoch, 0))
    return generator.permutation(windows), int(generator.integers(context))


def validation_windows(corpus: Corpus, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and targets, each int64 (up to VALIDATION_SEQUENCES, S); the same for every run."""
    text = corpus.validation
    count = min(VALIDATION_SEQUENCES, (len(text) - 1) // context)
    if count < 1:
        raise InputError(
            f"the corpus {corpus.name} has {len(text)} held-out tokens, too few for a context of {context}"
        )
    starts = np.linspace(0, len(text) - context - 1, count).astype(np.int64)
    windows = np.stack([text[start : start + context + 1] for start in starts]).astype(np.int64)
    return windows[:, :-1], windows[:, 1:]
