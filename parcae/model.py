"""The middle-looped transformer: prelude, recurrence, readout, coda. SCIENCE: paper section 3.

    e     = LN(P(tokens))                   prelude, then prelude norm
    h_0   ~ N(0, 2 / (5 d)), cut at three deviations
    h_t+1 = block(Abar h_t + Bbar e)        t = 0..T-1
    y     = LN(C(C_out h_T))                readout, coda, final norm; logits by the tied unembedding

B batch, S sequence, d width, V vocabulary, T recurrences. Sequences of one batch may have depths of their
own. They are aligned at the end: those with a smaller T start later, so that all end together.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from parcae.config import ModelConfig
from parcae.injection import build_injection
from parcae.layers import Layer, RMSNorm, reset_matrices, rotation_table

STATE_CUT = 3.0  # deviations at which the normal of the initial state is cut


@dataclass(frozen=True)
class Encoded:
    """What the loop and the coda need of the tokens, computed once a forward pass."""

    injected: Tensor
    """Bbar e, (B, S, d); for the fixed-depth transformer the prelude's output."""
    transition: Tensor
    """Abar as the injection applies it; unused without a loop."""
    values: dict[int, Tensor]
    """Value embeddings (B, S, d) of the tokens, by layer."""

    def leading(self, count: int) -> "Encoded":
        """The first `count` sequences."""
        if count == len(self.injected):
            return self
        values = {layer: value[:count] for layer, value in self.values.items()}
        return Encoded(self.injected[:count], self.transition, values)


class LoopedTransformer(nn.Module):
    """Weights are undefined until `reset` or a checkpoint sets them."""

    rotation: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.value_embeddings = nn.ModuleDict(
            {
                str(layer): nn.Embedding(config.vocabulary, config.width)
                for layer in range(config.layers)
                if config.has_value_embedding(layer)
            }
        )
        first_coda = config.prelude_layers + config.recurrent_layers
        self.prelude = _layers(config, 0, config.prelude_layers)
        self.recurrent = _layers(config, config.prelude_layers, first_coda)
        self.coda = _layers(config, first_coda, config.layers)
        self.prelude_norm = RMSNorm(config.width) if config.has_prelude_norm else None
        self.injection = build_injection(config)
        self.readout = nn.Linear(config.width, config.width, bias=False) if config.has_readout else None
        self.final_norm = RMSNorm(config.width)
        table = rotation_table(config.context, config.head_dimension)
        self.register_buffer("rotation", table, persistent=False)

    def reset(self, generator: torch.Generator) -> None:
        """Draws the initial weights (paper appendix): see `reset_matrices`, `injection`; C_out = identity."""
        reset_matrices(self, self.config.width, generator)
        if self.readout is not None:
            nn.init.eye_(self.readout.weight)
        if self.injection is not None:
            self.injection.reset(generator)

    def encode(self, tokens: Tensor) -> Encoded:
        """The prelude and whatever else does not change within the loop; tokens (B, S)."""
        values = {int(layer): table(tokens) for layer, table in self.value_embeddings.items()}
        x = self.embedding(tokens)
        for layer, block in enumerate(self.prelude):
            x = block(x, self.rotation[: tokens.shape[1]], values.get(layer))
        if self.prelude_norm is not None:
            x = self.prelude_norm(x)
        if self.injection is None:
            return Encoded(x, x.new_zeros(()), values)
        transition, injected = self.injection.discretise(x)
        return Encoded(injected, transition, values)

    def recur(self, h: Tensor, encoded: Encoded) -> Tensor:
        """One recurrence, h_t -> h_t+1, each (B, S, d)."""
        if self.injection is None:
            x = encoded.injected
        else:
            x = self.injection.update(encoded.transition, h, encoded.injected)
        table = self.rotation[: x.shape[1]]
        for layer, block in enumerate(self.recurrent, start=self.config.prelude_layers):
            x = block(x, table, encoded.values.get(layer))
        return x

    def finish(self, h: Tensor, encoded: Encoded) -> Tensor:
        """Readout, coda and final norm: h_T -> the unembedding's input, each (B, S, d)."""
        x = h if self.readout is None else self.readout(h)
        first = self.config.prelude_layers + self.config.recurrent_layers
        for layer, block in enumerate(self.coda, start=first):
            x = block(x, self.rotation[: x.shape[1]], encoded.values.get(layer))
        return self.final_norm(x)

    def logits(self, y: Tensor) -> Tensor:
        """(B, S, d) -> (B, S, V), by the tied unembedding."""
        return F.linear(y, self.embedding.weight)

    def loop(
        self,
        state: Tensor,
        encoded: Encoded,
        depths: Sequence[int],
        backward_depth: int,
        *,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(h_T, h_T-1), each (B, S, d), from h_0 and each sequence's T, deepest first.

        Only sequences that have started are computed: a leading slice, which grows. Only the last
        `backward_depth` recurrences carry gradient; with `recompute`, the backward pass computes them anew
        instead of keeping their activations.
        """
        assert list(depths) == sorted(depths, reverse=True)
        h = previous = state[:0]
        for remaining, active in active_counts(depths):
            h = torch.cat([h, state[len(h) : active]]) if len(h) < active else h
            previous = h
            with_gradient = torch.is_grad_enabled() and remaining <= backward_depth
            if remaining == backward_depth:
                torch.clear_autocast_cache()  # it would reuse half-precision weights that carry no gradient
            with torch.set_grad_enabled(with_gradient):
                if recompute and with_gradient:
                    h = checkpoint(
                        self.recur, h, encoded.leading(active), use_reentrant=False, preserve_rng_state=False
                    )
                else:
                    h = self.recur(h, encoded.leading(active))
        return h, previous

    def forward(
        self,
        tokens: Tensor,
        state: Tensor,
        depths: Sequence[int],
        backward_depth: int,
        *,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(y, h_T, h_T-1), each (B, S, d): y is what `logits` takes. Tokens (B, S), h_0 (B, S, d)."""
        encoded = self.encode(tokens)
        h, previous = self.loop(state, encoded, depths, backward_depth, recompute=recompute)
        return self.finish(h, encoded), h, previous


def active_counts(depths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(recurrences remaining, sequences active) from the first recurrence to the last; depths descending."""
    active = 0
    for remaining in range(depths[0], 0, -1):
        while active < len(depths) and depths[active] >= remaining:
            active += 1
        yield remaining, active


def initial_state(config: ModelConfig, seeds: Sequence[int], like: Tensor) -> Tensor:
    """h_0 of one sequence a seed, (B, S, d): truncated normal of deviation sqrt(2 / (5 d)), by inversion.

    Each sequence has a seed of its own, so that a batch split in any way draws the same states.
    `like` gives device and type.
    """
    state = torch.empty(len(seeds), config.context, config.width, device=like.device, dtype=like.dtype)
    generator = torch.Generator(device=like.device)
    bound = math.erf(STATE_CUT / math.sqrt(2))
    for row, seed in zip(state, seeds, strict=True):
        row.uniform_(-bound, bound, generator=generator.manual_seed(seed))
    deviation = math.sqrt(2 / (5 * config.width))
    limit = STATE_CUT * deviation
    return state.erfinv_().mul_(math.sqrt(2) * deviation).clamp_(-limit, limit)


def _layers(config: ModelConfig, first: int, end: int) -> nn.ModuleList:
    return nn.ModuleList(Layer(config, index) for index in range(first, end))
