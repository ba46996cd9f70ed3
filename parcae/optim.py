"""The optimiser of a run (paper appendix B)."""

import torch
from torch import nn

from parcae.config import Optimiser, TrainConfig
from parcae.errors import InputError

BETAS = (0.8, 0.95)
EPS = 1e-10


def make_optimiser(model: nn.Module, training: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over every parameter; weight decay on none but attention and MLP matrices."""
    if training.optimiser is not Optimiser.ADAMW:
        raise InputError(f"the optimiser {training.optimiser} cannot be trained with; use adamw")
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        in_block = name.startswith(("prelude.", "recurrent.", "coda.")) and parameter.ndim == 2
        is_matrix = in_block and "gate" not in name.split(".")[-2] and "value_embedding" not in name
        (matrices if is_matrix else rest).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": training.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    fused = all(parameter.dtype in (torch.float32, torch.float64) for parameter in matrices + rest)
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=BETAS, eps=EPS, fused=fused)
