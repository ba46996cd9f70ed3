"""Sources into tokenised shards, in parts: a killed preparation goes on after its last whole part.

A part is a stretch of documents, cut by their characters alone. Its shards are written first and the record
of all that was done until then, `progress.json`, last: what a kill leaves is made again, byte for byte.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import msgspec
import numpy as np

from parcae.data.manifest import (
    MANIFEST,
    TOKENIZER,
    Manifest,
    PreparedText,
    Shard,
    Side,
    SourceFile,
    open_prepared,
    token_type,
)
from parcae.data.packing import Packer, Tokens
from parcae.data.sources import TEXT_COLUMN, find_files, read_documents
from parcae.data.tokenizer import BOS, TRAINING_CHARACTERS, content_hash, load_tokenizer, train_tokenizer
from parcae.errors import InputError
from parcae.files import clear_leftovers, write_atomically

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY, CONTEXT = 32_768, 2_048
"""Those of the paper's transformer setup."""
HELD_OUT_ONE_IN = 200
PART_CHARACTERS = 2**25
_BATCH_CHARACTERS = 2**20
_WORK = ".preparing"
SIDES = ("train", "validation")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides the shards, but for the sources' content."""

    sources: tuple[tuple[str, int], ...]
    """Names and bytes of the files."""
    column: str
    tokenizer: str | None
    """The hash of a tokenizer that was brought along; None if one is trained."""
    vocabulary: int
    training_characters: int
    context: int
    held_out_one_in: int
    part_characters: int


class _Half(msgspec.Struct, kw_only=True):
    shards: list[Shard] = []
    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    cropped: int = 0

    def freeze(self) -> Side:
        return Side(**{**msgspec.structs.asdict(self), "shards": tuple(self.shards)})


class _Progress(msgspec.Struct, kw_only=True):
    request: Request
    parts: int = 0
    file: int = 0
    documents: int = 0
    """Documents taken from that file."""
    finished: list[SourceFile] = []
    train: _Half = msgspec.field(default_factory=_Half)
    validation: _Half = msgspec.field(default_factory=_Half)

    def half(self, side: str) -> _Half:
        return self.train if side == "train" else self.validation


def prepare(
    sources: Sequence[str],
    folder: Path,
    *,
    column: str = TEXT_COLUMN,
    tokenizer: Path | None = None,
    vocabulary: int = VOCABULARY,
    training_characters: int = TRAINING_CHARACTERS,
    context: int = CONTEXT,
    held_out_one_in: int = HELD_OUT_ONE_IN,
    part_characters: int = PART_CHARACTERS,
    report: Callable[[str, float], None] = lambda what, share: None,
) -> PreparedText:
    """Tokenises `sources` into `folder`, or goes on with it; `report` hears the step and the share done.

    ``InputError`` for sources that cannot be read or are empty, for a folder that holds something else, and
    for another process at work in it.
    """
    files = find_files(sources)
    given = load_tokenizer(tokenizer) if tokenizer else None
    request = Request(
        sources=tuple((path.name, path.stat().st_size) for path in files),
        column=column,
        tokenizer=content_hash(given) if given else None,
        vocabulary=given.get_vocab_size() if given else vocabulary,
        training_characters=0 if given else training_characters,
        context=context,
        held_out_one_in=held_out_one_in,
        part_characters=part_characters,
    )
    work = folder / _WORK
    if not (folder / MANIFEST).is_file() and folder.is_dir() and not work.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something else; name a new or an empty folder")
    work.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(work / "lock", timeout=0):
            return _Preparation(files, folder, request, report).run(given)
    except filelock.Timeout:
        raise InputError(f"{folder} is being prepared by another process") from None


class _Preparation:
    def __init__(
        self, files: list[Path], folder: Path, request: Request, report: Callable[[str, float], None]
    ) -> None:
        self.files, self.folder, self.request, self.report = files, folder, request, report
        self.work = folder / _WORK
        self.progress_file = self.work / "progress.json"
        self.bytes_total = max(1, sum(size for _, size in request.sources))

    def run(self, given: "Tokenizer | None") -> PreparedText:
        kept = self.folder / "request.json"
        content = msgspec.json.format(msgspec.json.encode(self.request))
        if kept.is_file() and kept.read_bytes() != content:
            raise InputError(
                f"{self.folder} was begun from other sources or with other options; name another folder, or "
                "remove this one"
            )
        if not (self.folder / MANIFEST).is_file():
            for pattern in ("*.bin", "*.json"):
                clear_leftovers(self.folder / pattern)
            self._tokenise(self._tokenizer(given, kept, content))
        text = open_prepared(self.folder)
        self._clear_work()
        return text

    def _clear_work(self) -> None:
        for path in self.work.iterdir():
            if path.name != "lock":
                path.unlink()

    def _tokenizer(self, given: "Tokenizer | None", kept: Path, request: bytes) -> "Tokenizer":
        path = self.folder / TOKENIZER
        if not (kept.is_file() and path.is_file()):
            self.report("training the tokenizer", 0.0)
            made = given or train_tokenizer(
                (text for text in self._documents() if not self._held_out(text)),
                self.request.vocabulary,
                self.request.training_characters,
            )
            write_atomically(kept, request)  # only now: a request that failed may be changed
            write_atomically(path, made.to_str(pretty=True).encode())
        return load_tokenizer(path)

    def _documents(self) -> Iterator[str]:
        for path in self.files:
            yield from read_documents(path, self.request.column)

    def _held_out(self, text: str) -> bool:
        digest = hashlib.sha256(text.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.request.held_out_one_in == 0

    def _load_progress(self) -> tuple[_Progress, dict[str, list[Tokens]]]:
        if not self.progress_file.is_file():
            return _Progress(request=self.request), {side: [] for side in SIDES}
        progress = msgspec.json.decode(self.progress_file.read_bytes(), type=_Progress)
        with np.load(self._waiting_file(progress.parts)) as saved:
            waiting = {
                side: np.split(saved[side], np.cumsum(saved[f"{side}_lengths"])[:-1])
                if len(saved[f"{side}_lengths"])
                else []
                for side in SIDES
            }
        return progress, waiting

    def _waiting_file(self, parts: int) -> Path:
        return self.work / f"waiting-{parts:05d}.npz"

    def _tokenise(self, tokenizer: "Tokenizer") -> None:
        progress, waiting = self._load_progress()
        packers = {side: Packer(self.request.context + 1, waiting[side]) for side in SIDES}
        rows: dict[str, list[Tokens]] = {side: [] for side in SIDES}
        bos = tokenizer.token_to_id(BOS)
        characters = 0
        for batch in self._batches(progress):
            encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            for text, encoding in zip(batch, encodings, strict=True):
                document = np.array([bos, *encoding.ids], dtype=np.uint32)
                side = SIDES[self._held_out(text)]
                half = progress.half(side)
                half.documents += 1
                half.text_bytes += len(text.encode())
                half.tokens += len(document)
                rows[side] += packers[side].add(document)
            characters += sum(map(len, batch))
            if characters >= self.request.part_characters:
                self._close_part(progress, packers, rows)
                characters = 0
        self._finish(tokenizer, progress, packers, rows)

    def _batches(self, progress: _Progress) -> Iterator[list[str]]:
        """The documents that `progress` has not seen, a batch at a time; it is brought up to each batch.

        Batches end at characters and files alone, so that they, and the parts, are the same after a kill.
        """
        most = min(_BATCH_CHARACTERS, self.request.part_characters)
        while progress.file < len(self.files):
            path, seen = self.files[progress.file], progress.documents
            digest = hashlib.sha256()
            batch: list[str] = []
            size = 0
            for index, text in enumerate(read_documents(path, self.request.column)):
                digest.update(hashlib.sha256(text.encode()).digest())
                if index < seen:
                    continue
                batch.append(text)
                size += len(text)
                if size >= most:
                    progress.documents += len(batch)
                    yield batch
                    batch, size = [], 0
            progress.finished.append(
                SourceFile(name=path.name, bytes=path.stat().st_size, hash=digest.hexdigest())
            )
            progress.file, progress.documents = progress.file + 1, 0
            done = sum(source.bytes for source in progress.finished)
            self.report("tokenising", done / self.bytes_total)
            if batch:
                yield batch

    def _write_rows(self, progress: _Progress, rows: dict[str, list[Tokens]]) -> None:
        for side in SIDES:
            if rows[side]:
                name = f"{side}-{progress.parts:05d}.bin"
                content = np.stack(rows[side]).astype(token_type(self.request.vocabulary)).tobytes()
                write_atomically(self.folder / name, content)
                digest = hashlib.sha256(content).hexdigest()
                progress.half(side).shards.append(Shard(name=name, rows=len(rows[side]), hash=digest))
                rows[side] = []

    def _close_part(
        self, progress: _Progress, packers: dict[str, Packer], rows: dict[str, list[Tokens]]
    ) -> None:
        self._write_rows(progress, rows)
        progress.parts += 1
        saved = {}
        for side, packer in packers.items():
            progress.half(side).cropped += packer.cropped
            packer.cropped = 0
            saved[side] = np.concatenate([np.empty(0, np.uint32), *packer.waiting])
            saved[f"{side}_lengths"] = np.array([len(d) for d in packer.waiting], dtype=np.int64)
        with self._waiting_file(progress.parts).open("wb") as file:
            np.savez(file, **saved)  # type: ignore[arg-type]
        write_atomically(self.progress_file, msgspec.json.encode(progress))
        self._waiting_file(progress.parts - 1).unlink(missing_ok=True)

    def _finish(
        self,
        tokenizer: "Tokenizer",
        progress: _Progress,
        packers: dict[str, Packer],
        rows: dict[str, list[Tokens]],
    ) -> None:
        for side in SIDES:
            if not progress.half(side).documents:
                raise InputError(
                    f"the sources give no {side} document; they need more documents, or --held-out-one-in "
                    f"other than {self.request.held_out_one_in}"
                )
            # A last row that is not full is filled up with what is there: no padding, nothing left out.
            left = np.concatenate([*packers[side].waiting, *rows[side][:1]])
            rows[side] += packers[side].finish(left)
            progress.half(side).cropped += packers[side].cropped
        self._write_rows(progress, rows)
        manifest = Manifest(
            sources=tuple(progress.finished),
            tokenizer=content_hash(tokenizer),
            vocabulary=tokenizer.get_vocab_size(),
            context=self.request.context,
            held_out_one_in=self.request.held_out_one_in,
            train=progress.train.freeze(),
            validation=progress.validation.freeze(),
        )
        write_atomically(self.folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
