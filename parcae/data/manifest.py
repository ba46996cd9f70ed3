"""What a folder of prepared text holds: the record beside its shards, and the shards mapped into memory."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from parcae.data.tokenizer import beginning, content_hash, load_tokenizer
from parcae.data.windows import RowWindows
from parcae.errors import InputError
from parcae.files import read_json
from parcae.records import from_plain

MANIFEST, TOKENIZER = "manifest.json", "tokenizer.json"
State = tuple[int, int]
"""Bytes and time of last change of a file, nanoseconds."""


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that was read."""

    name: str
    bytes: int
    documents: int
    hash: str
    """SHA-256 over its documents, so that another compression of the same text is the same text."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file of rows, each of context + 1 tokens, little-endian."""

    name: str
    rows: int
    hash: str
    """SHA-256 of the file."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """The training or the validation half."""

    shards: tuple[Shard, ...]
    documents: int
    text_bytes: int
    """UTF-8 bytes of the documents."""
    tokens: int
    """Tokens of the documents, each one's beginning included, before cropping."""
    cropped: int
    """Of them, tokens that no row holds."""

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was prepared, and how."""

    recipe: str | None
    """The named text that it was prepared as."""
    sources: tuple[SourceFile, ...]
    tokenizer: str
    """The tokenizer's hash."""
    vocabulary: int
    context: int
    held_out_one_in: int
    train: Side
    validation: Side

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that change when a token of a row, or what it stands for, would."""
        shards = [shard.hash for side in (self.train, self.validation) for shard in side.shards]
        content = json.dumps([self.tokenizer, self.vocabulary, self.context, shards], separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes for a token of the documents, the added beginnings left out."""
        sides = (self.train, self.validation)
        tokens = sum(side.tokens - side.documents for side in sides)
        return sum(side.text_bytes for side in sides) / max(tokens, 1)


@dataclass(frozen=True)
class PreparedText:
    """Rows of tokens on disk; nothing is read until it is asked for."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The recipe's, or else the folder's."""
        return self.manifest.recipe or self.folder.resolve().name

    @property
    def hash(self) -> str:
        return self.manifest.hash

    @property
    def tokenizer(self) -> str:
        return self.manifest.tokenizer

    @property
    def vocabulary(self) -> int:
        return self.manifest.vocabulary

    def training_windows(self, context: int) -> RowWindows:
        return self._windows(self.manifest.train, context)

    def validation_windows(self, context: int) -> RowWindows:
        return self._windows(self.manifest.validation, context)

    def validation_documents(self) -> Iterator[bytes]:
        tokenizer = load_tokenizer(self.folder / TOKENIZER)
        first = beginning(tokenizer)
        for shard in self.rows(self.manifest.validation):
            for row in shard:
                for tokens in np.split(row, np.flatnonzero(row == first)[1:]):
                    yield tokenizer.decode(tokens[1:].tolist()).encode()

    def _windows(self, side: Side, context: int) -> RowWindows:
        if context > self.manifest.context:
            raise InputError(
                f"the text {self.folder} was prepared for a context of {self.manifest.context}, not "
                f"{context}; prepare it again with --context {context}"
            )
        return RowWindows(self.rows(side), context)

    def rows(self, side: Side) -> list[npt.NDArray[np.unsignedinteger]]:
        """The shards of `side`, mapped, each (rows, context + 1)."""
        row = self.manifest.context + 1
        kind = token_type(self.manifest.vocabulary)
        mapped: list[npt.NDArray[np.unsignedinteger]] = []
        for shard in side.shards:
            path = self.folder / shard.name
            size = path.stat().st_size if path.is_file() else -1
            if size != shard.rows * row * kind.itemsize:
                raise InputError(f"{path} is missing or cut short; prepare {self.folder} again")
            mapped.append(np.memmap(path, dtype=kind, mode="r", shape=(shard.rows, row)))
        return mapped


def token_type(vocabulary: int) -> np.dtype:
    """The smallest type that holds every token."""
    return np.dtype("<u2") if vocabulary <= 2**16 else np.dtype("<u4")


def open_prepared(folder: Path) -> PreparedText:
    """The text prepared in `folder`; ``InputError`` if there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder} holds no prepared text; `parcae-sweep data prepare SOURCE --out {folder}` makes it"
        )
    return PreparedText(folder, from_plain(Manifest, read_json(path), str(path)))


def verify(text: PreparedText, known: Mapping[str, State] = MappingProxyType({})) -> dict[str, State]:
    """Compares the files of `text` with its manifest; their states, to be `known` the next time.

    A file that is in the state in which it was found right before is not read again. ``InputError`` names the
    first one that is wrong.
    """
    states = {}
    shards = [shard for side in (text.manifest.train, text.manifest.validation) for shard in side.shards]
    for side in (text.manifest.train, text.manifest.validation):
        text.rows(side)  # all are there, and none is cut short
    for name in (TOKENIZER, *(shard.name for shard in shards)):
        states[name] = _state(text.folder / name)
    tokenizer = text.folder / TOKENIZER
    if (
        states[TOKENIZER] != known.get(TOKENIZER)
        and content_hash(load_tokenizer(tokenizer)) != text.tokenizer
    ):
        raise InputError(f"{tokenizer} is not the tokenizer that the shards were made with")
    for shard in shards:
        if states[shard.name] != known.get(shard.name) and file_hash(text.folder / shard.name) != shard.hash:
            raise InputError(f"{text.folder / shard.name} has changed since it was prepared")
    return states


def _state(path: Path) -> State:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    return stat.st_size, stat.st_mtime_ns


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
