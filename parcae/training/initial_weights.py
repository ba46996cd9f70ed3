"""Initial weights: the paper's normals, or the released code's semi-orthogonal matrices.

d width, d_h width of the state, H heads, C head dimension, V vocabulary.
"""

import math

import torch
from torch import Tensor, nn

from parcae.config import InitialWeights, ModelConfig
from parcae.data.randomness import Stream, torch_seeds
from parcae.model.injection import reset_to_identity
from parcae.model.layers import MLP, Attention, RMSNorm
from parcae.model.transformer import LoopedTransformer


def new_model(
    model: ModelConfig,
    seed: int,
    device: torch.device,
    initial_weights: InitialWeights = InitialWeights.NORMAL,
) -> LoopedTransformer:
    """The model with the initial weights of `seed`, drawn on the CPU so that every device has the same."""
    built = LoopedTransformer(model)
    generator = torch.Generator().manual_seed(torch_seeds(seed, Stream.WEIGHTS, 0, 1)[0])
    with torch.no_grad():
        if initial_weights is InitialWeights.RELEASED:
            _draw_released(built, generator)
        else:
            _draw_normal(built, generator)
        if built.injection is not None:
            built.injection.reset(generator)
    return built.to(device)


def _draw_normal(model: LoopedTransformer, generator: torch.Generator) -> None:
    """Paper appendix: norms 1, output projections 0, C_out the identity, every other matrix and embedding
    N(0, 2 / (5 d))."""
    deviation = _deviation(model.config.width)
    for name, part in model.named_modules():
        if isinstance(part, RMSNorm):
            nn.init.ones_(part.weight)
        elif isinstance(part, nn.Linear | nn.Embedding):
            if name.rpartition(".")[2] == "out":
                nn.init.zeros_(part.weight)
            else:
                nn.init.normal_(part.weight, std=deviation, generator=generator)
    if model.readout is not None:
        reset_to_identity(model.readout.weight, generator)


def _draw_released(model: LoopedTransformer, generator: torch.Generator) -> None:
    """Released code, strategy `scaled-zero`: norms 1, output projections 0, value embeddings N(0, 1), value
    gates uniform; embedding, C_out, each of q, k and v, and the MLP's input matrix semi-orthogonal."""
    width = model.config.width
    _semi_orthogonal(model.embedding.weight, width, generator)
    for table in model.value_embeddings.parameters():
        nn.init.normal_(table, generator=generator)  # torch's default for a table
    for part in model.modules():
        match part:
            case RMSNorm():
                nn.init.ones_(part.weight)
            case Attention():
                for matrix in part.qkv.weight.split(part.stacked_rows):
                    _semi_orthogonal(matrix, part.qkv.in_features, generator)
                nn.init.zeros_(part.out.weight)
                if part.gate is not None:
                    bound = 1 / math.sqrt(part.gate.in_features)  # torch's default for a linear layer
                    nn.init.uniform_(part.gate.weight, -bound, bound, generator=generator)
            case MLP():
                _semi_orthogonal(part.inner.weight, part.inner.in_features, generator)
                nn.init.zeros_(part.out.weight)
    for projection in (model.readout, model.unembedding):
        if projection is not None:
            _semi_orthogonal(projection.weight, width, generator)


def _semi_orthogonal(matrix: Tensor, width: int, generator: torch.Generator) -> None:
    """Orthogonal rows or columns; an entry's deviation is that of N(0, 2 / (5 d)), d = `width`."""
    drawn = nn.init.orthogonal_(
        torch.empty(matrix.shape), gain=_deviation(width) * math.sqrt(max(matrix.shape)), generator=generator
    )
    matrix.copy_(drawn)  # a part of a stacked matrix is a view


def _deviation(width: int) -> float:
    return math.sqrt(2 / (5 * width))
