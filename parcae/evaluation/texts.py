"""The losses of a trained model on texts, at every test recurrence in one pass, in units that compare.

Nats per token compare models of one tokenizer; bits per byte compare all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from parcae.config import ModelConfig
from parcae.data.batches import validation_set, windows
from parcae.data.tokenizer import BYTES, beginning, content_hash, load_tokenizer, token_bytes, tokenizer_hash
from parcae.data.windows import Text, Tokens
from parcae.errors import InputError
from parcae.formats.pretrained import Pretrained
from parcae.losses.evaluate import evaluate

TEST_RECURRENCES = (1, 2, 4, 6, 8, 10, 12, 16, 20, 24)
"""The T of the paper's unified law."""
Part = tuple[Tokens, Tokens]
Ids = npt.NDArray[np.unsignedinteger]


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
    reader = _reader(pretrained)
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
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
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


class _ByteReader:
    """Text as bytes, whatever they are; a NUL begins a document."""

    def __init__(self) -> None:
        self.hash = tokenizer_hash(BYTES)
        self.sizes = np.ones(256, dtype=np.int64)
        self.sizes[0] = 0

    def read(self, path: Path) -> Ids:
        return np.frombuffer(_content(path), dtype=np.uint8)

    def encode(self, document: bytes) -> Ids:
        return np.frombuffer(b"\0" + document, dtype=np.uint8)


class _TokenReader:
    """Text by a tokenizer.json, after the beginning of a document."""

    def __init__(self, file: Path, vocabulary: int) -> None:
        self._tokenizer = load_tokenizer(file)
        self.hash = content_hash(self._tokenizer)
        self.sizes = token_bytes(self._tokenizer)
        if len(self.sizes) > vocabulary:
            raise InputError(
                f"the tokenizer {file} has {len(self.sizes):,} entries and the model {vocabulary:,}; it is "
                "another model's"
            )

    def read(self, path: Path) -> Ids:
        return self.encode(_content(path))

    def encode(self, document: bytes) -> Ids:
        try:
            text = document.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"it is not UTF-8: {error}") from error
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        first = beginning(self._tokenizer)
        return np.array([*([] if first is None else [first]), *encoding.ids], dtype=np.uint32)


def _translated(
    text: Text, reader: "_ByteReader | _TokenReader", model: ModelConfig, most_tokens: int
) -> list[Part]:
    """The first documents of the validation half, by the model's own tokenizer."""
    documents: list[Ids] = []
    tokens = 0
    for document in text.validation_documents():
        documents.append(reader.encode(document))
        tokens += len(documents[-1])
        if tokens > most_tokens:
            break
    return windows(np.concatenate(documents)[: most_tokens + 1], model.context)


def _reader(pretrained: Pretrained) -> _ByteReader | _TokenReader:
    if pretrained.tokenizer == BYTES:
        return _ByteReader()
    vocabulary = pretrained.model.config.vocabulary
    if pretrained.tokenizer_file is None:
        raise InputError(
            f"the model's {vocabulary:,} tokens are another tokenizer's, which is not with it; put its "
            "tokenizer.json into the model's folder"
        )
    return _TokenReader(pretrained.tokenizer_file, vocabulary)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read it: {error.strerror}") from error
