"""Documents from files, in a stream: Parquet, JSON lines (.gz, .zst too) and plain text, through DuckDB.

The files are on this disk, or are downloaded once from a Hugging Face dataset and read from its cache.

The order is that of the sorted paths and of the rows within each file, the same on every machine.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from parcae.errors import InputError

if TYPE_CHECKING:
    import duckdb

TEXT_COLUMN = "text"
LARGEST_PLAIN_TEXT = 64 * 2**20
"""A plain file is one document, held in memory; a larger one belongs in JSON lines."""
_PARQUET = (".parquet",)
_JSON_LINES = tuple(f"{name}{packed}" for name in (".jsonl", ".ndjson") for packed in ("", ".gz", ".zst"))
_PLAIN = (".txt", ".md")
HUB = "hf://datasets/"
_ARTICLE = re.compile(r"\s*= (?!= ).* =\s*")
"""The line of WikiText with which an article begins; its sections have more signs."""
_TEXT_TYPES = ("VARCHAR", "NULL")
_ROWS_AT_ONCE = 256
_READER_MEMORY = "256MB"


def find_files(sources: Sequence[str]) -> list[Path]:
    """The files that `sources` (files, folders and globs) name, each once, sorted within a source."""
    found: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if source.startswith(HUB):
            files = download(source)
        elif path.is_dir():
            files = [file for file in path.rglob("*") if file.is_file() and _is_readable(file)]
        elif path.is_file():
            files = [path]
            if not _is_readable(path):
                raise InputError(f"cannot read {path}; {_KINDS}")
        else:
            named = map(Path, glob(source, recursive=True))  # noqa: PTH207 - pathlib takes no absolute pattern
            files = [file for file in named if file.is_file() and _is_readable(file)]
        if not files:
            raise InputError(f"{source} names no file to read; {_KINDS}")
        found.update(dict.fromkeys(sorted(files)))
    return list(found)


def download(source: str) -> list[Path]:
    """The files of a Hugging Face dataset that `hf://datasets/OWNER/NAME/PATTERN` names, in the local cache.

    Those that are there are not loaded again; without a network they are all there is. ``InputError`` if the
    path is none, or names nothing that can be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    parts = PurePosixPath(source.removeprefix(HUB)).parts
    if len(parts) < 2:
        raise InputError(
            f"cannot read {source}; a dataset is written {HUB}OWNER/NAME or {HUB}OWNER/NAME/*.parquet"
        )
    pattern = "/".join(parts[2:]) or "**"
    try:
        folder = snapshot_download("/".join(parts[:2]), repo_type="dataset", allow_patterns=[pattern])
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"cannot download {source}: {reason}") from error
    return [file for file in Path(folder).glob(pattern) if file.is_file() and _is_readable(file)]


_KINDS = f"sources are {', '.join(_PARQUET + _JSON_LINES + _PLAIN)} files, and folders or globs of them"


def _is_readable(path: Path) -> bool:
    return path.name.lower().endswith(_PARQUET + _JSON_LINES + _PLAIN)


def read_documents(path: Path, column: str = TEXT_COLUMN, articles: bool = False) -> Iterator[str]:
    """The documents of one file that are not empty; with `articles`, those of WikiText, whose rows are lines.

    ``InputError`` for what cannot be read.
    """
    plain = path.name.lower().endswith(_PLAIN)
    texts = _read_plain(path) if plain else _read_rows(path, column)
    if articles:
        lines = (line for text in texts for line in text.splitlines(keepends=True))
        texts = _join_articles(lines)
    yield from (text for text in texts if text)


def row_count(path: Path) -> int | None:
    """Rows of a Parquet file, from its end; None for other files, and for one that cannot be read."""
    if not path.name.lower().endswith(_PARQUET):
        return None
    import duckdb

    try:
        with duckdb.connect() as connection:
            found = connection.execute(
                "SELECT num_rows FROM parquet_file_metadata(?)", [_literal(path)]
            ).fetchone()
    except duckdb.Error:
        return None
    return int(found[0]) if found else None


def _join_articles(lines: Iterable[str]) -> Iterator[str]:
    article: list[str] = []
    for line in lines:
        if _ARTICLE.fullmatch(line) and article:
            yield "".join(article)
            article = []
        article.append(line)
    yield "".join(article)


def _read_rows(path: Path, column: str) -> Iterator[str]:
    import duckdb

    packed = path.name.lower().endswith(_PARQUET)
    if packed:
        query = f"SELECT typeof({_quoted(column)}), {_quoted(column)} FROM read_parquet(?)"
    else:
        query = (
            f"SELECT json_type({_quoted(column)}), {_quoted(column)} ->> '$' FROM read_json(?, "
            f"format = 'newline_delimited', columns = {{{_quoted(column)}: 'JSON'}})"
        )
    rows_read = texts = 0
    try:
        # One thread keeps the rows in their order, and the reader's memory small.
        with duckdb.connect(config={"threads": 1, "memory_limit": _READER_MEMORY}) as connection:
            connection.execute("SET enable_progress_bar = false")  # it would go to standard output
            if packed and column not in (there := _columns(connection, path)):
                raise InputError(f"{path} has no column {column!r}; it has {', '.join(there)}")
            result = connection.execute(query, [_literal(path)])
            while rows := result.fetchmany(_ROWS_AT_ONCE):
                for kind, text in rows:
                    if text is not None and kind not in _TEXT_TYPES:
                        raise InputError(f"{column} of {path} holds {kind}, not text; choose another column")
                    if text is not None:
                        yield text
                        texts += 1
                rows_read += len(rows)
            if rows_read and not texts:
                there = _columns(connection, path)
                raise InputError(f"no row of {path} has text under {column!r}; it has {', '.join(there)}")
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from error


def _columns(connection: "duckdb.DuckDBPyConnection", path: Path) -> list[str]:
    """The columns of a file, or the keys of its first line."""
    if path.name.lower().endswith(_PARQUET):
        query = "SELECT column_name FROM (DESCRIBE SELECT * FROM read_parquet(?))"
    else:
        query = "SELECT unnest(json_keys(json)) FROM (FROM read_json_objects(?, format = 'nd') LIMIT 1)"
    return [name for (name,) in connection.execute(query, [_literal(path)]).fetchall()]


def _read_plain(path: Path) -> Iterator[str]:
    size = path.stat().st_size
    if size > LARGEST_PLAIN_TEXT:
        raise InputError(
            f"{path} is one document of {size:,} bytes; a plain file may have {LARGEST_PLAIN_TEXT:,}, so put "
            "its documents into JSON lines"
        )
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}") from error
    yield text


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _literal(path: Path) -> str:
    # DuckDB reads a path as a glob; a bracket makes any other character plain.
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))
