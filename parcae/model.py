"""Prelude, recurrent block, coda, head (paper section 3).

Shapes: B batch, S sequence, D width, V vocabulary; T recurrences. Sequences of one batch may loop a
different number of times. Sorted by depth, deepest first, those active at a recurrence are a leading slice:
sequences start late rather than stop early, and only that slice is computed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from parcae.config import ModelConfig
from parcae.injection import make_injection
from parcae.layers import NORM_EPS, Block, rope_table

STATE_CUT = 3.0  # h_0 is a normal cut at three deviations; official code


@dataclass(frozen=True)
class Output:
    """What a training pass computes."""

    loss: Tensor
    """Mean cross-entropy, nats a token."""
    state_norm: Tensor
    """Mean over positions of ||h_T||."""
    recurrent_residual: Tensor
    """Mean over positions of ||h_T - h_T-1||."""


class LoopedTransformer(nn.Module):
    """A middle-looped transformer, or the fixed-depth one where the configuration has no loop."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d = config.width
        first, after = config.prelude_layers, config.prelude_layers + config.recurrent_layers
        self.embedding = nn.Embedding(config.vocabulary, d)
        self.prelude = nn.ModuleList(Block(config, layer) for layer in range(first))
        self.recurrent = nn.ModuleList(Block(config, layer) for layer in range(first, after))
        self.coda = nn.ModuleList(Block(config, layer) for layer in range(after, config.layers))
        if config.has_loop:
            self.injection = make_injection(config.injection, d)
        self.prelude_norm = nn.RMSNorm(d, eps=NORM_EPS) if config.has_prelude_norm else nn.Identity()
        self.readout = nn.Linear(d, d, bias=False) if config.has_readout else nn.Identity()
        self.final_norm = nn.RMSNorm(d, eps=NORM_EPS)
        cos, sin = rope_table(config.context, config.head_dimension)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @property
    def deviation(self) -> float:
        """Standard deviation of initial weights and states, sqrt(2 / (5 d))."""
        return math.sqrt(2 / (5 * self.config.width))

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draws every weight from `seed`: N(0, 2/(5d)), output projections zero, C_out the identity."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
            elif name.endswith(("attention.out.weight", "mlp.out.weight")):
                parameter.zero_()
            elif name == "readout.weight":
                nn.init.eye_(parameter)
            elif name.startswith("injection.") and not name.endswith(".W"):
                continue
            else:
                drawn = torch.randn(parameter.shape, generator=generator) * self.deviation
                parameter.copy_(drawn)

    def initial_state(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """h_0, (B, S, D) for tokens of `shape` (B, S): a normal of the weights' deviation, cut at three."""
        state = torch.empty(*shape, self.config.width)
        nn.init.trunc_normal_(state, 0.0, 1.0, -STATE_CUT, STATE_CUT, generator=generator)
        return (state * self.deviation).to(self.embedding.weight)

    def _blocks(self, blocks: nn.ModuleList, x: Tensor, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        rope = (self.cos[:length], self.sin[:length])
        for block in blocks:
            x = block(x, tokens, rope)
        return x

    def prelude_output(self, tokens: Tensor) -> Tensor:
        """e, (B, S, D), for tokens (B, S)."""
        out: Tensor = self.prelude_norm(self._blocks(self.prelude, self.embedding(tokens), tokens))
        return out

    def recur(self, h: Tensor, injected: Tensor, tokens: Tensor) -> Tensor:
        """One recurrence: h_t, Bbar e and tokens to h_t+1."""
        return self._blocks(self.recurrent, self.injection.state(h) + injected, tokens)

    def logits(self, h: Tensor, tokens: Tensor) -> Tensor:
        """(B, S, V) from the last state."""
        x = self._blocks(self.coda, self.readout(h), tokens)
        return functional.linear(self.final_norm(x), self.embedding.weight)

    def states(self, tokens: Tensor, h: Tensor) -> Iterator[Tensor]:
        """h_1, h_2, ... without end, all sequences at once; h is h_0."""
        injected = self.injection.input(self.prelude_output(tokens))
        while True:
            h = self.recur(h, injected, tokens)
            yield h

    def training_loss(
        self, tokens: Tensor, targets: Tensor, depths: Tensor, h: Tensor, backward_depth: int
    ) -> Output:
        """Loss over (B, S) tokens and targets, sequence b looped depths[b] times from h[b].

        `depths` must fall; only each sequence's last `backward_depth` recurrences carry gradient.
        """
        e = self.prelude_output(tokens)
        if not self.config.has_loop:
            h = before = self._blocks(self.recurrent, e, tokens)
        else:
            injected = self.injection.input(e)
            counts = [int((depths >= left).sum()) for left in range(int(depths[0]), 0, -1)]
            free = max(0, len(counts) - backward_depth)
            with torch.no_grad():
                for active in counts[:free]:
                    h = torch.cat((self.recur(h[:active], injected[:active], tokens[:active]), h[active:]))
            before = h
            for active in counts[free:]:
                before = h
                h = torch.cat((self.recur(h[:active], injected[:active], tokens[:active]), h[active:]))
        loss = functional.cross_entropy(self.logits(h, tokens).flatten(0, 1).float(), targets.flatten())
        with torch.no_grad():
            return Output(
                loss=loss,
                state_norm=h.norm(dim=-1).mean(),
                recurrent_residual=(h - before).norm(dim=-1).mean(),
            )
