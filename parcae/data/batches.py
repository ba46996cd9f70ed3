"""Batches of windows from a text, a pure function of (seed, step).

B batch, S sequence (the context). A window is S + 1 tokens: S inputs and, one further on, S targets.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from parcae.data.randomness import Stream, generator
from parcae.data.windows import PlainWindows, Text, Tokens
from parcae.errors import InputError

VALIDATION_SEQUENCES, VALIDATION_TOKENS = 64, 16_384
"""The validation set has at least as many windows and tokens: evaluation at 24 test depths then costs a few
percent of a nano run, and losses of runs that differ by a hundredth of a nat can be told apart."""


class Batches:
    """Training batches: windows that do not overlap, each once per epoch, in a different order in each epoch.

    Each epoch cuts a text without rows at another offset, so that no byte is always first in its window.
    """

    def __init__(self, text: Text, *, context: int, batch_sequences: int, seed: int) -> None:
        self._windows, self._context = text.training_windows(context), context
        self._batch_sequences, self._seed = batch_sequences, seed
        self._order = lru_cache(maxsize=2)(self._draw_order)  # a batch may reach into the next epoch

    @property
    def windows(self) -> int:
        """Windows of an epoch."""
        return self._windows.count

    def _draw_order(self, epoch: int) -> tuple[int, npt.NDArray[np.int64]]:
        random = generator(self._seed, Stream.ORDER, epoch)
        return int(random.integers(self._windows.offsets)), random.permutation(self.windows)

    def batch(self, step: int, rows: Sequence[int] | None = None) -> tuple[Tokens, Tokens]:
        """(tokens, targets) of 0-based `step`, each (B, S); of its `rows` alone, if they are given."""
        samples = step * self._batch_sequences + np.arange(self._batch_sequences)
        if rows is not None:
            samples = samples[list(rows)]
        epochs, places = np.divmod(samples, self.windows)
        found = np.empty((len(samples), self._context + 1), dtype=np.int64)
        for epoch in np.unique(epochs).tolist():
            offset, order = self._order(epoch)
            here = epochs == epoch
            found[here] = self._windows.read(order[places[here]], offset)
        return _shifted(found)


def validation_set(text: Text, context: int) -> tuple[Tokens, Tokens]:
    """(tokens, targets), each (sequences, S): fixed windows, spread evenly over the validation text."""
    windows = text.validation_windows(context)
    count = min(windows.count, max(VALIDATION_SEQUENCES, VALIDATION_TOKENS // context))
    return _shifted(windows.read(np.arange(count) * windows.count // count))


def windows(
    text: npt.NDArray[np.unsignedinteger], context: int, most: int | None = None
) -> list[tuple[Tokens, Tokens]]:
    """(tokens, targets) of all of `text`, each token but the first a target once: whole windows, then a rest.

    One pair is (sequences, S), and, where the text does not end with a window, another one shorter sequence.
    A text of more than `most` tokens gives whole windows alone, spread evenly over it, of about that many in
    all. ``InputError`` for a text with nothing to predict.
    """
    if len(text) < 2:
        raise InputError(f"the text has {len(text)} tokens; a loss takes at least 2")
    whole = (len(text) - 1) // context
    every = PlainWindows(text, context, whole)
    if most is not None and whole and len(text) - 1 > most:
        count = max(1, most // context)
        return [_shifted(every.read(np.arange(count) * whole // count))]
    parts = [_shifted(every.read(np.arange(whole)))] if whole else []
    rest = text[whole * context :].astype(np.int64)[None]
    return [*parts, _shifted(rest)] if rest.shape[1] > 1 else parts


def _shifted(found: Tokens) -> tuple[Tokens, Tokens]:
    return found[:, :-1], found[:, 1:]
