"""What a preparation has done so far, so that one that was killed goes on after its last whole part."""

from pathlib import Path

import msgspec
import numpy as np

from parcae.data.manifest import Shard, Side, SourceFile
from parcae.data.packing import Packer, Tokens
from parcae.files import write_atomically

SIDES = ("train", "validation")


class Half(msgspec.Struct, kw_only=True):
    """One side of the split, as far as it is done; see `manifest.Side`."""

    shards: list[Shard] = []
    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    cropped: int = 0

    def freeze(self) -> Side:
        return Side(**{**msgspec.structs.asdict(self), "shards": tuple(self.shards)})


class Progress(msgspec.Struct, kw_only=True):
    """Where the next part begins, and what the parts before it held."""

    parts: int = 0
    file: int = 0
    """Files that are done."""
    documents: int = 0
    """Documents taken from the file after them."""
    finished: list[SourceFile] = []
    train: Half = msgspec.field(default_factory=Half)
    validation: Half = msgspec.field(default_factory=Half)

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
        progress = msgspec.json.decode(self._file.read_bytes(), type=Progress)
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
        write_atomically(self._file, msgspec.json.encode(progress))
        self._waiting(progress.parts - 1).unlink(missing_ok=True)
