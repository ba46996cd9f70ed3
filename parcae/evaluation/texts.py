"""The losses of a trained model on texts, at every test recurrence in one pass, in units that compare.

Nats per token compare models of one tokenizer; bits per byte compare all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parcae.config import ModelConfig
from parcae.data.batches import validation_set, windows
from parcae.data.windows import Text, Tokens
from parcae.errors import InputError
from parcae.evaluation.device import on_device
from parcae.evaluation.reader import Ids, Reader, reader_of
from parcae.formats.pretrained import Pretrained
from parcae.losses.evaluate import evaluate

TEST_RECURRENCES = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24)
"""The T of the paper's unified law."""
Part = tuple[Tokens, Tokens]


@dataclass(frozen=True, kw_only=True)
class TextLosses:
    """What one model makes of one text."""

    text: str
    tokens: int
    """Tokens predicted."""
    bytes: int
    """UTF-8 bytes that they stand for; a document's beginning stands for none."""
    losses: dict[int, float]
    """Nats per token by T."""

    @property
    def bits_per_byte(self) -> dict[int, float]:
        """By T: the bits of all tokens predicted, over the bytes that they stand for."""
        share = self.tokens / (max(self.bytes, 1) * math.log(2))
        return {t: loss * share for t, loss in self.losses.items()}

    @property
    def perplexity(self) -> dict[int, float]:
        """Per token, by T; infinite where the loss is beyond float64's exponents."""
        return {t: math.exp(loss) if loss < 700 else math.inf for t, loss in self.losses.items()}


def evaluate_texts(
    pretrained: Pretrained,
    files: Sequence[Path],
    recurrences: Sequence[int],
    most_tokens: int,
    texts: Sequence[Text] = (),
) -> list[TextLosses]:
    """Losses on each of `files`, and on the validation set of each of `texts`.

    A file of more than `most_tokens` is sampled, in windows spread evenly over it. Of a text of another
    tokenizer than the model's so many tokens are cut anew, from its first documents on.

    ``InputError`` for a model whose tokenizer is not with it. Models without a loop are evaluated at T = 1.
    """
    model, config = pretrained.model, pretrained.model.config
    if most_tokens < 1:
        raise InputError(f"cannot evaluate on {most_tokens} tokens; it takes at least 1")
    if min(recurrences) < 1:
        raise InputError(f"cannot evaluate at {min(recurrences)} recurrences; it takes at least 1")
    wanted = sorted(set(recurrences)) if config.has_loop else [1]
    reader = reader_of(pretrained)
    found: list[tuple[str, list[Part]]] = []
    for path in files:
        try:
            found.append((str(path), windows(reader.read(path), config.context, most_tokens)))
        except InputError as error:
            raise InputError(f"cannot evaluate on {path}: {error}") from error
    for text in texts:
        own = text.tokenizer == reader.hash
        parts = (
            [validation_set(text, config.context)] if own else _translated(text, reader, config, most_tokens)
        )
        found.append((f"{text.name}, held out", parts))
    on_device(model)
    results = []
    for name, parts in found:
        count = sum(targets.size for _, targets in parts)
        sums = dict.fromkeys(wanted, 0.0)
        for tokens, targets in parts:
            for t, loss in evaluate(model, tokens, targets, wanted).items():
                sums[t] += loss * targets.size
        results.append(
            TextLosses(
                text=name,
                tokens=count,
                bytes=int(sum(reader.sizes[targets].sum() for _, targets in parts)),
                losses={t: total / count for t, total in sums.items()},
            )
        )
    return results


def _translated(text: Text, reader: Reader, model: ModelConfig, most_tokens: int) -> list[Part]:
    """The first documents of the validation half, by the model's own tokenizer."""
    documents: list[Ids] = []
    tokens = 0
    for document in text.validation_documents():
        documents.append(reader.encode(document))
        tokens += len(documents[-1])
        if tokens > most_tokens:
            break
    return windows(np.concatenate(documents)[: most_tokens + 1], model.context)
