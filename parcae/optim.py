"""The optimiser of a run: which parameters it moves, how, and at what rate."""

import torch
from torch import Tensor, nn

from parcae.config import TrainConfig
from parcae.model import LoopedTransformer
from parcae.schedule import decay_scale, rate_scale

ADAMW_BETAS = (0.8, 0.95)  # paper appendix, with the epsilon
ADAMW_EPSILON = 1e-10


def matrix_parameters(model: LoopedTransformer) -> list[nn.Parameter]:
    """The attention and MLP matrices: the only parameters that decay, and those that Muon moves.

    Embeddings, norms, gates, injection and readout are not among them.
    """
    return [
        parameter
        for name, parameter in model.named_parameters()
        if ".mlp." in name or (".attention." in name and ".gate." not in name)
    ]


def build_optimiser(model: LoopedTransformer, training: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over two groups: matrices, which decay, and the rest."""
    matrices = matrix_parameters(model)
    taken = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    groups = [
        {"params": matrices, "peak": training.learning_rate, "decay": training.weight_decay},
        {"params": rest, "peak": training.learning_rate, "decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=training.learning_rate, betas=ADAMW_BETAS, eps=ADAMW_EPSILON, weight_decay=0.0, fused=True
    )


def set_rates(optimiser: torch.optim.Optimizer, training: TrainConfig, step: int) -> float:
    """Sets rate and decay of 0-based `step`; returns the rate of the first group."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * rate_scale(step, training.steps, training.cooldown)
        group["weight_decay"] = group["decay"] * decay_scale(step, training.steps)
    rate: float = optimiser.param_groups[0]["lr"]
    return rate


def clip_gradients(model: nn.Module, limit: float) -> Tensor:
    """Scales the gradients to a norm of at most `limit`; returns the norm before, a scalar."""
    return nn.utils.clip_grad_norm_(model.parameters(), limit)
