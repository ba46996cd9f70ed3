"""Real text that every machine with Python has: the standard library's source and its documentation topics.

Documents are files (or topics), joined by a NUL byte, which no source file holds. One in twenty is held out,
chosen by a hash of its name, so that the split does not depend on the order in which a disk lists files.
"""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from parcae.data.tokenizer import BYTES, tokenizer_hash
from parcae.data.windows import PlainWindows
from parcae.errors import InputError

EMBEDDED = "python-stdlib"
HELD_OUT_ONE_IN = 20
_SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3", "__pycache__"}
_SEPARATOR = b"\0"


@dataclass(frozen=True)
class Corpus:
    """A text as byte tokens."""

    name: str
    hash: str
    """16 hexadecimal digits of SHA-256 over every document's name, content and side of the split."""
    train: np.ndarray = field(repr=False)
    """uint8, shape (bytes,)."""
    validation: np.ndarray = field(repr=False)
    """uint8, shape (bytes,)."""

    @property
    def tokenizer(self) -> str:
        return tokenizer_hash(BYTES)

    @property
    def vocabulary(self) -> int:
        return 256

    def training_windows(self, context: int) -> PlainWindows:
        """As many as fit whatever the offset, 0 to context - 1."""
        return PlainWindows(
            self.train, context, self._count("training", self.train, context, context), offsets=context
        )

    def validation_windows(self, context: int) -> PlainWindows:
        return PlainWindows(self.validation, context, self._count("validation", self.validation, context, 0))

    def validation_documents(self) -> Iterator[bytes]:
        for document in self.validation.tobytes().removeprefix(_SEPARATOR).split(_SEPARATOR):
            yield document.decode(errors="replace").encode()

    def _count(self, side: str, text: np.ndarray, context: int, spare: int) -> int:
        count = (len(text) - 1 - spare) // context
        if count < 1:
            raise InputError(
                f"corpus {self.name} has {len(text)} {side} tokens; a context of {context} needs at least "
                f"{context + spare + 1}"
            )
        return count


@cache
def load_corpus(name: str) -> Corpus:
    """The corpus called `name`. ``InputError`` names those there are."""
    if name != EMBEDDED:
        raise InputError(f"there is no corpus {name!r}; there is {EMBEDDED}")
    digest = hashlib.sha256()
    sides: dict[bool, list[bytes]] = {True: [], False: []}
    for title, text in sorted(_documents()):
        held_out = hashlib.sha256(title.encode()).digest()[0] % HELD_OUT_ONE_IN == 0
        for part in (title.encode(), text, b"held out" if held_out else b"train"):
            digest.update(len(part).to_bytes(8, "little") + part)
        sides[held_out].append(text.replace(_SEPARATOR, b" "))
    train, validation = (
        np.frombuffer(_SEPARATOR.join([b"", *sides[side]]), dtype=np.uint8) for side in (False, True)
    )
    return Corpus(name=name, hash=digest.hexdigest()[:16], train=train, validation=validation)


def _documents() -> list[tuple[str, bytes]]:
    from pydoc_data.topics import topics

    root = Path(sysconfig.get_path("stdlib"))
    documents = [(f"topic:{title}", text.encode()) for title, text in topics.items()]
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED]
        for path in (Path(folder, name) for name in names if name.endswith(".py")):
            title = path.relative_to(root).as_posix()
            if title != "pydoc_data/topics.py" and path.is_file():
                documents.append((title, path.read_bytes()))
    return documents
