"""The optimisers of a run: their parameters and their learning rates."""

import torch
from torch import Tensor, nn

from parcae.config import Optimiser, Precision, TrainConfig
from parcae.model.layers import MLP, Attention
from parcae.model.transformer import LoopedTransformer
from parcae.training.optimisers.muon import Muon
from parcae.training.optimisers.schedule import decay_scale, momentum, rate_scale

ADAMW_BETAS = (0.8, 0.95)  # paper appendix, with the epsilon
ADAMW_EPSILON = 1e-10


def matrix_parameters(model: LoopedTransformer) -> dict[Tensor, tuple[int, ...]]:
    """The attention and MLP matrices, each with the rows of the matrices that are stacked in it.

    Only these decay, and Muon updates them; embeddings, norms, gates, injection and readout are not among
    them.
    """
    stacked: dict[Tensor, tuple[int, ...]] = {}
    for module in model.modules():
        if isinstance(module, Attention):
            rows = module.stacked_rows
        elif isinstance(module, MLP):
            rows = (module.out.in_features,) * (2 if module.gated else 1)
        else:
            continue
        weight = module.qkv.weight if isinstance(module, Attention) else module.inner.weight
        stacked |= {weight: rows, module.out.weight: (module.out.out_features,)}
    return stacked


def gate_parameters(model: LoopedTransformer) -> dict[Tensor, tuple[int, ...]]:
    """The matrices of the value gates, each with its rows."""
    gates = [
        module.gate.weight for module in model.modules() if isinstance(module, Attention) and module.gate
    ]
    return {gate: (len(gate),) for gate in gates}


def build_optimisers(model: LoopedTransformer, training: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for everything, with the matrices in its first group; or, as in the released code, Muon for the
    matrices and value gates and AdamW for the rest."""
    stacked = matrix_parameters(model)
    if training.optimiser is Optimiser.MUON:
        stacked |= gate_parameters(model)
    matrices = {"params": list(stacked), "peak": training.learning_rate, "decay": training.weight_decay}
    rest = {
        "params": [parameter for parameter in model.parameters() if parameter not in stacked],
        "peak": training.adamw_learning_rate,
        "decay": 0.0,
    }
    if training.optimiser is Optimiser.ADAMW:
        return [_adamw([matrices, rest | {"peak": training.learning_rate}])]
    alike = [
        matrices | {"params": [p for p in stacked if stacked[p] == rows], "rows": rows}
        for rows in dict.fromkeys(stacked.values())
    ]
    # As in the released code, orthogonalisation is in half precision too.
    dtype = torch.bfloat16 if training.precision is Precision.BFLOAT16 else None
    return [Muon(alike, dtype), _adamw([rest])]


def _adamw(groups: list[dict[str, object]]) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        groups, lr=0.0, betas=ADAMW_BETAS, eps=ADAMW_EPSILON, weight_decay=0.0, fused=True
    )


def set_rates(optimisers: list[torch.optim.Optimizer], training: TrainConfig, step: int) -> float:
    """Sets rates, decays and momentum of 0-based `step`; returns the matrices' rate."""
    for group in (group for optimiser in optimisers for group in optimiser.param_groups):
        group["lr"] = group["peak"] * rate_scale(step, training.steps, training.cooldown)
        group["weight_decay"] = group["decay"] * decay_scale(step, training.steps)
        if "momentum" in group:
            group["momentum"] = momentum(step)
    rate: float = optimisers[0].param_groups[0]["lr"]
    return rate


def move(optimisers: list[torch.optim.Optimizer], step: int) -> None:
    """Applies the gradients of 0-based `step`; with Muon the first is left out, as in the released code."""
    if step > 0 or not any(isinstance(optimiser, Muon) for optimiser in optimisers):
        for optimiser in optimisers:
            optimiser.step()


def clip_gradients(model: nn.Module, limit: float) -> Tensor:
    """Scales the gradients to a norm of at most `limit`; returns the norm before, a scalar."""
    return nn.utils.clip_grad_norm_(model.parameters(), limit)
