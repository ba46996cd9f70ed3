"""Counts parameters N and training FLOPs C; nothing else in the project does.

Three kinds of parameters: those applied once per token, those applied once per recurrence, and look-ups
(token and value embeddings), which cost no arithmetic. Symbols: d width, V vocabulary, L context,
mu_rec mean recurrence, mu_bwd backward depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from parcae.config import Injection, ModelConfig

GATE_CHANNELS = 32  # input channels of the value-embedding gate; official code


class Convention(StrEnum):
    """What counts towards C (paper appendix D)."""

    PAPER = "paper"  # unembedding counted, value-embedding tables not, truncated backpropagation
    OFFICIAL = "official"  # the released code: value-embedding tables counted, unembedding not
    UNROLLED = "unrolled"  # both counted, and backpropagation through every recurrence


@dataclass(frozen=True, kw_only=True)
class ParameterGroups:
    """Unique parameters, grouped by the cost of applying them. The groups sum to the parameter count."""

    embedding: int
    """Token embedding (V, d), a look-up; if tied, it is also the unembedding, a matrix product."""
    unembedding: int
    """0 if it is tied."""
    value_embeddings_once: int
    value_embeddings_recurrent: int
    matrices_once: int
    """Matrices applied once per token: prelude, coda, injection of e, readout."""
    matrices_recurrent: int
    """Matrices applied once per recurrence: the recurrent block, and W1 of `concat`."""
    vectors: int
    """Norms and other one-dimensional parameters; their arithmetic is not counted."""

    @property
    def total(self) -> int:
        return (
            self.embedding
            + self.unembedding
            + self.value_embeddings_once
            + self.value_embeddings_recurrent
            + self.matrices_once
            + self.matrices_recurrent
            + self.vectors
        )


@cache
def parameter_groups(model: ModelConfig) -> ParameterGroups:
    """Counts every parameter of `model` from its shape alone."""
    d, state_width, first_recurrent = model.width, model.loop_width, model.prelude_layers
    after_recurrent = first_recurrent + model.recurrent_layers
    tables_width = (model.key_value_heads or model.heads) * model.head_dimension
    once = recurrent = tables_once = tables_recurrent = 0
    vectors = d  # the final norm
    for layer in range(model.layers):
        shape = model.block(layer)
        stacked_heads = shape.heads + 2 * shape.key_value_heads
        matrices = shape.width * (stacked_heads * model.head_dimension + shape.width)
        matrices += (3 if model.has_gated_mlp else 2) * shape.width * shape.mlp_width
        if model.has_value_gate(layer):
            matrices += min(GATE_CHANNELS, shape.width) * shape.key_value_heads
        table = model.vocabulary * tables_width if model.has_value_table(layer) else 0
        vectors += (4 if model.residual_norm else 2) * shape.width
        if first_recurrent <= layer < after_recurrent:
            recurrent, tables_recurrent = recurrent + matrices, tables_recurrent + table
        else:
            once, tables_once = once + matrices, tables_once + table
    vectors += d if model.has_prelude_norm else 0
    if model.injection is Injection.DIAGONAL:
        once += d * state_width  # B
        vectors += 2 * state_width  # log_A, delta_bias
    elif model.injection is Injection.CONCAT:
        once, recurrent = once + d * state_width, recurrent + state_width**2  # W2, W1
    if model.has_readout:
        once += d * state_width  # C_out
    return ParameterGroups(
        embedding=model.vocabulary * d,
        unembedding=0 if model.tied_embeddings else model.vocabulary * d,
        value_embeddings_once=tables_once,
        value_embeddings_recurrent=tables_recurrent,
        matrices_once=once,
        matrices_recurrent=recurrent,
        vectors=vectors,
    )


def parameter_count(model: ModelConfig) -> int:
    """Unique parameters of the model, as the paper's tables give them."""
    return parameter_groups(model).total


def counted_parameters(model: ModelConfig, convention: Convention = Convention.PAPER) -> tuple[int, int]:
    """(once, recurrent): the parameters counted by `convention` that are applied once, or per recurrence."""
    groups = parameter_groups(model)
    once, recurrent = groups.matrices_once, groups.matrices_recurrent
    if convention is not Convention.OFFICIAL:
        once += model.vocabulary * model.width  # the unembedding's product, tied or not
    if convention is not Convention.PAPER:
        once += groups.value_embeddings_once
        recurrent += groups.value_embeddings_recurrent
    return once, recurrent


def effective_parameters(
    model: ModelConfig, mean_recurrence: float, convention: Convention = Convention.PAPER
) -> float:
    """N(mu_rec): counted parameters of the model with its loop unrolled into real layers (section 5)."""
    once, recurrent = counted_parameters(model, convention)
    return once + mean_recurrence * recurrent


def flops_per_token(
    model: ModelConfig,
    *,
    mean_recurrence: float,
    backward_depth: float,
    convention: Convention = Convention.PAPER,
) -> float:
    """Training FLOPs per token: 2 per parameter forward, 4 backward, plus attention (appendix D).

    Attention costs 4 d L forward per layer and token, and twice that backward: the products of every token
    with every other, as torch counts them; causal kernels skip half. Recurrences beyond `backward_depth` are
    forward only, except under convention `unrolled`, where all carry gradient. A model without a loop has one
    pass.
    """
    if not model.has_loop:
        mean_recurrence = backward_depth = 1
    once, recurrent = counted_parameters(model, convention)
    attention = 4 * model.context
    once_forward = 2 * once + attention * model.width * (model.prelude_layers + model.coda_layers)
    recurrent_forward = 2 * recurrent + attention * model.loop_width * model.recurrent_layers
    with_gradient = mean_recurrence if convention is Convention.UNROLLED else backward_depth
    return 3 * once_forward + recurrent_forward * (mean_recurrence + 2 * with_gradient)


def batch_flops(
    model: ModelConfig,
    depths: Sequence[int],
    backward_depth: int,
    convention: Convention = Convention.PAPER,
) -> float:
    """Training FLOPs of one batch whose sequences recur `depths` times; inactive sequences cost nothing.

    The last min(T, `backward_depth`) recurrences of a sequence carry gradient.
    """
    with_gradient = sum(min(depth, backward_depth) for depth in depths)
    return flops_of_sequences(model, len(depths), sum(depths), with_gradient, convention)


def flops_of_sequences(
    model: ModelConfig, sequences: int, recurrences: int, with_gradient: int, convention: Convention
) -> float:
    """FLOPs of `sequences` with these total numbers of recurrences, and of recurrences with gradient."""
    a_token = flops_per_token(
        model,
        mean_recurrence=recurrences / sequences,
        backward_depth=with_gradient / sequences,
        convention=convention,
    )
    return sequences * model.context * a_token
