"""Sources into tokenised shards, in parts: a killed preparation goes on after its last whole part.

A part is a stretch of documents, cut by their characters alone. Its shards are written first and the record
of all that was done until then last: what a kill leaves is made again, byte for byte.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np

from parcae.data.manifest import (
    MANIFEST,
    TOKENIZER,
    Manifest,
    PreparedText,
    Shard,
    SourceFile,
    open_prepared,
    token_type,
)
from parcae.data.packing import Packer, Tokens
from parcae.data.progress import SIDES, Kept, Progress
from parcae.data.sources import TEXT_COLUMN, find_files, read_documents, row_count
from parcae.data.tokenizer import (
    DOCUMENT_CHARACTERS,
    TRAINING_CHARACTERS,
    beginning,
    content_hash,
    load_tokenizer,
    train_tokenizer,
    vocabulary_of,
    with_beginning,
)
from parcae.errors import InputError
from parcae.files import clear_leftovers, write_atomically
from parcae.records import to_plain

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY, CONTEXT = 32_768, 2_048
"""Those of the paper's transformer setup."""
HELD_OUT_ONE_IN = 200
PART_CHARACTERS = 2**25
_BATCH_CHARACTERS = 2**20
_WORK, _REQUEST = ".preparing", "request.json"
Report = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """All that decides the shards, but for the sources' content."""

    recipe: str | None
    sources: tuple[tuple[str, int], ...]
    """Names and bytes of the files."""
    column: str
    articles: bool
    tokenizer: str | None
    """The hash of a tokenizer that was brought along; None if one is trained."""
    vocabulary: int
    training_characters: int
    document_characters: int
    context: int
    held_out_one_in: int
    part_characters: int


def prepare(
    sources: Sequence[str],
    folder: Path,
    *,
    recipe: str | None = None,
    column: str = TEXT_COLUMN,
    articles: bool = False,
    tokenizer: Path | None = None,
    vocabulary: int = VOCABULARY,
    training_characters: int = TRAINING_CHARACTERS,
    document_characters: int = DOCUMENT_CHARACTERS,
    context: int = CONTEXT,
    held_out_one_in: int = HELD_OUT_ONE_IN,
    part_characters: int = PART_CHARACTERS,
    report: Report = lambda what, share: None,
) -> PreparedText:
    """Tokenises `sources` into `folder`, or goes on with it; `report` hears the step and the share done.

    `recipe` is the named text that this is; the options are then the recipe's.

    ``InputError`` for sources that cannot be read or are empty, for a folder that holds something else, and
    for another process at work in it.
    """
    files = find_files(sources)
    given = with_beginning(load_tokenizer(tokenizer)) if tokenizer else None
    request = Request(
        recipe=recipe,
        sources=tuple((path.name, path.stat().st_size) for path in files),
        column=column,
        articles=articles,
        tokenizer=content_hash(given) if given else None,
        vocabulary=vocabulary_of(given) if given else vocabulary,
        training_characters=0 if given else training_characters,
        document_characters=0 if given else document_characters,
        context=context,
        held_out_one_in=held_out_one_in,
        part_characters=part_characters,
    )
    work = folder / _WORK
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot prepare text in {folder}: it is a file; name a folder")
    if not (folder / MANIFEST).is_file() and folder.is_dir() and not work.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something else; name a new or an empty folder")
    work.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(work / "lock", timeout=0):
            return _Preparation(files, folder, request, report).run(given)
    except filelock.Timeout:
        raise InputError(f"{folder} is being prepared by another process") from None


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Documents of one file, and where the one after them is."""

    texts: list[str]
    file: int
    documents: int
    finished: SourceFile | None
    """The file, where these are its last."""
    share: float
    """Of all sources, read up to here."""


class _Preparation:
    def __init__(self, files: list[Path], folder: Path, request: Request, report: Report) -> None:
        self.files, self.folder, self.request, self.report = files, folder, request, report
        self.work = folder / _WORK
        self.kept = Kept(self.work)
        self.bytes_total = max(1, sum(size for _, size in request.sources))

    def run(self, given: "Tokenizer | None") -> PreparedText:
        path = self.folder / _REQUEST
        content = _json(self.request)
        if path.is_file() and path.read_bytes() != content:
            raise InputError(
                f"{self.folder} was begun from other sources or with other options; name another folder, or "
                "remove this one"
            )
        if not (self.folder / MANIFEST).is_file():
            for pattern in ("*.bin", "*.json"):
                clear_leftovers(self.folder / pattern)
            try:
                self._tokenise(self._tokenizer(given, path, content))
            except InputError:
                if not any(self.folder.glob("*.bin")):  # nothing is lost, and the request may be changed
                    for name in (_REQUEST, TOKENIZER):
                        (self.folder / name).unlink(missing_ok=True)
                raise
        text = open_prepared(self.folder)
        for left in self.work.iterdir():
            if left.name != "lock":
                left.unlink()
        return text

    def _tokenizer(self, given: "Tokenizer | None", kept: Path, request: bytes) -> "Tokenizer":
        path = self.folder / TOKENIZER
        if not (kept.is_file() and path.is_file()):
            made = given or train_tokenizer(
                self._training_documents(),
                self.request.vocabulary,
                self.request.training_characters,
                self.request.document_characters,
            )
            write_atomically(kept, request)
            write_atomically(path, made.to_str(pretty=True).encode())
        return load_tokenizer(path)

    def _training_documents(self) -> Iterator[str]:
        documents = dict.fromkeys(SIDES, 0)
        for index in range(len(self.files)):
            for text, share in self._read(index):
                self.report("reading text for the tokenizer", share)
                held_out = self._held_out(text)
                documents[SIDES[held_out]] += 1
                if not held_out:
                    yield text
        self._check_sides(documents)
        self.report("training the tokenizer", 1.0)

    def _read(self, index: int) -> Iterator[tuple[str, float]]:
        """The documents of a file, each with the share of all sources that is read then, about."""
        path, size = self.files[index], self.request.sources[index][1]
        before = sum(bytes_before for _, bytes_before in self.request.sources[:index])
        rows = None if self.request.articles else row_count(path)
        characters = 0
        for number, text in enumerate(read_documents(path, self.request.column, self.request.articles), 1):
            characters += len(text)
            done = min(size, size * number // rows if rows else characters)
            yield text, (before + done) / self.bytes_total

    def _held_out(self, text: str) -> bool:
        digest = hashlib.sha256(text.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.request.held_out_one_in == 0

    def _check_sides(self, documents: dict[str, int]) -> None:
        """``InputError`` unless there are documents to train on and documents held out."""
        total, one_in = sum(documents.values()), self.request.held_out_one_in
        empty = next((side for side, count in documents.items() if not count), None)
        if empty is None:
            return
        if total == 0:
            raise InputError("the sources hold no text")
        if total == 1:
            raise InputError(
                "the sources hold one document, which is never cut; a text takes one to train on and one to "
                "hold out, so give its parts as lines of a .jsonl file"
            )
        found = "all" if empty == SIDES[0] else "none"
        raise InputError(
            f"{found} of the {total:,} documents are held out, where a hash chooses one in {one_in:,}; give "
            f"more documents, or a {'larger' if found == 'all' else 'smaller'} --held-out-one-in"
        )

    def _tokenise(self, tokenizer: "Tokenizer") -> None:
        progress, packers = self.kept.load(self.request.context + 1)
        rows: dict[str, list[Tokens]] = {side: [] for side in SIDES}
        first = beginning(tokenizer)
        characters = 0
        for batch, encodings in self._encoded(tokenizer, progress):
            for text, encoding in zip(batch.texts, encodings, strict=True):
                document = np.array([first, *encoding.ids], dtype=np.uint32)
                side = SIDES[self._held_out(text)]
                half = progress.half(side)
                half.documents += 1
                half.text_bytes += len(text.encode())
                half.tokens += len(document)
                rows[side] += packers[side].add(document)
            progress.file, progress.documents = batch.file, batch.documents
            progress.finished += [batch.finished] if batch.finished else []
            self.report("tokenising", batch.share)
            characters += sum(map(len, batch.texts))
            if characters >= self.request.part_characters:
                self._write_rows(progress, packers, rows)
                progress.parts += 1
                self.kept.save(progress, packers)
                characters = 0
        self._finish(tokenizer, progress, packers, rows)

    def _encoded(self, tokenizer: "Tokenizer", progress: Progress) -> Iterator[tuple[_Batch, list[Any]]]:
        """Batches and their encodings, each encoded while the one before is packed."""
        waiting: tuple[_Batch, Future[list[Any]]] | None = None
        with ThreadPoolExecutor(max_workers=1) as encoder:
            for batch in self._batches(progress.file, progress.documents):
                future = encoder.submit(tokenizer.encode_batch_fast, batch.texts, add_special_tokens=False)
                if waiting:
                    yield waiting[0], waiting[1].result()
                waiting = batch, future
            if waiting:
                yield waiting[0], waiting[1].result()

    def _batches(self, first: int, seen: int) -> Iterator[_Batch]:
        """The documents after the first `seen` of file number `first`.

        Batches end at characters and files alone, so that they, and the parts, are the same after a kill.
        """
        most = min(_BATCH_CHARACTERS, self.request.part_characters)
        for index in range(first, len(self.files)):
            digest = hashlib.sha256()
            texts: list[str] = []
            size = number = 0
            for number, (text, share) in enumerate(self._read(index), start=1):
                digest.update(hashlib.sha256(text.encode()).digest())
                if index == first and number <= seen:
                    continue
                texts.append(text)
                size += len(text)
                if size >= most:
                    yield _Batch(texts=texts, file=index, documents=number, finished=None, share=share)
                    texts, size = [], 0
            name, bytes_read = self.request.sources[index]
            share = sum(size for _, size in self.request.sources[: index + 1]) / self.bytes_total
            source = SourceFile(name=name, bytes=bytes_read, documents=number, hash=digest.hexdigest())
            yield _Batch(texts=texts, file=index + 1, documents=0, finished=source, share=share)

    def _write_rows(
        self, progress: Progress, packers: dict[str, Packer], rows: dict[str, list[Tokens]]
    ) -> None:
        for side in SIDES:
            half = progress.half(side)
            half.cropped += packers[side].cropped
            packers[side].cropped = 0
            if not rows[side]:
                continue
            name = f"{side}-{progress.parts:05d}.bin"
            content = np.stack(rows[side]).astype(token_type(self.request.vocabulary)).tobytes()
            write_atomically(self.folder / name, content)
            digest = hashlib.sha256(content).hexdigest()
            half.shards.append(Shard(name=name, rows=len(rows[side]), hash=digest))
            rows[side] = []

    def _finish(
        self,
        tokenizer: "Tokenizer",
        progress: Progress,
        packers: dict[str, Packer],
        rows: dict[str, list[Tokens]],
    ) -> None:
        self._check_sides({side: progress.half(side).documents for side in SIDES})
        for side in SIDES:
            # A last row that is not full is filled up with what is there: no padding, nothing left out.
            left = np.concatenate([*packers[side].waiting, *rows[side][:1]])
            rows[side] += packers[side].finish(left)
        self._write_rows(progress, packers, rows)
        manifest = Manifest(
            recipe=self.request.recipe,
            sources=tuple(progress.finished),
            tokenizer=content_hash(tokenizer),
            vocabulary=vocabulary_of(tokenizer),
            context=self.request.context,
            held_out_one_in=self.request.held_out_one_in,
            train=progress.train.freeze(),
            validation=progress.validation.freeze(),
        )
        write_atomically(self.folder / MANIFEST, _json(manifest))


def _json(record: Request | Manifest) -> bytes:
    return json.dumps(to_plain(record), indent=2).encode() + b"\n"
