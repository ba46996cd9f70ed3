"""A file of runs as a table of texts, whatever its kind: recognised by its content, not by its name.

Delimited text is read here, because a message must name the line, and the sniffers of libraries guess
comments, decimal commas and stray cells in ways of their own. DuckDB reads Parquet and databases.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.errors import InputError

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 50
"""Lines by which the delimiter is chosen."""
_OTHERS = {b"PK": "a spreadsheet or archive", b"SQLite": "an SQLite database", b"\x1f\x8b": "compressed"}


@dataclass(frozen=True)
class Table:
    """Cells as texts, stripped; what is missing is empty."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    places: tuple[int, ...]
    """The number of each row's line or record in the file."""
    noun: str = "line"
    delimiter: str = ","

    def place(self, row: int) -> str:
        return f"{self.noun} {self.places[row]}"


def read_table(path: Path, name: str | None = None) -> Table:
    """The table in `path`; `name` is that of a database's table, or of a sweep of parcae's."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if start[:4] == b"PAR1":
        return _from_records(path, _parquet(path), "row")
    if start[8:12] == b"DUCK":
        return _from_database(path, name)
    if name is not None:
        raise InputError(f"{path} is no database, so it has no table {name!r}; leave --table out")
    for magic, kind in _OTHERS.items():
        if start.startswith(magic):
            raise InputError(f"{path} is {kind}; save its runs as CSV, JSON or Parquet")
    text = _text(path)
    if text.lstrip()[:1] in ("[", "{"):
        return _from_json(path, text)
    return _from_delimited(path, text)


def _text(path: Path) -> str:
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    if b"\0" in content:
        raise InputError(f"cannot read {path}: it is neither text, Parquet nor a DuckDB database")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


# Delimited text


def _from_delimited(path: Path, text: str) -> Table:
    lines: list[tuple[int, str]] = []
    above = ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if not lines and re.fullmatch(r"sep=.\s*", line):  # what Excel writes first
            continue
        if re.match(r"\s*#(?![,;\t|])", line):
            above = above if lines else line
            continue
        if lines or line.strip(" \t\r\n,;|"):
            lines.append((number, line))
    if not lines:
        raise InputError(f"{path} is empty; it needs a header and at least one run")
    delimiter = _delimiter([line for _, line in lines[:_SAMPLE]])
    try:
        cells = _cells(lines, delimiter)
    except csv.Error as error:
        raise InputError(f"cannot read {path} as CSV: {error}") from error
    if all(re.fullmatch(r"[-+.\deE]+", cell) for cell in cells[0][1] if cell):
        titles = _cells([(0, above.lstrip("# \t"))], delimiter)[0][1] if above else []
        if len(titles) != len(cells[0][1]):
            raise InputError(
                f"{path} has no header: its first line is numbers; put the columns' names above it"
            )
        cells.insert(0, (0, titles))
    return _table(path, cells, delimiter)


def _delimiter(sample: Sequence[str]) -> str:
    """The one that cuts most lines into the same number of cells, the most cells where several do."""

    def agreement(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        except csv.Error:
            return 0, 0
        wide = max(widths[0], 1)
        return (sum(width >= wide for width in widths) if wide > 1 else 0), wide

    best = max(_DELIMITERS, key=agreement)
    if agreement(best)[0] == 0 and len(sample[0].split()) > 1:
        return " "
    return best


def _cells(lines: Sequence[tuple[int, str]], delimiter: str) -> list[tuple[int, list[str]]]:
    if delimiter == " ":
        return [(number, line.split()) for number, line in lines]
    numbers = [number for number, _ in lines]
    reader = csv.reader((line for _, line in lines), delimiter=delimiter, strict=True)
    rows = []
    for row in reader:
        rows.append((numbers[min(reader.line_num, len(numbers)) - 1], [cell.strip() for cell in row]))
    return rows


def _table(path: Path, cells: Sequence[tuple[int, list[str]]], delimiter: str) -> Table:
    header = cells[0][1]
    rows = [(number, row) for number, row in cells[1:] if any(row)]
    if delimiter == "|":  # a table in Markdown
        rows = [(number, row) for number, row in rows if not re.fullmatch(r"[:\-\s]+", "".join(row))]
    width = len(header)
    for number, row in rows:
        if len(row) < width or any(row[width:]):
            raise InputError(f"{path}: line {number} has {len(row)} cells, the header {width}")
    named = [i for i, name in enumerate(header) if name]
    return _checked(
        Table(
            path=path,
            header=tuple(header[i] for i in named),
            rows=tuple(tuple(row[i] for i in named) for _, row in rows),
            places=tuple(number for number, _ in rows),
            delimiter=delimiter,
        )
    )


def _checked(table: Table) -> Table:
    repeated = [name for name in table.header if table.header.count(name) > 1]
    if repeated:
        raise InputError(f"{table.path}: the column {repeated[0]!r} appears twice in the header")
    if not table.rows:
        raise InputError(f"{table.path} has a header but no runs")
    return table


# JSON


def _from_json(path: Path, text: str) -> Table:
    try:
        records = _records(json.loads(text))
    except json.JSONDecodeError:
        records = []
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                records += [json.loads(line)] if line.strip() else []
            except json.JSONDecodeError as error:
                raise InputError(f"cannot read {path}: line {number} is no JSON: {error.msg}") from error
    if not records or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path} holds no list of runs; it needs an object for each run")
    return _from_records(path, records, "record")


def _records(value: Any) -> list[Any]:
    """The runs in a JSON document: a list of them, a list within an object, or an object of columns."""
    if isinstance(value, list):
        return value
    if isinstance(value.get("columns"), list) and isinstance(value.get("data"), list):
        return [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
    inner = list(value.values())
    if inner and all(isinstance(column, list) for column in inner):
        if len(inner) == 1:
            return _records(inner[0])
        return [dict(zip(value, row, strict=False)) for row in zip(*inner, strict=False)]
    lists = [one for one in inner if isinstance(one, list) and one and isinstance(one[0], dict)]
    if lists:
        return max(lists, key=len)
    if inner and all(isinstance(column, dict) for column in inner):
        keys = list(inner[0])
        if all(list(column) == keys for column in inner) and all(key.isdigit() for key in keys):
            return [{name: column[key] for name, column in value.items()} for key in keys]
        return [{"name": name, **record} for name, record in value.items()]
    return [value]


def _flattened(record: Mapping[str, Any], above: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= _flattened(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = _as_text(value)
    return flat


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    return repr(value) if isinstance(value, float) else json.dumps(value, default=str).strip('"')


# Parquet and databases


def _queried(path: Path, query: str, *values: str, database: bool = True) -> list[dict[str, Any]]:
    import duckdb

    try:
        with duckdb.connect(str(path) if database else ":memory:", read_only=database) as connection:
            found = connection.execute(query, list(values))
            header = [column[0] for column in found.description]
            return [dict(zip(header, row, strict=True)) for row in found.fetchall()]
    except duckdb.Error as error:
        raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from error


def _parquet(path: Path) -> list[dict[str, Any]]:
    return _queried(path, "SELECT * FROM read_parquet($1)", str(path), database=False)


def _from_records(path: Path, records: Sequence[Mapping[str, Any]], noun: str) -> Table:
    flat = [_flattened(record) for record in records]
    header = tuple(dict.fromkeys(name for record in flat for name in record))
    rows = tuple(tuple(record.get(name, "") for name in header) for record in flat)
    return _checked(Table(path, header, rows, tuple(range(1, len(rows) + 1)), noun))


def _from_database(path: Path, name: str | None) -> Table:
    """A table of a database, or a sweep of one of parcae's: the only one, unless it is named."""
    listing = _queried(
        path,
        "SELECT table_name AS name FROM duckdb_tables() UNION ALL "
        "SELECT view_name FROM duckdb_views() WHERE NOT internal",
    )
    ours = {"name": "parcae_schema"} in listing
    if ours:
        listing = _queried(path, "SELECT name FROM sweeps ORDER BY changed_ns DESC")
    names, what = [row["name"] for row in listing], "sweep" if ours else "table"
    if (name is None and len(names) != 1) or (name is not None and name not in names):
        wrong = f"no {what} {name!r}" if name is not None else f"{len(names)} {what}s"
        raise InputError(f"{path} has {wrong}; name one of {', '.join(names)} with --table")
    chosen = name or names[0]
    if not ours:
        quoted = chosen.replace('"', '""')
        return _from_records(path, _queried(path, f'SELECT * FROM "{quoted}"'), "row")
    return _from_records(path, [_of_ours(row) for row in _queried(path, _SWEEP, chosen)], "row")


_SWEEP = """
SELECT runs.*, losses.test_recurrence, losses.loss AS loss_at
FROM sweep_runs JOIN runs USING (run_id) LEFT JOIN losses USING (run_id)
WHERE sweep = $1 ORDER BY position, test_recurrence
"""
_OURS = (
    *("run_id", "model", "flops", "mean_recurrence", "tokens", "seed", "state", "test_recurrence"),
    *("once_parameters", "recurrent_parameters"),
)


def _of_ours(row: Mapping[str, Any]) -> dict[str, Any]:
    """A run of a database of parcae's, in the columns of `import`."""
    loss = row["val_loss"] if row["loss_at"] is None else row["loss_at"]
    given = {name: row[name] for name in _OURS} | {"val_loss": loss}
    if row["once_parameters"] is None:
        given["parameters"] = row["parameters"]
    return {**given, **json.loads(row.get("hyperparameters") or "{}")}
