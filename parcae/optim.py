"""The optimisers of a run: which parameters each moves, how, and at what rate."""

import torch
from torch import Tensor, nn

from parcae.config import Optimiser, TrainConfig
from parcae.errors import InputError
from parcae.layers import MLP, Attention
from parcae.model import LoopedTransformer
from parcae.muon import Muon
from parcae.schedule import decay_scale, rate_scale

ADAMW_BETAS = (0.8, 0.95)  # paper appendix, with the epsilon
ADAMW_EPSILON = 1e-10


def matrix_parameters(model: LoopedTransformer) -> dict[Tensor, int]:
    """The attention and MLP matrices, each with the number of matrices that are stacked in it.

    They alone decay, and Muon moves them; embeddings, norms, gates, injection and readout are not among them.
    """
    parts: dict[Tensor, int] = {}
    for module in model.modules():
        match module:
            case Attention():
                parts |= {module.qkv.weight: 3, module.out.weight: 1}
            case MLP():
                parts |= {module.inner.weight: 2 if module.gated else 1, module.out.weight: 1}
    return parts


def build_optimisers(model: LoopedTransformer, training: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all, the matrices in its first group; or Muon for the matrices, and AdamW for the rest."""
    parts = matrix_parameters(model)
    matrices = {"params": list(parts), "peak": training.learning_rate, "decay": training.weight_decay}
    rest = {
        "params": [parameter for parameter in model.parameters() if parameter not in parts],
        "peak": training.adamw_learning_rate,
        "decay": 0.0,
    }
    if training.optimiser is Optimiser.ADAMW:
        return [_adamw([matrices, rest | {"peak": training.learning_rate}])]
    if (shared := model.config.key_value_heads) not in (None, model.config.heads):
        raise InputError(
            f"key_value_heads is {shared} for {model.config.heads} heads; Muon takes queries, keys and values "
            "of one shape, so train this model with AdamW"
        )
    stacked = [
        matrices | {"params": [p for p, count in parts.items() if count == number], "parts": number}
        for number in sorted(set(parts.values()))
    ]
    return [Muon(stacked), _adamw([rest])]


def _adamw(groups: list[dict[str, object]]) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        groups, lr=0.0, betas=ADAMW_BETAS, eps=ADAMW_EPSILON, weight_decay=0.0, fused=True
    )


def set_rates(optimisers: list[torch.optim.Optimizer], training: TrainConfig, step: int) -> float:
    """Sets rates and decays of 0-based `step`; returns the matrices' rate."""
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["lr"] = group["peak"] * rate_scale(step, training.steps, training.cooldown)
        group["weight_decay"] = group["decay"] * decay_scale(step, training.steps)
    rate: float = optimisers[0].param_groups[0]["lr"]
    return rate


def clip_gradients(model: nn.Module, limit: float) -> Tensor:
    """Scales the gradients to a norm of at most `limit`; returns the norm before, a scalar."""
    return nn.utils.clip_grad_norm_(model.parameters(), limit)
