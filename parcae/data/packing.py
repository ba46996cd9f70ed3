"""Documents into rows of one length: best fit, and cropping only where nothing fits.

Every row starts at a document's beginning. A row takes the longest waiting document that fits its rest; where
none does, the shortest one is cropped to fill it, so that the least is lost, and its tail is dropped.
A document longer than a row is cropped to one.
"""

from bisect import bisect_right, insort

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.uint32]
WAITING = 1000
"""Documents to choose from: more pack better, and take more memory."""


class Packer:
    """Packs documents as they come; the rows depend on nothing but the documents' order.

    `waiting` is all its state: a packer given the same one goes on with the same rows.
    """

    def __init__(self, row_tokens: int, waiting: list[Tokens] | None = None) -> None:
        self.row_tokens = row_tokens
        self.cropped = 0
        """Tokens dropped so far."""
        self._waiting: list[tuple[int, int, Tokens]] = []
        self._count = self._tokens = 0
        for document in waiting or []:
            self._insert(document)

    @property
    def waiting(self) -> list[Tokens]:
        """The documents not packed yet, in the order they came."""
        return [document for _, _, document in sorted(self._waiting, key=lambda entry: -entry[1])]

    def add(self, document: Tokens) -> list[Tokens]:
        """Takes one document; the rows, each (row_tokens,), that are full now."""
        self._insert(document)
        rows = []
        # A row drawn needs no more than WAITING documents at hand for its choice.
        while len(self._waiting) > WAITING and self._tokens >= self.row_tokens:
            rows.append(self._row())
        return rows

    def finish(self, filler: Tokens) -> list[Tokens]:
        """The rows of all that waits; the last one is filled up from `filler`, again and again."""
        rows = []
        while self._waiting:
            rows.append(self._row(filler))
        return rows

    def _insert(self, document: Tokens) -> None:
        # What is longer than a row fits in none: its head is a row of its own.
        self.cropped += max(len(document) - self.row_tokens, 0)
        document = document[: self.row_tokens]
        self._tokens += len(document)
        # Of documents of one length, the one that came first is taken first: the last in the order.
        insort(self._waiting, (len(document), -self._count, document), key=lambda entry: entry[:2])
        self._count += 1

    def _row(self, filler: Tokens | None = None) -> Tokens:
        row = np.empty(self.row_tokens, dtype=np.uint32)
        filled = 0
        while filled < self.row_tokens:
            room = self.row_tokens - filled
            if not self._waiting:
                assert filler is not None
                row[filled:] = np.resize(filler, room)
                break
            fitting = bisect_right(self._waiting, (room, 1), key=lambda entry: entry[:2])
            length, _, document = self._waiting.pop(max(fitting - 1, 0))
            taken = min(length, room)
            row[filled : filled + taken] = document[:taken]
            self.cropped += length - taken
            self._tokens -= length
            filled += taken
        return row
