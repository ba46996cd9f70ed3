"""The middle-looped transformer: prelude, recurrence, readout, coda. SCIENCE: paper section 3.

    e     = LN(P(tokens))                   prelude, then prelude norm
    h_0   ~ N(0, 2 / (5 d)), cut at three deviations (released models: any ``StateInit``)
    h_t+1 = block(Abar h_t + Bbar e)        t = 0..T-1
    y     = LN(C(C_out h_T))                readout, coda, final norm; logits by the tied unembedding

B batch, S sequence, d width, d_h width of the state, V vocabulary, T recurrences. Sequences of one batch
may have depths of their own. They are aligned at the end: those with a smaller T start later, so that all
end together.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from parcae.config import ModelConfig, StateInit
from parcae.errors import InputError
from parcae.model.injection import build_injection
from parcae.model.layers import Layer, RMSNorm, rotation_table
from parcae.model.memory import Memory

STATE_CUT = 3.0  # deviations at which the normal of the initial state is cut


@dataclass(frozen=True)
class Encoded:
    """What the loop and the coda need of the tokens, computed once a forward pass."""

    injected: Tensor
    """Bbar e, (B, S, d_h); for the fixed-depth transformer the prelude's output."""
    transition: Tensor
    """Abar as the injection applies it; unused without a loop."""
    values: dict[int, Tensor]
    """Value embeddings of the tokens, by layer, a head of channels for each key-value head."""

    def leading(self, count: int) -> "Encoded":
        """The first `count` sequences."""
        if count == len(self.injected):
            return self
        values = {layer: value[:count] for layer, value in self.values.items()}
        return Encoded(self.injected[:count], self.transition, values)


class LoopedTransformer(nn.Module):
    """Weights are undefined until `initial_weights.new_model` or a checkpoint sets them."""

    rotation: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d, state_width, epsilon = config.width, config.loop_width, config.norm_epsilon
        self.embedding = nn.Embedding(config.vocabulary, d)
        values_width = (config.key_value_heads or config.heads) * config.head_dimension
        self.value_embeddings = nn.ModuleDict(
            {
                str(layer): nn.Embedding(config.vocabulary, values_width)
                for layer in range(config.layers)
                if config.has_value_table(layer)
            }
        )
        first_coda = config.prelude_layers + config.recurrent_layers
        self.prelude = _layers(config, 0, config.prelude_layers)
        self.recurrent = _layers(config, config.prelude_layers, first_coda)
        self.coda = _layers(config, first_coda, config.layers)
        self.prelude_norm = RMSNorm(d, epsilon) if config.has_prelude_norm else None
        self.injection = build_injection(config)
        self.readout = nn.Linear(state_width, d, bias=False) if config.has_readout else None
        self.final_norm = RMSNorm(d, epsilon)
        self.unembedding = None if config.tied_embeddings else nn.Linear(d, config.vocabulary, bias=False)
        table = rotation_table(config.context, config.head_dimension, config.rope_theta)
        self.register_buffer("rotation", table, persistent=False)

    def encode(self, tokens: Tensor, memory: Memory | None = None) -> Encoded:
        """The prelude and whatever else does not change within the loop; tokens (B, S).

        With `memory`, the tokens follow those it holds.
        """
        values = {
            int(layer): table(tokens)
            for layer, table in self.value_embeddings.items()
            if self.config.has_value_embedding(int(layer))
        }
        x = self.embedding(tokens)
        for layer, block in enumerate(self.prelude):
            x = block(x, self._table(x, memory), values.get(layer), memory and memory.once(layer))
        if self.prelude_norm is not None:
            x = self.prelude_norm(x)
        if self.injection is None:
            return Encoded(x, x.new_zeros(()), values)
        transition, injected = self.injection.discretise(x)
        return Encoded(injected, transition, values)

    def recur(self, h: Tensor, encoded: Encoded, memory: Memory | None = None, t: int = 0) -> Tensor:
        """One recurrence, h_t -> h_t+1, each (B, S, d_h); only a `memory` needs to be told t."""
        if self.injection is None:
            x = encoded.injected
        else:
            x = self.injection.update(encoded.transition, h, encoded.injected)
        table = self._table(x, memory)
        for layer, block in enumerate(self.recurrent, start=self.config.prelude_layers):
            x = block(x, table, encoded.values.get(layer), memory and memory.recurrence(layer, t))
        return x

    def finish(self, h: Tensor, encoded: Encoded, memory: Memory | None = None) -> Tensor:
        """Readout, coda and final norm: h_T (B, S, d_h) -> the unembedding's input (B, S, d)."""
        x = h if self.readout is None else self.readout(h).to(h.dtype)  # autocast halves it otherwise
        first = self.config.prelude_layers + self.config.recurrent_layers
        for layer, block in enumerate(self.coda, start=first):
            x = block(x, self._table(x, memory), encoded.values.get(layer), memory and memory.once(layer))
        return self.final_norm(x)

    def _table(self, x: Tensor, memory: Memory | None) -> Tensor:
        """The rotations of the positions of x (B, S, ...)."""
        first = 0 if memory is None else memory.length
        return self.rotation[first : first + x.shape[1]]

    def logits(self, y: Tensor) -> Tensor:
        """(B, S, d) -> (B, S, V), by the unembedding: tied, unless the configuration unties it."""
        return F.linear(y, self.unembedding_weight)

    @property
    def unembedding_weight(self) -> Tensor:
        """(V, d)."""
        return (self.embedding if self.unembedding is None else self.unembedding).weight

    def logits_at(self, tokens: Tensor, recurrences: int, state: Tensor | None = None) -> Tensor:
        """Logits (B, S, V) after T = `recurrences` of tokens (B, S), from h_0 = `state` (B, S, d_h).

        Without a state, one of the configuration's kind is drawn, the same at every call. A model without a
        loop has the same logits whatever T and h_0.
        """
        config, (batch, length) = self.config, tokens.shape
        if not 1 <= length <= config.context:
            raise InputError(f"there are {length} tokens a sequence; the model takes 1 to {config.context}")
        if recurrences < 1:
            raise InputError(f"the recurrences are {recurrences}; they must be at least 1")
        if state is None:
            state = initial_state(config, range(batch), self.embedding.weight)[:, :length]
        if tuple(state.shape) != (batch, length, config.loop_width):
            raise InputError(
                f"the initial state has the shape {tuple(state.shape)}; "
                f"these tokens take {(batch, length, config.loop_width)}"
            )
        encoded = self.encode(tokens)
        h, _ = self.loop(state, encoded, [recurrences] * batch, recurrences)
        return self.logits(self.finish(h, encoded))

    def loop(
        self,
        state: Tensor,
        encoded: Encoded,
        depths: Sequence[int],
        backward_depth: int,
        *,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """(h_T, h_T-1), each (B, S, d_h), from h_0 and each sequence's T, deepest first.

        Only sequences that have started are computed: a leading slice, which grows. Only the last
        `backward_depth` recurrences carry gradient; with `recompute`, the backward pass computes them anew
        instead of keeping their activations.
        """
        assert list(depths) == sorted(depths, reverse=True)
        if self.injection is None:
            depths = [1] * len(depths)  # any further pass would compute the same again
        h = previous = state[:0]
        for remaining, active in active_counts(depths):
            h = torch.cat([h, state[len(h) : active]]) if len(h) < active else h
            previous = h
            with_gradient = torch.is_grad_enabled() and remaining <= backward_depth
            if remaining == backward_depth:
                # Older torch would reuse weights cast without gradient (pytorch/pytorch issue 112583).
                torch.clear_autocast_cache()
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
        """(y, h_T, h_T-1): y (B, S, d) is what `logits` takes; tokens (B, S); every h (B, S, d_h)."""
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
    """h_0 of one sequence a seed, (B, S, d_h), S the context. `like` gives device and type.

    Each sequence has a seed of its own, so that a batch split in any way draws the same states.
    """
    shape = (len(seeds), config.context, config.loop_width)
    state = torch.zeros(shape, device=like.device, dtype=like.dtype)
    if config.state_init is StateInit.ZERO:
        return state
    generator = torch.Generator(device=like.device)
    cut = config.state_init is StateInit.LIKE_INIT
    bound = math.erf(STATE_CUT / math.sqrt(2))
    for row, seed in zip(state, seeds, strict=True):
        generator.manual_seed(seed)
        if cut:
            row.uniform_(-bound, bound, generator=generator)
        else:
            row.normal_(generator=generator)
    if config.state_init is StateInit.EMBED:
        return state.div_(math.sqrt(config.width))
    if config.state_init is StateInit.UNIT:
        spread, mean = torch.std_mean(state, dim=-1, keepdim=True)
        return state.sub_(mean).div_(spread + 1e-8)
    if config.state_init is StateInit.NORMAL:
        return state
    deviation = math.sqrt(2 / (5 * config.width))
    limit = STATE_CUT * deviation
    return state.erfinv_().mul_(math.sqrt(2) * deviation).clamp_(-limit, limit)  # by inversion


def _layers(config: ModelConfig, first: int, end: int) -> nn.ModuleList:
    return nn.ModuleList(Layer(config, index) for index in range(first, end))
