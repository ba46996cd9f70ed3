"""What a preparation has done so far, so that one that was killed goes on after its last whole part."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from parcae.data.manifest import Shard, Side, SourceFile
from parcae.data.packing import Packer, Tokens
from parcae.files import read_json, write_atomically
from parcae.records import from_plain, to_plain

SIDES = ("train", "validation")


@dataclass(kw_only=True)
class Half:
    """One side of the split, as far as it is done; see `manifest.Side`."""

    shards: list[Shard] = field(default_factory=list)
    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    cropped: int = 0

    def freeze(self) -> Side:
        return Side(
            shards=tuple(self.shards),
            documents=self.documents,
            text_bytes=self.text_bytes,
            tokens=self.tokens,
            cropped=self.cropped,
        )


@dataclass(kw_only=True)
class Progress:
    """Where the next part begins, and what the parts before it held."""

    parts: int = 0
    file: int = 0
    """Files that are done."""
    documents: int = 0
    """Documents taken from the file after them."""
    finished: list[SourceFile] = field(default_factory=list)
    train: Half = field(default_factory=Half)
    validation: Half = field(default_factory=Half)

    def half(self, side: str) -> Half:
        return self.train if side == "train" else self.validation


class Kept:
    """Progress, and the documents that wait to be packed, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._file = folder, folder / "progress.json"

    def _waiting(self, parts: int) -> Path:
        return self._folder / f"waiting-{parts:05d}.npz"

    def load(self, row_tokens: int) -> tuple[Progress, dict[str, Packer]]:
        """As they were saved last, or at the beginning."""
        if not self._file.is_file():
            return Progress(), {side: Packer(row_tokens) for side in SIDES}
        progress = from_plain(Progress, read_json(self._file), str(self._file))
        packers = {}
        with np.load(self._waiting(progress.parts)) as saved:
            for side in SIDES:
                ends = np.cumsum(saved[f"{side}_lengths"])
                waiting: list[Tokens] = np.split(saved[side], ends[:-1]) if len(ends) else []
                packers[side] = Packer(row_tokens, waiting)
        return progress, packers

    def save(self, progress: Progress, packers: dict[str, Packer]) -> None:
        """The record last: until it is there, the part before is the last one."""
        saved = {}
        for side, packer in packers.items():
            saved[side] = np.concatenate([np.empty(0, np.uint32), *packer.waiting])
            saved[f"{side}_lengths"] = np.array([len(d) for d in packer.waiting], dtype=np.int64)
        with self._waiting(progress.parts).open("wb") as file:
            np.savez(file, **saved)  # type: ignore[arg-type]
        write_atomically(self._file, json.dumps(to_plain(progress)).encode())
        self._waiting(progress.parts - 1).unlink(missing_ok=True)
