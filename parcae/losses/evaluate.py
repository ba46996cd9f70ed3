"""Validation losses at every test depth T, in one pass: the coda is applied to each h_T on the way.

B batch, S sequence, T recurrences.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from parcae.data.randomness import Stream, torch_seeds
from parcae.data.windows import Tokens
from parcae.model.transformer import Encoded, LoopedTransformer, initial_state

TOKENS_PER_PASS = 4_096  # a few sequences at a time: faster on a core than the whole set, and small logits
STATE_SEED = 0  # every model is evaluated from the same initial states


@torch.no_grad()
def evaluate(
    model: LoopedTransformer, tokens: Tokens, targets: Tokens, recurrences: Sequence[int]
) -> dict[int, float]:
    """Mean loss in nats per token at each T of `recurrences`, over tokens and targets (B, S).

    Sums are taken in float64, and sequences a few at a time in a fixed order: the same model gives the
    same digits again. The fixed-depth transformer has the same loss at every T.
    """
    if not model.config.has_loop and list(recurrences) != [1]:
        return dict.fromkeys(recurrences, evaluate(model, tokens, targets, [1])[1])
    weight = model.embedding.weight
    seeds = torch_seeds(STATE_SEED, Stream.EVALUATION, 0, len(tokens))
    rows = max(1, TOKENS_PER_PASS // tokens.shape[1])
    sums = dict.fromkeys(recurrences, 0.0)
    for first in range(0, len(tokens), rows):
        part = slice(first, first + rows)
        encoded = model.encode(torch.from_numpy(tokens[part]).to(weight.device))
        expected = torch.from_numpy(targets[part]).to(weight.device)
        h = initial_state(model.config, seeds[part], weight)[:, : tokens.shape[1]]
        for t in range(1, max(recurrences) + 1):
            h = model.recur(h, encoded)
            if t in sums:
                sums[t] += _summed_loss(model, h, encoded, expected)
    return {t: total / targets.size for t, total in sums.items()}


def _summed_loss(model: LoopedTransformer, h: Tensor, encoded: Encoded, targets: Tensor) -> float:
    logits = model.logits(model.finish(h, encoded)).float()
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return float(losses.sum(dtype=torch.float64))
