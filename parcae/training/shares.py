"""This process's part of each batch: read from the text, sorted by depth, and on a GPU read ahead.

B sequences of the share, S context.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from parcae.config import TrainConfig
from parcae.data.batches import Batches
from parcae.data.randomness import Stream, torch_seeds
from parcae.training.depth import sample_depths
from parcae.training.distributed import Processes


@dataclass(frozen=True)
class Share:
    """This process's part of a batch, deepest sequence first."""

    tokens: Tensor
    """(B, S)."""
    targets: Tensor
    depths: list[int]
    seeds: list[int]
    """Of the initial states."""


class ShareReader:
    """Reads shares, each a pure function of its step.

    With `ahead`, the next one is read and its memory pinned while the GPU is at work on this one. A CPU has
    no time to spare for that.
    """

    def __init__(self, batches: Batches, training: TrainConfig, processes: Processes, *, ahead: bool) -> None:
        self._batches, self._training, self._processes = batches, training, processes
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") if ahead else None
        self._next: tuple[int, Future[Share]] | None = None

    def at(self, step: int) -> Share:
        """The share of 0-based `step`; with `ahead`, the one after it is begun."""
        if self._reader is None:
            return self.read(step)
        begun, self._next = self._next, None
        share = begun[1].result() if begun and begun[0] == step else self.read(step)
        if step + 1 < self._training.steps:
            self._next = step + 1, self._reader.submit(self.read, step + 1)
        return share

    def read(self, step: int) -> Share:
        """The share of 0-based `step`, and nothing else."""
        depths = sample_depths(self._training, step)
        seeds = torch_seeds(self._training.seed, Stream.STATE, step, len(depths))
        rows = self._processes.share((-depths).argsort(kind="stable").tolist())
        tokens, targets = map(torch.from_numpy, self._batches.batch(step, rows))
        if self._reader is not None and torch.cuda.is_available():
            tokens, targets = tokens.pin_memory(), targets.pin_memory()
        return Share(tokens, targets, depths[rows].tolist(), [seeds[row] for row in rows])
