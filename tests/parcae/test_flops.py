"""The analytic count against torch's own, which counts the products of a real forward and backward pass.

On the meta device, where the published sizes take no memory. torch counts attention as two full products of
every token with every other, as the analytic count does; kernels that skip the upper triangle spend less.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from parcae.config import Injection, ModelConfig
from parcae.flops import Convention, counted_parameters, flops_per_token
from parcae.model import LoopedTransformer
from parcae.presets import PRESETS
from tests.parcae.models import FAMILIES, shape

SEQUENCES = 2
ODD = shape(
    width=64,
    heads=4,
    state_width=96,
    key_value_heads=2,
    recurrent_mlp_width=80,
    value_gates=(3,),
    tied_embeddings=False,
    gated_mlp=True,
)


def counted(config: ModelConfig, recurrences: int, backward_depth: int) -> tuple[float, float]:
    """(forward, forward and backward) FLOPs a token of one pass, as torch counts them."""
    with torch.device("meta"):
        model = LoopedTransformer(config)
        tokens = torch.zeros(SEQUENCES, config.context, dtype=torch.long)
        state = torch.zeros(SEQUENCES, config.context, config.loop_width)
        model.rotation = torch.empty_like(model.rotation)
        with FlopCounterMode(display=False) as counter:
            y, _, _ = model(tokens, state, [recurrences] * SEQUENCES, backward_depth)
            logits = model.logits(y)
            forward = counter.get_total_flops()
            logits.sum().backward()
    return forward / tokens.numel(), counter.get_total_flops() / tokens.numel()


def is_quick(name: str, config: ModelConfig) -> bool:
    """Sizes of many layers stand for themselves; their baselines are those of the smaller sizes."""
    return config.layers <= 6 or name.removesuffix("-fixed").count("-") < 2


CASES = [(name, preset.model) for name, preset in PRESETS.items() if is_quick(name, preset.model)]
CASES += [*FAMILIES.items(), ("odd", ODD)]


@pytest.mark.parametrize(("name", "config"), CASES, ids=[name for name, _ in CASES])
def test_forward_and_backward_are_what_torch_counts(name: str, config: ModelConfig) -> None:
    for recurrences, backward_depth in ((4, 2),) if config.layers > 6 else ((1, 1), (4, 2), (7, 7)):
        forward, both = counted(config, recurrences, backward_depth)
        analytic = flops_per_token(config, mean_recurrence=recurrences, backward_depth=backward_depth)
        # `concat` alone is not exact: the first recurrence with gradient sends none through W1 to its state.
        assert both == pytest.approx(analytic, rel=1e-2 if config.injection is Injection.CONCAT else 1e-12)
        without = flops_per_token(config, mean_recurrence=recurrences, backward_depth=0)
        once = flops_per_token(config, mean_recurrence=0, backward_depth=0) if config.has_loop else without
        assert forward == pytest.approx(without - once * 2 / 3 if config.has_loop else without / 3, rel=1e-12)


def test_conventions_differ_in_what_they_say_they_do() -> None:
    config = PRESETS["small-140m"].model
    tables = 3 * 32_768 * 768  # two of them once, one in the recurrent block
    once, recurrent = counted_parameters(config)
    official = counted_parameters(config, Convention.OFFICIAL)
    assert official == (once - 32_768 * 768 + tables * 2 // 3, recurrent + tables // 3)
    full = flops_per_token(config, mean_recurrence=8, backward_depth=8)
    unrolled = flops_per_token(config, mean_recurrence=8, backward_depth=4, convention=Convention.UNROLLED)
    assert unrolled - full == 6 * (tables * 2 // 3 + 8 * tables // 3)
