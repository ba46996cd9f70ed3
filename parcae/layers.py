"""The transformer layer of both recipes, from the same parts. SCIENCE: paper appendix, "model".

B batch, S sequence, d width, H heads, C head dimension, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parcae.config import ModelConfig, Recipe
from parcae.flops import GATE_CHANNELS

ROPE_THETA = 50_000.0
NORM_EPSILON = 1e-5  # of the weighted norms; the parameter-free QK-norm uses the type's own epsilon


class RMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), NORM_EPSILON)


def rotation_table(context: int, head_dimension: int) -> Tensor:
    """cos and sin of position times frequency, (S, C / 2, 2) in float32: frequency theta^(-2i / C)."""
    frequency = ROPE_THETA ** -(torch.arange(0, head_dimension, 2, dtype=torch.float32) / head_dimension)
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
    """Causal attention with RoPE; in the transformer recipe also QK-norm and gated value embeddings."""

    def __init__(self, model: ModelConfig, *, value_embedding: bool) -> None:
        super().__init__()
        self.heads, self.qk_norm = model.heads, model.recipe is Recipe.TRANSFORMER
        # Query, key and value matrices stacked: one product. The optimiser takes them apart again.
        self.qkv = nn.Linear(model.width, 3 * model.width, bias=False)
        self.out = nn.Linear(model.width, model.width, bias=False)
        gate_channels = min(GATE_CHANNELS, model.width)
        self.gate = nn.Linear(gate_channels, model.heads, bias=False) if value_embedding else None

    def forward(self, x: Tensor, table: Tensor, value: Tensor | None) -> Tensor:
        """x (B, S, d), normalised; rotation table; value embeddings (B, S, d) of the tokens -> (B, S, d)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, S, 3, H, C)
        qk, v = rotate(qkv[:, :, :2], table), qkv[:, :, 2]
        if self.qk_norm:
            qk = F.rms_norm(qk, qk.shape[-1:])
        if self.gate is not None:
            assert value is not None
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))  # (B, S, H)
            v = torch.addcmul(v, gate.unsqueeze(-1), value.unflatten(-1, (self.heads, -1)).to(v.dtype))
        q, k = qk.unbind(2)
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        )
        return self.out(y.transpose(1, 2).flatten(2))


class SquaredReLU(nn.Module):
    """W_out relu(W_in x)^2 / 2. The half, the official code's, is applied to the product: a power of two
    changes no digit, and the product is four times smaller."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(model.width, model.mlp_width, bias=False)
        self.out = nn.Linear(model.mlp_width, model.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.out(F.relu(self.inner(x)).square())


class SwiGLU(nn.Module):
    """W_out (silu(W_gate x) * W_in x), gate and inner matrices stacked in that order."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(model.width, 2 * model.mlp_width, bias=False)
        self.out = nn.Linear(model.mlp_width, model.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, inner = self.inner(x).chunk(2, dim=-1)
        return self.out(F.silu(gate) * inner)


class Layer(nn.Module):
    """Pre-norm attention and MLP; with `residual_norm`, a norm after each residual addition too."""

    def __init__(self, model: ModelConfig, index: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(model.width)
        self.attention = Attention(model, value_embedding=model.has_value_embedding(index))
        self.mlp_norm = RMSNorm(model.width)
        self.mlp = SquaredReLU(model) if model.recipe is Recipe.TRANSFORMER else SwiGLU(model)
        self.after_attention = RMSNorm(model.width) if model.residual_norm else None
        self.after_mlp = RMSNorm(model.width) if model.residual_norm else None

    def forward(self, x: Tensor, table: Tensor, value: Tensor | None) -> Tensor:
        """x (B, S, d) -> (B, S, d)."""
        x = x + self.attention(self.attention_norm(x), table, value)
        if self.after_attention is not None:
            x = self.after_attention(x)
        x = x + self.mlp(self.mlp_norm(x))
        return x if self.after_mlp is None else self.after_mlp(x)


def reset_matrices(module: nn.Module, width: int, generator: torch.Generator) -> None:
    """Norms to 1, output projections to 0, every other matrix and embedding to N(0, 2 / (5 d))."""
    deviation = math.sqrt(2 / (5 * width))
    for name, part in module.named_modules():
        if isinstance(part, RMSNorm):
            nn.init.ones_(part.weight)
        elif isinstance(part, nn.Linear | nn.Embedding):
            if name.rpartition(".")[2] == "out":
                nn.init.zeros_(part.weight)
            else:
                nn.init.normal_(part.weight, std=deviation, generator=generator)
