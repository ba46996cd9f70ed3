"""The model against a second implementation, written from the equations, one sequence and head at a time."""

import math

import pytest
import torch
from torch import Tensor

from parcae.config import Injection, ModelConfig, Recipe
from parcae.flops import parameter_count
from parcae.model.transformer import LoopedTransformer, active_counts, initial_state
from parcae.presets import PRESETS
from tests.parcae.models import FAMILIES, TINY, random_model, random_tokens, shape


def norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
    epsilon = torch.finfo(x.dtype).eps if weight is None else 1e-5
    x = x / (x.pow(2).mean(-1, keepdim=True) + epsilon).sqrt()
    return x if weight is None else x * weight


def turned(x: Tensor) -> Tensor:
    """RoPE of x (S, C) as a rotation matrix a position and pair."""
    length, channels = x.shape
    out = torch.empty_like(x)
    for position in range(length):
        for pair in range(channels // 2):
            angle = position * 50_000 ** (-2 * pair / channels)
            c, s = math.cos(angle), math.sin(angle)
            a, b = x[position, 2 * pair], x[position, 2 * pair + 1]
            out[position, 2 * pair], out[position, 2 * pair + 1] = c * a - s * b, s * a + c * b
    return out


def reference_layer(model: LoopedTransformer, index: int, x: Tensor, tokens: Tensor) -> Tensor:
    """Layer `index`, counting prelude, recurrent and coda layers once each, on x (S, d)."""
    config = model.config
    block = [*model.prelude, *model.recurrent, *model.coda][index]
    d, head = config.width, config.head_dimension
    inner = norm(x, block.attention_norm.weight)
    q, k, v = (inner @ w.T for w in block.attention.qkv.weight.split(d))
    heads = []
    for first in range(0, d, head):
        part = slice(first, first + head)
        qh, kh, vh = turned(q[:, part]), turned(k[:, part]), v[:, part]
        if config.recipe is Recipe.TRANSFORMER:
            qh, kh = norm(qh), norm(kh)
        if config.has_value_embedding(index):
            gate = inner[:, :32] @ block.attention.gate.weight[first // head]
            table = model.value_embeddings[str(index)].weight
            vh = vh + 2 * torch.sigmoid(gate)[:, None] * table[tokens][:, part]
        scores = (qh @ kh.T) / math.sqrt(head)
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
        heads.append(scores.softmax(-1) @ vh)
    x = x + torch.cat(heads, -1) @ block.attention.out.weight.T
    if config.residual_norm:
        x = norm(x, block.after_attention.weight)
    inner = norm(x, block.mlp_norm.weight) @ block.mlp.inner.weight.T
    if config.recipe is Recipe.TRANSFORMER:
        inner = inner.clamp(min=0) ** 2 / 2
    else:
        gate, inner = inner.split(config.mlp_width, dim=-1)
        inner = gate * torch.sigmoid(gate) * inner
    x = x + inner @ block.mlp.out.weight.T
    return norm(x, block.after_mlp.weight) if config.residual_norm else x


def reference_logits(model: LoopedTransformer, tokens: Tensor, h: Tensor, depth: int) -> Tensor:
    """Logits (S, V) of one sequence from its tokens (S,) and h_0 (S, d)."""
    config = model.config
    first_coda = config.prelude_layers + config.recurrent_layers
    e = model.embedding.weight[tokens]
    for index in range(config.prelude_layers):
        e = reference_layer(model, index, e, tokens)
    if config.has_prelude_norm:
        e = norm(e, model.prelude_norm.weight)
    update = model.injection
    for _ in range(depth):
        if config.injection is Injection.DIAGONAL:
            step = torch.log1p(update.delta_bias.exp())
            h = torch.exp(-step * update.log_A.exp()) * h + step * (e @ update.B.weight.T)
        elif config.injection is Injection.ADD:
            h = h + e
        elif config.injection is Injection.CONCAT:
            h = torch.cat([h, e], -1) @ update.W.T
        else:
            h = e
        for index in range(config.prelude_layers, first_coda):
            h = reference_layer(model, index, h, tokens)
    if config.has_readout:
        h = h @ model.readout.weight.T
    for index in range(first_coda, config.layers):
        h = reference_layer(model, index, h, tokens)
    return norm(h, model.final_norm.weight) @ model.embedding.weight.T


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_forward_equals_the_equations(family: str) -> None:
    config = FAMILIES[family]
    model = random_model(config)
    model.rotation = model.rotation.double()
    tokens = random_tokens(config, 3)
    state = initial_state(config, [1, 2, 3], model.embedding.weight)
    depths = [4, 2, 1] if config.has_loop else [1, 1, 1]
    logits = model.logits(model(tokens, state, depths, 2)[0])
    for row, depth in enumerate(depths):
        expected = reference_logits(model, tokens[row], state[row], depth)
        torch.testing.assert_close(logits[row], expected, rtol=1e-4, atol=1e-5)  # the table is of float32


@pytest.mark.parametrize("family", [name for name, config in FAMILIES.items() if config.has_loop])
def test_active_only_equals_masking_in_loss_and_gradients(family: str) -> None:
    config = FAMILIES[family]
    model = random_model(config)
    tokens, depths, backward = random_tokens(config, 5), [6, 4, 2, 2, 1], 3
    state = initial_state(config, [1, 2, 3, 4, 5], model.embedding.weight)
    target = torch.randn(5, config.context, config.width, dtype=torch.float64)

    def masked() -> Tensor:
        encoded = model.encode(tokens)
        h = state
        for remaining in range(max(depths), 0, -1):
            with torch.set_grad_enabled(remaining <= backward):
                started = torch.tensor([depth >= remaining for depth in depths])[:, None, None]
                h = torch.where(started, model.recur(h, encoded), h)
        return model.finish(h, encoded)

    results = []
    for run in (lambda: model(tokens, state, depths, backward)[0], masked):
        model.zero_grad()
        y = run()
        (y * target).sum().backward()
        results.append((y, [p.grad for p in model.parameters() if p.grad is not None]))
    (y, gradients), (expected, expected_gradients) = results
    # A sequence's rows go through the same sums whoever is beside it; gradients are sums over sequences, and
    # a kernel may take those in another order.
    assert torch.equal(y, expected)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-9, atol=1e-10)


def test_gradient_is_that_of_the_loss_when_nothing_is_truncated() -> None:
    model = random_model(TINY)
    tokens = random_tokens(TINY, 2)
    state = initial_state(TINY, [1, 2], model.embedding.weight)

    def loss() -> Tensor:
        return torch.nn.functional.cross_entropy(
            model.logits(model(tokens, state, [3, 2], 3)[0]).flatten(0, 1), tokens.flatten()
        )

    loss().backward()
    for name in (
        "injection.log_A",
        "injection.B.weight",
        "recurrent.0.attention.qkv.weight",
        "readout.weight",
    ):
        parameter = model.get_parameter(name)
        entry = tuple(0 for _ in parameter.shape)
        step = 1e-6
        with torch.no_grad():
            parameter[entry] += step
            above = loss()
            parameter[entry] -= 2 * step
            below = loss()
            parameter[entry] += step
        assert parameter.grad is not None
        assert float(parameter.grad[entry]) == pytest.approx(
            float(above - below) / (2 * step), rel=1e-5, abs=1e-9
        )


def test_truncation_ends_the_gradient_at_the_backward_depth() -> None:
    model = random_model(TINY)
    tokens = random_tokens(TINY, 2)
    for backward, carried in ((2, False), (3, True)):
        state = initial_state(TINY, [1, 2], model.embedding.weight).requires_grad_()
        model(tokens, state, [5, 3], backward)[0].sum().backward()
        assert state.grad is None or not state.grad[0].any()  # five recurrences: cut off at both
        assert (state.grad is not None and bool(state.grad[1].any())) is carried


def test_active_sequences_grow_towards_the_end() -> None:
    assert list(active_counts([5, 3, 3, 1])) == [(5, 1), (4, 1), (3, 3), (2, 3), (1, 4)]


def test_initial_state_is_the_cut_normal() -> None:
    config = shape(width=64, heads=2, context=512)
    deviation = math.sqrt(2 / (5 * 64))
    state = initial_state(config, list(range(16)), torch.empty(0, dtype=torch.float64))
    assert float(state.abs().max()) <= 3 * deviation
    # Variance of a standard normal cut at three deviations: 1 - 6 phi(3) / (2 Phi(3) - 1).
    density = math.exp(-4.5) / math.sqrt(2 * math.pi)
    variance = 1 - 6 * density / math.erf(3 / math.sqrt(2))
    assert float(state.var()) == pytest.approx(variance * deviation**2, rel=0.01)
    assert float(state.mean()) == pytest.approx(0, abs=deviation * 0.01)
    torch.testing.assert_close(state[3:4], initial_state(config, [3], state))


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_counted_exactly(name: str) -> None:
    config = PRESETS[name].model
    with torch.device("meta"):
        model = LoopedTransformer(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameter_count(config)


@pytest.mark.parametrize(
    ("name", "changes", "published"),
    [
        ("small-140m", {}, 144_323_136),
        ("medium-370m", {}, 388_003_328),
        ("large-770m", {}, 776_655_680),
        ("xlarge-1.3b", {}, 1_338_591_744),
        ("small-140m", {"injection": Injection.NONE}, 143_141_184),
        ("medium-370m", {"injection": Injection.NONE}, 385_903_104),
        ("large-770m", {"injection": Injection.NONE}, 773_375_040),
        ("xlarge-1.3b", {"injection": Injection.NONE}, 1_333_868_544),
        ("rdm-100m", {}, 113_189_888),
        ("rdm-350m", {}, 378_558_464),
        ("rdm-100m", {"injection": Injection.CONCAT, "residual_norm": True}, 114_242_560),
        ("rdm-350m", {"injection": Injection.CONCAT, "residual_norm": True}, 382_765_056),
    ],
)
def test_published_parameter_counts(name: str, changes: dict[str, object], published: int) -> None:
    config = ModelConfig.from_dict({**PRESETS[name].model.to_dict(), **changes})
    with torch.device("meta"):
        model = LoopedTransformer(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == published
    assert parameter_count(config) == published
