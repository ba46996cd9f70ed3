"""Log-likelihoods of stretches of text at several T, in batches: what every task is scored by.

Sequences of a batch are filled up on the right, where causal attention does not look, and all begin with the
same h_0: a sequence gets the same log-likelihood in every batch, and that of `LoopedTransformer.logits_at`.

B batch, S sequence, V vocabulary, T recurrences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from parcae.errors import InputError
from parcae.evaluation.reader import Reader, document_tokens
from parcae.evaluation.scores import Report, mute
from parcae.model.transformer import LoopedTransformer, initial_state

STATE_SEED = 0  # of h_0, as `LoopedTransformer.logits_at` draws it for its first sequence
TOKENS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Stretch:
    """Tokens, of which those from `start` on are predicted."""

    tokens: Sequence[int]
    start: int
    """At least 1: the first token has nothing before it."""

    def within(self, context: int) -> "Stretch":
        """The end of it that a model of this context can read."""
        cut = max(0, len(self.tokens) - context - 1)
        return Stretch(self.tokens[cut:], max(1, self.start - cut))


@dataclass(frozen=True)
class Likelihood:
    """Of the predicted tokens of a stretch."""

    total: float
    """The sum of their log-probabilities, nats."""
    count: int
    greedy: bool
    """Whether each is the likeliest one."""


@torch.no_grad()
def likelihoods(
    model: LoopedTransformer,
    stretches: Sequence[Stretch],
    recurrences: Sequence[int],
    batch: int | None = None,
    report: Report = mute,
    what: str = "scoring",
) -> dict[int, list[Likelihood]]:
    """Those of `stretches`, in their order, at each T. Models without a loop are evaluated at T = 1.

    A pass reads `batch` sequences, by default as many as make about ``TOKENS_AT_ONCE``.

    ``InputError`` for a stretch without a token before it, or T below 1.
    """
    if min(recurrences) < 1 or (batch is not None and batch < 1):
        raise InputError(
            f"cannot evaluate at T = {min(recurrences)} in batches of {batch}; both are at least 1"
        )
    if any(not 1 <= stretch.start < len(stretch.tokens) for stretch in stretches):
        raise InputError("nothing can be predicted without a token before it; the tokenizer has no beginning")
    config = model.config
    wanted = sorted(set(recurrences)) if config.has_loop else [1]
    h_0 = initial_state(config, [STATE_SEED], model.embedding.weight)
    cut = [stretch.within(config.context) for stretch in stretches]
    longest = sorted(range(len(cut)), key=lambda i: -len(cut[i].tokens))
    found: dict[int, list[Likelihood | None]] = {t: [None] * len(cut) for t in wanted}
    while longest:
        report(what, 1 - len(longest) / len(cut))
        length = len(cut[longest[0]].tokens) - 1
        rows = batch or max(1, TOKENS_AT_ONCE // length)
        chosen, longest = longest[:rows], longest[rows:]
        tokens = torch.zeros(len(chosen), length, dtype=torch.int64)
        for row, i in zip(tokens, chosen, strict=True):
            row[: len(cut[i].tokens) - 1] = torch.tensor(cut[i].tokens[:-1])
        encoded = model.encode(tokens.to(h_0.device))
        h = h_0[:, :length].expand(len(chosen), -1, -1)
        for t in range(1, wanted[-1] + 1):
            h = model.recur(h, encoded)
            if t in found:
                y = model.finish(h, encoded)
                for row, i in zip(y, chosen, strict=True):
                    found[t][i] = _likelihood(model, row, cut[i])
    return {t: [each for each in row if each is not None] for t, row in found.items()}


def _likelihood(model: LoopedTransformer, y: Tensor, stretch: Stretch) -> Likelihood:
    """Of one sequence, whose unembedding's input is y (S, d)."""
    expected = torch.tensor(stretch.tokens[stretch.start :], device=y.device)
    logits = model.logits(y[stretch.start - 1 : len(stretch.tokens) - 1])
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    lost = F.cross_entropy(logits, expected, reduction="none").sum(dtype=torch.float64)
    return Likelihood(-float(lost), len(expected), bool((logits.argmax(-1) == expected).all()))


def continuation(reader: Reader, context: str, text: str) -> Stretch:
    """`text` after `context`, which is the beginning of a document.

    Both are tokenised together, as a model reads them, and cut where the context's own tokens end. Spaces
    before the cut belong to what follows, since tokens begin with a space rather than end with one.
    """
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, text = context[:-spaces], context[-spaces:] + text
    return Stretch(document_tokens(reader, context + text), len(document_tokens(reader, context)))


def document(reader: Reader, text: str, context: int) -> list[Stretch]:
    """All of `text`, each token predicted once, in windows; the last one looks as far back as it can.

    Without a token for the beginning, the first token is not predicted.
    """
    return list(_windows(document_tokens(reader, text), context))


def _windows(tokens: Sequence[int], context: int) -> Iterator[Stretch]:
    for start in range(1, len(tokens), context):
        end = min(start + context, len(tokens))
        begin = max(0, end - context - 1)
        yield Stretch(tokens[begin:end], start - begin)
