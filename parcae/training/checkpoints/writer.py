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
"""Of the elapsed time that saving may take, unless an interval is set."""
FLOOR_SECONDS = 5.0
"""Between two checkpoints, however cheap: what a killed run of a small model loses at most."""
FIRST_BYTES_A_SECOND = 1e9
"""Speed at which the first checkpoint is expected to be saved; any other is expected to cost what the last
one did. Measured: 0.5 GB take 0.3 to 0.7 s of a processor to write."""


class Pace:
    """When the next checkpoint is due: at a set interval, or once saving it takes no more than SHARE of the
    elapsed time, all checkpoints before it included.

    Times are seconds since training began in this process. The cost of a checkpoint is the time for which
    training stood still and the processor time of the thread that wrote it.
    """

    def __init__(self, interval: float | None, state_bytes: int) -> None:
        self.interval = interval
        self.last = 0.0
        self.spent = 0.0
        self.expected = state_bytes / FIRST_BYTES_A_SECOND

    def is_due(self, elapsed: float) -> bool:
        if self.interval is not None:
            return elapsed - self.last >= self.interval
        return elapsed - self.last >= FLOOR_SECONDS and self.spent + self.expected <= SHARE * elapsed

    def saved(self, elapsed: float, cost: float) -> None:
        """Notes a checkpoint begun at `elapsed`."""
        self.last, self.expected = elapsed, cost
        self.spent += cost


class CheckpointWriter:
    """Saves the checkpoints of a run, never two at once."""

    def __init__(
        self, folder: Path, sync_logs: Callable[[], None], *, interval: float | None, state_bytes: int
    ) -> None:
        """`sync_logs` brings to the disk what the run has logged, before a checkpoint is seen there.
        `interval` in seconds, or None for as often as costs little; `state_bytes` is what a checkpoint holds,
        about."""
        self._folder, self._sync_logs = folder, sync_logs
        self.pace = Pace(interval, state_bytes)
        self._started = time.monotonic()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[float] | None = None
        self._begun = self._stood_still = 0.0  # of the one being written
        self._buffers: list[Tensor] = []

    def is_due(self) -> bool:
        """Whether to save now: false while one is being written. Raises what went wrong with the last one."""
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
        self._begun, self._stood_still = begun - self._started, time.monotonic() - begun
        self._writing = self._thread.submit(self._write, snapshot)

    def save_last(self, checkpoint: Checkpoint) -> None:
        """Writes `checkpoint`, after the one that is being written."""
        self._collect()
        self._write(checkpoint)

    def close(self) -> None:
        """Waits for the one being written: whoever takes over the folder finds no one writing there."""
        self._thread.shutdown()

    def _collect(self) -> None:
        """Waits for the one being written, and raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            self.pace.saved(self._begun, self._stood_still + writing.result())

    def _write(self, checkpoint: Checkpoint) -> float:
        """Returns the seconds of processor time that it took."""
        started = time.thread_time()
        self._sync_logs()
        write_checkpoint(self._folder, checkpoint)
        return time.thread_time() - started

    def _snapshot(self, checkpoint: Checkpoint) -> Checkpoint:
        """`checkpoint` copied to host memory, to the same each time: fresh pages, and pinned ones even more,
        cost several times the copy."""
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
