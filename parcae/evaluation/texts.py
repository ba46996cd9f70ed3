"""The losses of a trained model on texts, at every test recurrence in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from parcae.data.batches import Tokens, validation_set, windows
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.tokenizer import BYTES
from parcae.errors import InputError
from parcae.formats.pretrained import Pretrained
from parcae.losses.evaluate import evaluate

TEST_RECURRENCES = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24)
"""The T of the paper's unified law."""


@dataclass(frozen=True, kw_only=True)
class TextLosses:
    """The losses of one model on one text."""

    text: str
    tokens: int
    """Tokens predicted."""
    losses: dict[int, float]
    """Nats per token, by T."""


def evaluate_texts(
    pretrained: Pretrained, files: Sequence[Path], recurrences: Sequence[int], most_tokens: int
) -> list[TextLosses]:
    """Losses on each of `files`; without files on the embedded corpus' validation set.

    A file of more than `most_tokens` is sampled, in windows spread evenly over it.

    Only for byte models: ``InputError`` for another vocabulary. Models without a loop are evaluated at T = 1.
    """
    model, config = pretrained.model, pretrained.model.config
    if pretrained.tokenizer != BYTES:
        raise InputError(
            f"the model's {config.vocabulary:,} tokens are those of a tokenizer that is not stored with it; "
            "eval reads text as bytes, for models of 256 tokens"
        )
    if most_tokens < 1:
        raise InputError(f"cannot evaluate on {most_tokens} tokens; it takes at least 1")
    if min(recurrences) < 1:
        raise InputError(f"cannot evaluate at {min(recurrences)} recurrences; it takes at least 1")
    wanted = sorted(set(recurrences)) if config.has_loop else [1]
    texts: list[tuple[str, list[tuple[Tokens, Tokens]]]] = []
    for path in files:
        try:
            texts.append((str(path), windows(_bytes(path), config.context, most_tokens)))
        except InputError as error:
            raise InputError(f"cannot evaluate on {path}: {error}") from error
    if not files:
        texts.append((f"{EMBEDDED}, held out", [validation_set(load_corpus(EMBEDDED), config.context)]))
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    results = []
    for name, parts in texts:
        count = sum(targets.size for _, targets in parts)
        sums = dict.fromkeys(wanted, 0.0)
        for tokens, targets in parts:
            for t, loss in evaluate(model, tokens, targets, wanted).items():
                sums[t] += loss * targets.size
        losses = {t: total / count for t, total in sums.items()}
        results.append(TextLosses(text=name, tokens=count, losses=losses))
    return results


def _bytes(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}") from error
