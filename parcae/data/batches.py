"""Batches of windows from a corpus, a pure function of (seed, step).

B batch, S sequence (the context). A window is S + 1 bytes: S inputs and, one further on, S targets.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from parcae.data.corpus import Corpus
from parcae.data.randomness import Stream, generator
from parcae.errors import InputError

VALIDATION_SEQUENCES, VALIDATION_TOKENS = 64, 16_384
"""The validation set has at least as many windows and tokens: evaluation at 24 test depths then costs a few
percent of a nano run, and losses of runs that differ by a hundredth of a nat can be told apart."""

Tokens = npt.NDArray[np.int64]


class Batches:
    """Training batches: non-overlapping windows, each once per epoch, in an order drawn for the epoch.

    Each epoch cuts the text at another offset, so no byte is always first in its window.
    """

    def __init__(self, corpus: Corpus, *, context: int, batch_sequences: int, seed: int) -> None:
        self._text, self._context = corpus.train, context
        self._batch_sequences, self._seed = batch_sequences, seed
        self.windows = (len(corpus.train) - 1) // context - 1  # whatever the offset, 0 to context - 1
        if self.windows < 1:
            raise InputError(
                f"corpus {corpus.name} has {len(corpus.train)} training tokens; a context of {context} "
                f"needs at least {2 * context + 1}"
            )
        self._order = lru_cache(maxsize=2)(self._draw_order)  # a batch may reach into the next epoch

    def _draw_order(self, epoch: int) -> tuple[int, npt.NDArray[np.int64]]:
        random = generator(self._seed, Stream.ORDER, epoch)
        return int(random.integers(self._context)), random.permutation(self.windows)

    def batch(self, step: int) -> tuple[Tokens, Tokens]:
        """(tokens, targets) of 0-based `step`, each (B, S)."""
        starts = []
        for sample in range(step * self._batch_sequences, (step + 1) * self._batch_sequences):
            epoch, place = divmod(sample, self.windows)
            offset, order = self._order(epoch)
            starts.append(offset + int(order[place]) * self._context)
        return _cut(self._text, starts, self._context)


def validation_set(corpus: Corpus, context: int) -> tuple[Tokens, Tokens]:
    """(tokens, targets), each (sequences, S): fixed windows, spread evenly over the validation text."""
    windows = (len(corpus.validation) - 1) // context
    if windows < 1:
        raise InputError(
            f"corpus {corpus.name} has {len(corpus.validation)} validation tokens; a context of {context} "
            f"needs at least {context + 1}"
        )
    count = min(windows, max(VALIDATION_SEQUENCES, VALIDATION_TOKENS // context))
    return _cut(corpus.validation, [i * windows // count * context for i in range(count)], context)


def windows(
    text: npt.NDArray[np.uint8], context: int, most: int | None = None
) -> list[tuple[Tokens, Tokens]]:
    """(tokens, targets) of all of `text`, each token but the first a target once: whole windows, then a rest.

    One pair is (sequences, S), and, where the text does not end with a window, another one shorter sequence.
    A text of more than `most` tokens gives whole windows alone, spread evenly over it, of about that many in
    all. ``InputError`` for a text with nothing to predict.
    """
    if len(text) < 2:
        raise InputError(f"the text has {len(text)} tokens; a loss takes at least 2")
    whole = (len(text) - 1) // context
    if most is not None and whole and len(text) - 1 > most:
        count = max(1, most // context)
        return [_cut(text, [i * whole // count * context for i in range(count)], context)]
    parts = [_cut(text, [i * context for i in range(whole)], context)] if whole else []
    rest = text[whole * context :].astype(np.int64)[None]
    return [*parts, (rest[:, :-1], rest[:, 1:])] if rest.shape[1] > 1 else parts


def _cut(text: npt.NDArray[np.uint8], starts: list[int], context: int) -> tuple[Tokens, Tokens]:
    windows = text[np.asarray(starts)[:, None] + np.arange(context + 1)].astype(np.int64)
    return windows[:, :-1], windows[:, 1:]
