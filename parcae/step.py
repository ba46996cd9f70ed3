"""Loss and gradients of one training step, over all processes of the run."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from parcae.config import TrainConfig
from parcae.data import Batches
from parcae.depth import sample_depths
from parcae.distributed import Processes
from parcae.model import LoopedTransformer, initial_state
from parcae.randomness import Stream, torch_seeds
from parcae.stability import root_mean_square_norm


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a step found, over the whole batch."""

    loss: float
    """Nats a token."""
    state_norm: float
    """||h_T||, root mean square over tokens."""
    recurrent_residual: float
    """||h_T - h_T-1||, likewise."""


class Gradients:
    """Computes this process's share of each batch and averages the gradients over the processes."""

    def __init__(
        self, model: LoopedTransformer, training: TrainConfig, batches: Batches, processes: Processes
    ) -> None:
        self.model, self.training, self.batches, self.processes = model, training, batches, processes

    def compute(self, step: int) -> Measured:
        """Leaves the gradients of 0-based `step` in the parameters."""
        tokens, targets = self.batches.batch(step)
        depths = sample_depths(self.training, step)
        seeds = torch_seeds(self.training.seed, Stream.STATE, step, len(depths))
        deepest_first = (-depths).argsort(kind="stable").tolist()  # as the loop wants them
        rows = self.processes.share(deepest_first)
        weight = self.model.embedding.weight
        y, h, previous = self.model(
            torch.from_numpy(tokens[rows]).to(weight.device),
            initial_state(self.model.config, [seeds[row] for row in rows], weight),
            depths[rows].tolist(),
            self.training.backward_depth,
        )
        expected = torch.from_numpy(targets[rows]).to(weight.device)
        loss = F.cross_entropy(self.model.logits(y).flatten(0, 1), expected.flatten())
        self.model.zero_grad(set_to_none=True)
        (loss / self.processes.count).backward()
        self.processes.add(p.grad for p in self.model.parameters() if p.grad is not None)
        h, previous = h.detach(), previous.detach()
        norms = float(root_mean_square_norm(h)), float(root_mean_square_norm(h - previous))
        mean_loss, *squares = self.processes.mean([float(loss.detach()), *(norm**2 for norm in norms)])
        return Measured(
            loss=mean_loss, state_norm=math.sqrt(squares[0]), recurrent_residual=math.sqrt(squares[1])
        )
