"""Text to a model's tokens and back, by the tokenizer that belongs to the model."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from parcae.data.tokenizer import BYTES, beginning, content_hash, load_tokenizer, token_bytes, tokenizer_hash
from parcae.errors import InputError
from parcae.formats.pretrained import Pretrained

Ids = npt.NDArray[np.unsignedinteger]


class Reader(Protocol):
    """Reads and writes the tokens of one model."""

    @property
    def hash(self) -> str:
        """The tokenizer's."""

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """UTF-8 bytes that each token stands for, (vocabulary,)."""

    @property
    def first(self) -> int | None:
        """The token with which a document begins; None if there is none."""

    def plain(self, text: str) -> list[int]:
        """The tokens of `text`, without a beginning."""

    def text(self, tokens: list[int]) -> str:
        """What `tokens` stand for; U+FFFD for bytes that are not UTF-8."""

    def read(self, path: Path) -> Ids:
        """The tokens of a file. ``InputError`` if it cannot be read."""

    def encode(self, document: bytes) -> Ids:
        """The tokens of a document of UTF-8, after its beginning."""


class _ByteReader:
    """Text as bytes, whatever they are; a NUL begins a document."""

    first: int | None = 0

    def __init__(self) -> None:
        self.hash = tokenizer_hash(BYTES)
        self.sizes = np.ones(256, dtype=np.int64)
        self.sizes[0] = 0

    def plain(self, text: str) -> list[int]:
        return list(text.encode())

    def text(self, tokens: list[int]) -> str:
        return bytes(tokens).decode(errors="replace")

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
        self.first = beginning(self._tokenizer)
        if len(self.sizes) > vocabulary:
            raise InputError(
                f"the tokenizer {file} has {len(self.sizes):,} entries and the model {vocabulary:,}; it is "
                "another model's"
            )

    def plain(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=False))

    def read(self, path: Path) -> Ids:
        return self.encode(_content(path))

    def encode(self, document: bytes) -> Ids:
        try:
            text = document.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"it is not UTF-8: {error}") from error
        return np.array(document_tokens(self, text), dtype=np.uint32)


def document_tokens(reader: Reader, text: str) -> list[int]:
    """The tokens of `text` as a document begins with it: after its beginning, if the tokenizer has one."""
    return [*([] if reader.first is None else [reader.first]), *reader.plain(text)]


def reader_of(pretrained: Pretrained) -> Reader:
    """The reader of a model's text. ``InputError`` for a model whose tokenizer is not with it."""
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
