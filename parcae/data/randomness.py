"""Every random number of a run, from (seed, stream, step): nothing here or elsewhere uses global state.

A run that is resumed, split over processes or over micro-batches therefore draws what it would have drawn.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Independent uses of one seed. The numbers are part of a run's identity: never renumber them."""

    WEIGHTS = 0
    ORDER = 1
    DEPTH = 2
    STATE = 3
    EVALUATION = 4


def generator(seed: int, stream: Stream, index: int = 0) -> np.random.Generator:
    """NumPy generator of `stream` at `index` (a step or an epoch)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream, index])))


def torch_seeds(seed: int, stream: Stream, index: int, count: int) -> list[int]:
    """`count` seeds for torch generators, one per sequence, of `stream` at `index`."""
    # 63 bits: what a torch generator accepts on every device.
    state = np.random.SeedSequence([seed, stream, index]).generate_state(count, np.uint64)
    return [int(value) for value in state >> np.uint64(1)]
