"""Text to tokens: bytes, or a byte-level BPE that is trained here or brought along as a tokenizer.json."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from parcae.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BYTES = "bytes"
"""One token per byte: a vocabulary of 256, nothing to train."""
BOS, EOS, PAD = SPECIAL_TOKENS = ("<|bos|>", "<|eos|>", "<|pad|>")
_BEGINNINGS = (BOS, "<|begin_of_text|>", "<|startoftext|>", "<s>", "<bos>", "<|endoftext|>")
"""By what name tokenizers know a document's beginning; GPT-2 puts its end there."""
TRAINING_CHARACTERS = 2_000_000_000
"""The tokenizer of the paper saw up to as many."""
DOCUMENT_CHARACTERS = 10_000
"""The tokenizer of the paper saw no more of one document."""
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)
# GPT-4's pattern, with numbers of at most two digits, as nanochat has it for small vocabularies.
_SPLIT = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)


def tokenizer_hash(name: str) -> str:
    """16 hexadecimal digits that change when the tokens of a text would."""
    if name != BYTES:
        raise InputError(f"there is no tokenizer {name!r}; there is {BYTES}")
    return hashlib.sha256(b"utf-8 bytes, vocabulary 256").hexdigest()[:16]


def content_hash(tokenizer: "Tokenizer") -> str:
    """16 hexadecimal digits of SHA-256 over the tokenizer's own JSON, however the file is laid out."""
    content = json.dumps(json.loads(tokenizer.to_str()), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def train_tokenizer(
    documents: Iterable[str],
    vocabulary: int,
    characters: int = TRAINING_CHARACTERS,
    document_characters: int = DOCUMENT_CHARACTERS,
) -> "Tokenizer":
    """Byte-level BPE of `vocabulary` entries from the first `characters` of `documents` (SCIENCE: Data).

    Of each document it sees the first `document_characters`.

    ``InputError`` for a vocabulary that cannot hold every byte, or that the text is too small to fill.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocabulary < SMALLEST_VOCABULARY:
        raise InputError(
            f"a vocabulary of {vocabulary} is too small; 256 bytes and {len(SPECIAL_TOKENS)} special tokens "
            f"take {SMALLEST_VOCABULARY}"
        )
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=0,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=list(SPECIAL_TOKENS),
    )
    tokenizer.train_from_iterator(_sample(documents, characters, document_characters), trainer)
    reached = tokenizer.get_vocab_size()
    if reached < vocabulary:
        raise InputError(
            f"the text is too small for a vocabulary of {vocabulary}; it gives {reached} entries, so ask for "
            "no more"
        )
    return _plain_specials(tokenizer)


def load_tokenizer(path: Path) -> "Tokenizer":
    """The tokenizer in a tokenizer.json, ours or anybody's. ``InputError`` for a file that is none."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises a bare Exception
        raise InputError(f"cannot read {path} as a tokenizer.json: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return _plain_specials(tokenizer)


def beginning(tokenizer: "Tokenizer") -> int | None:
    """The token that a document begins with; None if it has none of the usual names."""
    found = (tokenizer.token_to_id(name) for name in _BEGINNINGS)
    return next((token for token in found if token is not None), None)


def with_beginning(tokenizer: "Tokenizer") -> "Tokenizer":
    """`tokenizer`, which gets <|bos|> as one entry more if it has no beginning."""
    if beginning(tokenizer) is None:
        tokenizer.add_special_tokens([BOS])
    return tokenizer


def vocabulary_of(tokenizer: "Tokenizer") -> int:
    """Entries that a model needs: one more than the highest."""
    return max(tokenizer.get_vocab().values()) + 1


def _plain_specials(tokenizer: "Tokenizer") -> "Tokenizer":
    # A document that spells out <|bos|> must not begin another document there.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _sample(documents: Iterable[str], characters: int, of_each: int) -> Iterator[str]:
    for document in documents:
        part = document[: min(of_each, characters)]
        characters -= len(part)
        yield part
        if characters <= 0:
            return


def token_bytes(tokenizer: "Tokenizer") -> npt.NDArray[np.int64]:
    """UTF-8 bytes of text that each entry stands for, (vocabulary,); 0 for special tokens."""
    plain = json.loads(tokenizer.to_str())
    added = {entry["content"]: entry["special"] for entry in plain["added_tokens"]}
    byte_level = '"ByteLevel"' in json.dumps(plain["decoder"])
    sizes = np.zeros(vocabulary_of(tokenizer), dtype=np.int64)
    for token, number in tokenizer.get_vocab().items():
        if added.get(token):
            continue
        if byte_level and token not in added:  # each byte is written as one character
            sizes[number] = len(token)
        elif re.fullmatch(r"<0x[0-9A-F]{2}>", token):
            sizes[number] = 1
        else:
            sizes[number] = len(token.replace("▁", " ").encode())
    return sizes
