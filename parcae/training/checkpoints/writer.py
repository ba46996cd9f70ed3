"""Checkpoints while training goes on: a snapshot in memory, which a thread writes to the disk."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from parcae.training.checkpoints.checkpoint import Checkpoint, map_tensors, write_checkpoint

SHARE = 0.01
"""Fraction of the elapsed time that saving may take, unless an interval is set."""
FLOOR_SECONDS = 5.0
"""Minimum between two checkpoints: what a killed run of a small model loses at most."""
FIRST_BYTES_PER_SECOND = 1e9
"""Expected speed of saving the first checkpoint; later ones are expected to cost as much as the last one.
Measured: writing 0.5 GB takes 0.3 to 0.7 s of processor time."""


class Pace:
    """Decides when the next checkpoint is due: after a set interval, or once all checkpoints, including it,
    take at most SHARE of the elapsed time.

    Times are seconds since training began in this process. The cost of a checkpoint is the pause in training
    plus the processor time of the thread that wrote it.
    """

    def __init__(self, interval: float | None, state_bytes: int) -> None:
        self.interval = interval
        self.last = 0.0
        self.spent = 0.0
        self.expected = state_bytes / FIRST_BYTES_PER_SECOND

    def is_due(self, elapsed: float) -> bool:
        if self.interval is not None:
            return elapsed - self.last >= self.interval
        return elapsed - self.last >= FLOOR_SECONDS and self.spent + self.expected <= SHARE * elapsed

    def saved(self, elapsed: float, cost: float) -> None:
        """Records a checkpoint that was begun at `elapsed`."""
        self.last, self.expected = elapsed, cost
        self.spent += cost


class CheckpointWriter:
    """Saves the checkpoints of a run, never two at once."""

    def __init__(
        self, folder: Path, sync_logs: Callable[[], None], *, interval: float | None, state_bytes: int
    ) -> None:
        """`sync_logs` flushes the run's logs to the disk before a checkpoint appears there. `interval` is in
        seconds, or None for SHARE of the time; `state_bytes` is the approximate size of a checkpoint."""
        self._folder, self._sync_logs = folder, sync_logs
        self.pace = Pace(interval, state_bytes)
        self._started = time.monotonic()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[float] | None = None
        self._begun = self._paused = 0.0  # of the checkpoint being written
        self._buffers: list[Tensor] = []

    def is_due(self) -> bool:
        """Whether to save now: false while one is being written. Raises an error of the last one."""
        if self._writing is not None:
            if not self._writing.done():
                return False
            self._collect()
        return self.pace.is_due(time.monotonic() - self._started)

    def save(self, checkpoint: Checkpoint) -> None:
        """Takes a snapshot of `checkpoint` and returns; a thread writes it."""
        self._collect()
        begun = time.monotonic()
        snapshot = self._snapshot(checkpoint)
        self._begun, self._paused = begun - self._started, time.monotonic() - begun
        self._writing = self._thread.submit(self._write, snapshot)

    def save_last(self, checkpoint: Checkpoint) -> None:
        """Writes `checkpoint`, after the one that is being written."""
        self._collect()
        self._write(checkpoint)

    def close(self) -> None:
        """Waits for the checkpoint being written: then another process may take over the folder."""
        self._thread.shutdown()

    def _collect(self) -> None:
        """Waits for the checkpoint being written, and raises its error if it failed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            self.pace.saved(self._begun, self._paused + writing.result())

    def _write(self, checkpoint: Checkpoint) -> float:
        """Returns the processor time in seconds."""
        started = time.thread_time()
        self._sync_logs()
        write_checkpoint(self._folder, checkpoint)
        return time.thread_time() - started

    def _snapshot(self, checkpoint: Checkpoint) -> Checkpoint:
        """`checkpoint` copied to host memory, into the same buffers each time: new pages, and pinned ones
        even more, cost several times as much as the copy."""
        spare, buffers = iter(self._buffers), []

        def copied(tensor: Tensor) -> Tensor:
            buffer = next(spare, None)
            if buffer is None or (buffer.shape, buffer.dtype) != (tensor.shape, tensor.dtype):
                buffer = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
            buffers.append(buffer.copy_(tensor, non_blocking=True))
            return buffer

        snapshot = replace(
            checkpoint,
            model=map_tensors(checkpoint.model, copied),
            optimisers=map_tensors(checkpoint.optimisers, copied),
        )
        if any(buffer.is_pinned() for buffer in buffers):
            torch.cuda.synchronize()
        self._buffers = buffers
        return snapshot
