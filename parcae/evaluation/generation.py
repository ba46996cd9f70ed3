"""Text from a trained model, token by token: greedy or sampled, with a cache and an early exit.

S tokens of the one sequence, V vocabulary, T recurrences.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from parcae.config import Keep
from parcae.errors import InputError
from parcae.model.memory import Memory
from parcae.model.transformer import LoopedTransformer, initial_state

STATE_SEED = 0  # of h_0, as `LoopedTransformer.logits_at` draws it


@dataclass(frozen=True, kw_only=True)
class Generated:
    """The continuation of a prompt."""

    tokens: tuple[int, ...]
    recurrences: tuple[int, ...]
    """T spent on each token."""


@torch.no_grad()
def generate(
    model: LoopedTransformer,
    prompt: Sequence[int],
    count: int,
    recurrences: int,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    keep: Keep = Keep.EVERY,
    exit_below: float = 0.0,
    ends: Callable[[Sequence[int]], bool] = lambda tokens: False,
) -> Generated:
    """`count` tokens after `prompt`, or fewer if they end by `ends`; at most `recurrences` (T) for each.

    Temperature 0 takes the likeliest token. A token's loop ends early once its prediction moves by less than
    `exit_below` nats from one recurrence to the next, KL(p_t || p_t-1); at 0 it never does. Later tokens then
    find, at the recurrences left out, the keys of its last. The prompt before its last token is read at T.

    ``InputError`` for a prompt that is empty, too long, or holds tokens that are not the model's.
    """
    config = model.config
    if not prompt:
        raise InputError("the prompt is empty; it takes at least one token")
    if not 0 <= min(prompt) <= max(prompt) < config.vocabulary:
        raise InputError(
            f"the prompt has tokens from {min(prompt)} to {max(prompt)}; "
            f"the model's are 0 to {config.vocabulary - 1}"
        )
    if count < 1 or recurrences < 1:
        raise InputError(f"cannot generate {count} tokens at {recurrences} recurrences; both are at least 1")
    if len(prompt) + count > config.context + 1:
        raise InputError(
            f"{len(prompt)} tokens of prompt and {count} more do not fit; the model reads {config.context}"
        )
    if not temperature >= 0 or not exit_below >= 0:
        raise InputError(f"temperature {temperature} and exit threshold {exit_below} must not be negative")
    weight = model.embedding.weight
    limit = recurrences if config.has_loop else 1
    reader = _Reader(model, Memory(keep), limit, initial_state(config, [STATE_SEED], weight))
    generator = torch.Generator().manual_seed(seed)
    if len(prompt) > 1:
        reader.read(prompt[:-1], 0.0)
    token = prompt[-1]
    tokens: list[int] = []
    spent: list[int] = []
    while len(tokens) < count and not (tokens and ends(tokens)):
        logits, used = reader.read([token], exit_below)
        token = _choose(logits, temperature, generator)
        tokens.append(token)
        spent.append(used)
    return Generated(tokens=tuple(tokens), recurrences=tuple(spent))


@dataclass(frozen=True)
class _Reader:
    model: LoopedTransformer
    memory: Memory
    recurrences: int
    state: Tensor

    def read(self, tokens: Sequence[int], exit_below: float) -> tuple[Tensor, int]:
        """(logits after the last of `tokens`, (V,); the recurrences spent)."""
        model, memory = self.model, self.memory
        encoded = model.encode(torch.tensor([tokens], device=self.state.device), memory)
        h = self.state[:, memory.length : memory.length + len(tokens)]
        before: Tensor | None = None
        t = 0
        for t in range(1, self.recurrences + 1):
            h = model.recur(h, encoded, memory, t - 1)
            if exit_below > 0 or t == self.recurrences:
                logits = model.logits(model.finish(h, encoded, memory)[:, -1:])[0, 0].float()
                now = F.log_softmax(logits, dim=-1)
                if before is not None and float((now.exp() * (now - before)).sum()) < exit_below:
                    break
                before = now
        first = model.config.prelude_layers
        layers = range(first, first + model.config.recurrent_layers)
        memory.settle(len(tokens), layers, t, self.recurrences)
        return logits, t


def _choose(logits: Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(F.softmax(logits.cpu() / temperature, dim=-1), 1, generator=generator))
