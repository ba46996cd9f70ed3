"""Stretches of context + 1 tokens: what training and validation take from any text.

B sequences, S context. A window is S inputs and, one further on, S targets.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int64]


class Windows(Protocol):
    """A text as numbered windows, any of which can be read."""

    @property
    def count(self) -> int: ...
    @property
    def offsets(self) -> int:
        """Places at which an epoch may begin to cut, from 0."""

    def read(self, numbers: Numbers, offset: int = 0) -> Tokens:
        """The windows of these numbers, (B, S + 1)."""


class Text(Protocol):
    """A text to train on: the embedded one, or one prepared on disk."""

    @property
    def name(self) -> str: ...
    @property
    def hash(self) -> str:
        """16 hexadecimal digits that change when a token would."""

    @property
    def tokenizer(self) -> str:
        """The hash of its tokenizer."""

    @property
    def vocabulary(self) -> int: ...
    def training_windows(self, context: int) -> Windows:
        """``InputError`` for a text without a window of `context`."""

    def validation_windows(self, context: int) -> Windows:
        """Of the half that no training window reaches into."""

    def validation_documents(self) -> Iterator[bytes]:
        """What that half holds of each document, UTF-8, for a model of another tokenizer."""


class PlainWindows:
    """Windows through a text without rows: each starts with the last target of the one before."""

    def __init__(self, text: npt.NDArray[Any], context: int, count: int, offsets: int = 1) -> None:
        self._text, self._context = text, context
        self.count, self.offsets = count, offsets

    def read(self, numbers: Numbers, offset: int = 0) -> Tokens:
        starts = offset + numbers * self._context
        tokens: Tokens = self._text[starts[:, None] + np.arange(self._context + 1)].astype(np.int64)
        return tokens


class RowWindows:
    """The rows of shards mapped into memory; of longer rows their beginning, which is a document's."""

    offsets = 1

    def __init__(self, shards: Sequence[npt.NDArray[Any]], context: int) -> None:
        self._shards, self._context = shards, context
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])
        self.count = int(self._starts[-1])

    def read(self, numbers: Numbers, offset: int = 0) -> Tokens:
        rows = np.empty((len(numbers), self._context + 1), dtype=np.int64)
        shards = np.searchsorted(self._starts, numbers, side="right") - 1
        for place, (shard, number) in enumerate(zip(shards, numbers, strict=True)):
            rows[place] = self._shards[shard][number - self._starts[shard], : self._context + 1]
        return rows
