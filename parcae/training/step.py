"""Loss and gradients of one training step, over all processes of the run."""

import gc
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from parcae.config import ExecutionConfig, Precision, TrainConfig
from parcae.data.batches import Batches
from parcae.data.randomness import Stream, torch_seeds
from parcae.losses.cross_entropy import cross_entropy
from parcae.model.layers import Layer
from parcae.model.transformer import LoopedTransformer, initial_state
from parcae.training.depth import sample_depths
from parcae.training.distributed import Processes
from parcae.training.stability import root_mean_square_norm
from parcae.training.telemetry import layer_norms

WALKED_SEQUENCES = 4  # whose norms are measured at the level `extreme`
COMPILED_FORMS = 32
"""Forms of a layer that torch may compile: with and without value embeddings, gradient and autocast, for one
sequence and for any number of them. Its own limit is 8."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The measurements of a step, over the whole batch."""

    loss: float
    """Nats per token."""
    state_norm: float
    """||h_T||, root mean square over tokens."""
    recurrent_residual: float
    """||h_T - h_T-1||, root mean square over tokens."""


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


class Gradients:
    """Computes this process's share of each batch, in micro-batches, and adds up the gradients."""

    def __init__(
        self,
        model: LoopedTransformer,
        training: TrainConfig,
        execution: ExecutionConfig,
        batches: Batches,
        processes: Processes,
    ) -> None:
        self.model, self.training, self.processes = model, training, processes
        self.recompute = execution.activation_checkpointing
        self.device = model.embedding.weight.device
        self.shares = ShareReader(batches, training, processes, ahead=self.device.type == "cuda")
        share = training.batch_sequences // processes.count
        self.at_once = min(share, execution.micro_batch_sequences or share)
        if execution.compile or (execution.compile is None and self.device.type == "cuda"):
            compile_layers(model)

    def compute(self, step: int) -> Measured:
        """Leaves the gradients of 0-based `step` in the parameters."""
        share = self.shares.at(step)
        while True:
            self.model.zero_grad(set_to_none=True)
            try:
                sums = self._accumulate(share)
                break
            except torch.OutOfMemoryError:
                if self.at_once == 1:
                    raise
            self.at_once = (self.at_once + 1) // 2  # this changes only the order of a sum
            gc.collect()
            torch.cuda.empty_cache()
        self.processes.add(p.grad for p in self.model.parameters() if p.grad is not None)
        loss, state, residual = self.processes.mean(sums)
        return Measured(loss=loss, state_norm=math.sqrt(state), recurrent_residual=math.sqrt(residual))

    def layer_norms(self, step: int) -> dict[str, list[float | None]]:
        """See `telemetry.layer_norms`: of the deepest sequences of this process's share at 0-based `step`."""
        share, rows = self.shares.read(step), slice(0, WALKED_SEQUENCES)
        return layer_norms(self.model, lambda: self._forward(share, rows))

    def _accumulate(self, share: Share) -> Sequence[float]:
        """Mean loss and mean squares of the two norms, over the share; adds to the gradients."""
        totals = torch.zeros(3, dtype=torch.float64, device=self.device)
        for first in range(0, len(share.depths), self.at_once):
            rows = slice(first, first + self.at_once)
            weight = len(share.depths[rows]) / len(share.depths)
            totals += weight * self._backward(share, rows, weight / self.processes.count)
        return list(totals.tolist())

    def _backward(self, share: Share, rows: slice, weight: float) -> Tensor:
        """(loss, ||h_T||^2, ||h_T - h_T-1||^2) of one micro-batch, (3,) in float64; adds `weight` times the
        gradients of its loss."""
        loss, h, previous = self._forward(share, rows)
        (weight * loss).backward()
        h, previous = h.detach(), previous.detach()
        norms = [root_mean_square_norm(x).double().square() for x in (h, h - previous)]
        return torch.stack([loss.detach().double(), *norms])

    def _forward(self, share: Share, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, h_T, h_T-1) of some sequences of the share."""
        mixed = self.training.precision is Precision.BFLOAT16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            y, h, previous = self.model(
                share.tokens[rows].to(self.device, non_blocking=True),
                initial_state(self.model.config, share.seeds[rows], self.model.embedding.weight),
                share.depths[rows],
                self.training.backward_depth,
                recompute=self.recompute,
            )
            targets = share.targets[rows].to(self.device, non_blocking=True)
            loss = cross_entropy(y.flatten(0, 1), self.model.unembedding_weight, targets.flatten())
        return loss, h, previous


def compile_layers(model: LoopedTransformer, backend: str = "inductor") -> None:
    """Compiles each layer, once for each of its forms. The number of sequences, which changes from one
    recurrence to the next, is a variable of the compiled code from its second value on."""
    torch._dynamo.config.recompile_limit = COMPILED_FORMS
    for module in model.modules():
        if isinstance(module, Layer):
            module.compile(fullgraph=True, backend=backend)
