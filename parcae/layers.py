"""Transformer blocks of both recipes.

Shapes: B batch, S sequence, D width, H heads, K head dimension, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from parcae.config import ModelConfig, Recipe
from parcae.flops import GATE_CHANNELS

NORM_EPS = 1e-5
ROPE_THETA = 50_000.0


def rope_table(length: int, head_dimension: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, float32, each (S, K/2), of the angle of each position and pair of channels."""
    frequencies = ROPE_THETA ** (-torch.arange(0, head_dimension, 2, dtype=torch.float64) / head_dimension)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return angles.cos().float(), angles.sin().float()


def apply_rope(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Turns the interleaved pairs (2i, 2i+1) of x, (B, H, S, K), by their angles, in float32 or better."""
    exact = x if x.dtype == torch.float64 else x.float()
    even, odd = exact[..., 0::2], exact[..., 1::2]
    cos, sin = rope
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2).to(x.dtype)


def rms_norm(x: Tensor) -> Tensor:
    """Root-mean-square norm over the last axis, without parameters."""
    return functional.rms_norm(x, (x.shape[-1],))


class Attention(nn.Module):
    """Causal attention with RoPE; the transformer recipe adds QK-norm and gated value embeddings."""

    def __init__(self, config: ModelConfig, *, value_embedding: bool) -> None:
        super().__init__()
        d = config.width
        self.heads = config.heads
        self.qk_norm = config.recipe is Recipe.TRANSFORMER
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.gate: nn.Linear | None = None
        self.value_embedding: nn.Embedding | None = None
        if value_embedding:
            self.gate = nn.Linear(min(GATE_CHANNELS, d), config.heads, bias=False)
            self.value_embedding = nn.Embedding(config.vocabulary, d)

    def forward(self, x: Tensor, tokens: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """(B, S, D) normalised input and (B, S) tokens to (B, S, D)."""
        batch, length, d = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3 * self.heads, -1).transpose(1, 2).chunk(3, dim=1)
        if self.gate is not None and self.value_embedding is not None:
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))  # (B, S, H)
            added = self.value_embedding(tokens).view(batch, length, self.heads, -1)
            v = v + (gate.unsqueeze(-1) * added).transpose(1, 2)
        q, k = apply_rope(q, rope), apply_rope(k, rope)
        if self.qk_norm:
            q, k = rms_norm(q), rms_norm(k)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, d))


class SquaredReluMLP(nn.Module):
    """The transformer recipe's MLP; the official code halves the squared output."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.out = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(0.5 * functional.relu(self.up(x)).square())


class SwiGLU(nn.Module):
    """The RDM recipe's MLP."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.mlp_width, bias=False)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=False)
        self.out = nn.Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Pre-norm attention and MLP; with `residual_norm` a norm after each residual addition too."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        d = config.width
        self.norm_1 = nn.RMSNorm(d, eps=NORM_EPS)
        self.attention = Attention(config, value_embedding=config.has_value_embedding(layer))
        self.norm_2 = nn.RMSNorm(d, eps=NORM_EPS)
        self.mlp = SquaredReluMLP(config) if config.recipe is Recipe.TRANSFORMER else SwiGLU(config)
        self.norm_3 = nn.RMSNorm(d, eps=NORM_EPS) if config.residual_norm else nn.Identity()
        self.norm_4 = nn.RMSNorm(d, eps=NORM_EPS) if config.residual_norm else nn.Identity()

    def forward(self, x: Tensor, tokens: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """(B, S, D) to (B, S, D)."""
        x = self.norm_3(x + self.attention(self.norm_1(x), tokens, rope))
        out: Tensor = self.norm_4(x + self.mlp(self.norm_2(x)))
        return out
