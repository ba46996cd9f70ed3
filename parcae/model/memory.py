"""Keys and values of positions already read, so that the next token is computed alone.

In a loop a layer has separate keys at every recurrence: position i at recurrence t attends to the other
positions at recurrence t. If all are kept, cached logits equal those of a whole pass and take T times the
memory; if only those of the last recurrence are kept, memory is that of a model without a loop and logits are
an approximation (Geiping et al., arXiv 2502.05171).

B batch, G key-value heads, S positions, C head dimension.
"""

import torch
from torch import Tensor

from parcae.config import Keep


class KeysValues:
    """Those of one layer, each (B, G, S, C): of the positions settled in `memory` and of the current ones."""

    def __init__(self, memory: "Memory") -> None:
        self.memory = memory
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def write(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Puts these after the settled positions, replacing any others there; returns all."""
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
        """The slot of a layer outside the loop."""
        return self._slots.setdefault((layer, 0), KeysValues(self))

    def recurrence(self, layer: int, t: int) -> KeysValues:
        """The slot of a recurrent layer at recurrence t, from 0."""
        return self._slots.setdefault((layer, t if self.keep is Keep.EVERY else 0), KeysValues(self))

    def settle(self, count: int, layers: range, spent: int, recurrences: int) -> None:
        """Keeps the `count` positions just computed.

        If they stopped after `spent` of T = `recurrences`, the keys and values of the recurrent `layers` at
        that recurrence also serve for every later one.
        """
        if self.keep is Keep.EVERY:
            for layer in layers:
                last = self.recurrence(layer, spent - 1)
                assert last.keys is not None
                assert last.values is not None
                for t in range(spent, recurrences):
                    self.recurrence(layer, t).write(last.keys[:, :, -count:], last.values[:, :, -count:])
        self.length += count
