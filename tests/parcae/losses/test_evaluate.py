"""All test depths in one pass give what one pass each gives."""

import pytest
import torch
import torch.nn.functional as F

from parcae.data.randomness import Stream, torch_seeds
from parcae.losses.evaluate import STATE_SEED, evaluate
from parcae.model.transformer import initial_state
from tests.parcae.models import FAMILIES, random_model, random_tokens


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_one_pass_equals_one_pass_per_depth(family: str) -> None:
    config = FAMILIES[family]
    model = random_model(config)
    tokens, targets = random_tokens(config, 6), random_tokens(config, 6, seed=1)
    losses = evaluate(model, tokens.numpy(), targets.numpy(), [1, 3, 8])
    state = initial_state(config, torch_seeds(STATE_SEED, Stream.EVALUATION, 0, 6), model.embedding.weight)
    for depth, loss in losses.items():
        logits = model.logits(model(tokens, state, [depth] * 6, depth)[0])
        assert loss == pytest.approx(
            float(F.cross_entropy(logits.flatten(0, 1), targets.flatten())), rel=1e-6
        )
    assert evaluate(model, tokens.numpy(), targets.numpy(), [1, 3, 8]) == losses
