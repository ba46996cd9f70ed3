"""Text to tokens."""

import hashlib

from parcae.errors import InputError

BYTES = "bytes"
"""One token a byte: a vocabulary of 256, nothing to train."""


def tokenizer_hash(name: str) -> str:
    """16 hexadecimal digits that change when the tokens of a text would."""
    if name != BYTES:
        raise InputError(f"there is no tokenizer {name!r}; there is {BYTES}")
    return hashlib.sha256(b"utf-8 bytes, vocabulary 256").hexdigest()[:16]
