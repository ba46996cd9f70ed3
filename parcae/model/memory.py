"""Keys and values of positions already read, so that the next token is computed alone.

In a loop a layer has keys of its own at every recurrence: position i at recurrence t attends to the others at
recurrence t. Kept so, cached logits are those of a whole pass, at the cost of T times the memory; kept for
the last recurrence alone, memory is that of a model without a loop and the logits are an approximation
(Geiping et al., arXiv 2502.05171).

B batch, G key-value heads, S positions, C head dimension.
"""

from enum import StrEnum

import torch
from torch import Tensor


class Keep(StrEnum):
    """Which recurrences' keys and values are kept."""

    EVERY = "every"
    LAST = "last"


class KeysValues:
    """One layer's, each (B, G, S, C), of the positions settled in `memory` and of those being computed."""

    def __init__(self, memory: "Memory") -> None:
        self.memory = memory
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def write(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Puts these after the settled positions, over what was there; all that there is then."""
        if self.keys is not None and self.values is not None:
            settled = self.memory.length
            keys = torch.cat([self.keys[:, :, :settled], keys], dim=2)
            values = torch.cat([self.values[:, :, :settled], values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


class Memory:
    """What a `LoopedTransformer` keeps of the tokens it has read."""

    def __init__(self, keep: Keep) -> None:
        self.keep = keep
        self.length = 0
        """Positions settled."""
        self._slots: dict[tuple[int, int], KeysValues] = {}

    def once(self, layer: int) -> KeysValues:
        """Of a layer outside the loop."""
        return self._slots.setdefault((layer, 0), KeysValues(self))

    def recurrence(self, layer: int, t: int) -> KeysValues:
        """Of a recurrent layer at recurrence t, from 0."""
        return self._slots.setdefault((layer, t if self.keep is Keep.EVERY else 0), KeysValues(self))

    def settle(self, count: int, layers: range, spent: int, recurrences: int) -> None:
        """Keeps the `count` positions just computed.

        Where they stopped after `spent` of T = `recurrences`, later tokens find what the recurrent `layers`
        had then at every recurrence after.
        """
        if self.keep is Keep.EVERY:
            for layer in layers:
                last = self.recurrence(layer, spent - 1)
                assert last.keys is not None
                assert last.values is not None
                for t in range(spent, recurrences):
                    self.recurrence(layer, t).write(last.keys[:, :, -count:], last.values[:, :, -count:])
        self.length += count
