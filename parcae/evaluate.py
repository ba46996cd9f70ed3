"""Held-out loss at every test depth in one pass: the coda is applied to each h_T, the loop runs once."""

from collections.abc import Collection

import numpy as np
import torch
from torch.nn import functional

from parcae.model import LoopedTransformer

BATCH_SEQUENCES = 16
STATE_SEED = 0x5EED
"""The initial states of evaluation are the same for every model."""


@torch.no_grad()
def losses_at_depths(
    model: LoopedTransformer, tokens: np.ndarray, targets: np.ndarray, depths: Collection[int]
) -> dict[int, float]:
    """Mean loss, nats a token, at each T in `depths` over int64 (sequences, S) tokens and targets."""
    device = model.embedding.weight.device
    sums = dict.fromkeys(sorted(depths), 0.0)
    generator = torch.Generator().manual_seed(STATE_SEED)
    for start in range(0, len(tokens), BATCH_SEQUENCES):
        batch = torch.from_numpy(tokens[start : start + BATCH_SEQUENCES]).to(device)
        wanted = torch.from_numpy(targets[start : start + BATCH_SEQUENCES]).to(device)
        h = model.initial_state(batch.shape, generator).to(device)
        for depth, state in zip(range(1, max(sums) + 1), model.states(batch, h), strict=False):
            if depth in sums:
                logits = model.logits(state, batch).flatten(0, 1).float()
                sums[depth] += float(functional.cross_entropy(logits, wanted.flatten(), reduction="sum"))
    return {depth: total / tokens.size for depth, total in sums.items()}
