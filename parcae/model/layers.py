"""The transformer layer of both recipes, from the same parts. SCIENCE: paper appendix, "model".

B batch, S sequence, d width, H heads, C head dimension, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parcae.config import Activation, BlockShape, ModelConfig
from parcae.flops import GATE_CHANNELS
from parcae.model.memory import KeysValues


class RMSNorm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.empty(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.epsilon)


def rotation_table(context: int, head_dimension: int, theta: float) -> Tensor:
    """cos and sin of position times frequency, (S, C / 2, 2) in float32: frequency theta^(-2i / C)."""
    # The official order of operations: a frequency's last digit is 1e-4 radians at position 2,000.
    frequency = 1 / theta ** (torch.arange(0, head_dimension, 2, dtype=torch.float32) / head_dimension)
    angle = torch.outer(torch.arange(context, dtype=torch.float32), frequency)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """RoPE: turns each interleaved pair (2i, 2i + 1) of x (B, S, ..., C), in float32 or better."""
    pairs = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(-1, (-1, 2))
    table = table.to(pairs.dtype)
    table = table.view(table.shape[0], *[1] * (pairs.dim() - 4), *table.shape[1:])
    if torch.compiler.is_compiling():  # the compiler fuses real arithmetic and knows no complex numbers
        (even, odd), (cos, sin) = pairs.unbind(-1), table.unbind(-1)
        turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table))
    return turned.flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Causal attention with RoPE; where the configuration has them, QK-norm and gated value embeddings.

    G key-value heads: fewer than H, each serves H / G query heads.
    """

    def __init__(self, model: ModelConfig, index: int) -> None:
        super().__init__()
        shape = model.block(index)
        self.heads, self.key_value_heads = shape.heads, shape.key_value_heads
        self.qk_norm, self.adds_values = model.has_qk_norm, model.has_value_embedding(index)
        # Query, key and value matrices stacked: one product. The optimiser takes them apart again.
        heads = (shape.heads, shape.key_value_heads, shape.key_value_heads)
        self.stacked_rows = tuple(count * model.head_dimension for count in heads)
        self.qkv = nn.Linear(shape.width, sum(self.stacked_rows), bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        gate_channels = min(GATE_CHANNELS, shape.width)
        gated = model.has_value_gate(index)
        self.gate = nn.Linear(gate_channels, shape.key_value_heads, bias=False) if gated else None

    def forward(
        self, x: Tensor, table: Tensor, value: Tensor | None, past: KeysValues | None = None
    ) -> Tensor:
        """x (B, S, d), normalised; rotation table; value embeddings (B, S, G C) -> (B, S, d).

        With `past`, x is what follows the positions it holds: a first stretch of any length, or one token.
        """
        h, g = self.heads, self.key_value_heads
        qkv = self.qkv(x).unflatten(-1, (h + 2 * g, -1))  # (B, S, H + 2 G, C)
        qk, v = rotate(qkv[:, :, : h + g], table), qkv[:, :, h + g :]
        if self.qk_norm:
            qk = F.rms_norm(qk, qk.shape[-1:])
        if self.adds_values:
            assert self.gate is not None
            assert value is not None
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))  # (B, S, G)
            v = torch.addcmul(v, gate.unsqueeze(-1), value.unflatten(-1, (g, -1)).to(v.dtype))
        q, k, v = qk[:, :, :h].transpose(1, 2), qk[:, :, h:].transpose(1, 2), v.transpose(1, 2)
        if past is not None:
            k, v = past.write(k, v)
        causal = past is None or x.shape[1] > 1
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=g != h)
        return self.out(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """W_out act(W_in x), or gated: W_out (act(W_gate x) * W_in x), gate and inner matrices stacked in that
    order. The squared ReLU's half, the official code's, is applied to the product: a power of two changes no
    digit, and the product is four times smaller."""

    def __init__(self, model: ModelConfig, shape: BlockShape) -> None:
        super().__init__()
        self.gated = model.has_gated_mlp
        self.squared_relu = model.mlp_activation is Activation.SQUARED_RELU
        self.inner = nn.Linear(shape.width, (2 if self.gated else 1) * shape.mlp_width, bias=False)
        self.out = nn.Linear(shape.mlp_width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, factor = self.inner(x), None
        if self.gated:
            gate, factor = gate.chunk(2, dim=-1)
        active = F.relu(gate).square() if self.squared_relu else F.silu(gate)
        y: Tensor = self.out(active if factor is None else active * factor)
        return 0.5 * y if self.squared_relu else y


class Layer(nn.Module):
    """Pre-norm attention and MLP; with `residual_norm`, a norm after each residual addition too."""

    def __init__(self, model: ModelConfig, index: int) -> None:
        super().__init__()
        shape, epsilon = model.block(index), model.norm_epsilon
        self.attention_norm = RMSNorm(shape.width, epsilon)
        self.attention = Attention(model, index)
        self.mlp_norm = RMSNorm(shape.width, epsilon)
        self.mlp = MLP(model, shape)
        self.after_attention = RMSNorm(shape.width, epsilon) if model.residual_norm else None
        self.after_mlp = RMSNorm(shape.width, epsilon) if model.residual_norm else None

    def forward(
        self, x: Tensor, table: Tensor, value: Tensor | None, past: KeysValues | None = None
    ) -> Tensor:
        """x (B, S, d) -> (B, S, d)."""
        x = x + self.attention(self.attention_norm(x), table, value, past)
        if self.after_attention is not None:
            x = self.after_attention(x)
        x = x + self.mlp(self.mlp_norm(x))
        return x if self.after_mlp is None else self.after_mlp(x)
