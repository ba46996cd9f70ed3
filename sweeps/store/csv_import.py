"""Imports a study from a CSV file. Every cell is checked before anything is written.

The columns of one of these three lines are required:

    model, flops, mean_recurrence, val_loss
    once_parameters, recurrent_parameters, mean_recurrence, tokens, val_loss
    parameters, tokens, val_loss

Optional columns: model, flops, tokens, test_recurrence, seed and hyperparameters (learning_rate or lr,
batch_size, weight_decay, warmup); the fits use the best hyperparameters of each cell. Units: tokens, FLOPs
and parameters are plain counts, losses are in nats per token. If `model` is one of parcae's, its parameters
are known, and missing tokens follow from the FLOPs (convention `paper`).
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path

from parcae.errors import InputError
from parcae.files import write_atomically
from sweeps.folders.paths import Study, check_sweep_name
from sweeps.store.rows import LossRow, RunRow, given_row

_SHAPES = (
    ("once_parameters", "recurrent_parameters", "mean_recurrence", "tokens", "val_loss"),
    ("model", "flops", "mean_recurrence", "val_loss"),
    ("parameters", "tokens", "val_loss"),
)
"""In order of preference: the first says more than the second if a file has the columns of both."""
_HYPERPARAMETERS = ("learning_rate", "lr", "batch_size", "weight_decay", "warmup")
_OPTIONAL = ("model", "flops", "tokens", "test_recurrence", "seed", *_HYPERPARAMETERS)
_NOT_OF_A_RUN = ("val_loss", "test_recurrence")
_AT_LEAST = {
    **{"mean_recurrence": 1.0, "test_recurrence": 1.0, "seed": 0.0},
    **{"once_parameters": 0.0, "recurrent_parameters": 0.0},
    **dict.fromkeys(_HYPERPARAMETERS, 0.0),
}
_WHOLE = {"test_recurrence": 2**31 - 1, "seed": 2**53}
"""Columns of whole numbers, and the largest that the database and a float64 hold exactly."""


@dataclass(frozen=True)
class ImportedTable:
    """A checked CSV file as rows for the store."""

    runs: tuple[RunRow, ...]
    losses: tuple[LossRow, ...]
    ignored: tuple[str, ...]
    """Columns of the file that are not used."""


@dataclass(frozen=True)
class _Line:
    number: int
    text: dict[str, str]
    values: dict[str, float]


def import_csv(study: Study, path: Path, name: str) -> ImportedTable:
    """Imports the study in `path` as the sweep `name`. After an ``InputError`` nothing is written."""
    check_sweep_name(name)
    table = read_csv(path, name)
    target, content = study.imported(name), path.read_text(encoding="utf-8-sig")
    if study.manifest(name).exists():
        raise InputError(f"there is already a planned sweep {name!r}; import under another name")
    if target.exists() and target.read_text(encoding="utf-8-sig") != content:
        raise InputError(f"there is already another imported sweep {name!r}; import under another name")
    study.sweeps.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content.encode())
    return table


def read_csv(path: Path, name: str) -> ImportedTable:
    """Reads and checks `path`; its runs get the ids `name`:1, `name`:2 and so on."""
    header, lines = _read_lines(path)
    grouped: dict[tuple[str, ...], list[_Line]] = {}
    for line in lines:
        own = () if "test_recurrence" in header else (str(line.number),)
        key = tuple(text for column, text in line.text.items() if column not in _NOT_OF_A_RUN)
        grouped.setdefault(own + key, []).append(line)
    runs: list[RunRow] = []
    losses: list[LossRow] = []
    for index, group in enumerate(grouped.values(), start=1):
        run_id = f"{name}:{index}"
        trained = group[0].values.get("mean_recurrence", 1.0)
        at: dict[float, _Line] = {}
        for line in group:
            recurrence = line.values.get("test_recurrence", trained)
            if recurrence in at:
                first = at[recurrence].number
                raise InputError(f"{path}: line {line.number} repeats the run of line {first}")
            at[recurrence] = line
            if "test_recurrence" in line.values:
                loss = line.values["val_loss"]
                losses.append(LossRow(run_id=run_id, test_recurrence=int(recurrence), loss=loss))
        val_loss = at[trained].values["val_loss"] if trained in at else None
        runs.append(_run(group[0], run_id, name, val_loss))
    ignored = tuple(column for column in header if column not in lines[0].text)
    return ImportedTable(tuple(runs), tuple(losses), ignored)


def _read_lines(path: Path) -> tuple[list[str], list[_Line]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(reader.line_num, row) for reader in [csv.reader(file, strict=True)] for row in reader]
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} as CSV: {error}") from error
    rows = [(number, [cell.strip() for cell in row]) for number, row in rows if any(c.strip() for c in row)]
    if not rows:
        raise InputError(f"{path} is empty; it needs a header and at least one run")
    header = rows[0][1]
    if len(set(header)) != len(header):
        raise InputError(f"{path}: a column appears twice in the header {', '.join(header)}")
    shapes = [shape for shape in _SHAPES if set(shape) <= set(header)]
    if not shapes:
        closest = max(_SHAPES, key=lambda shape: len(set(shape) & set(header)) / len(shape))
        missing = ", ".join(column for column in closest if column not in header)
        raise InputError(f"{path} lacks the column {missing}; a study needs {', '.join(closest)}")
    if len(rows) == 1:
        raise InputError(f"{path} has a header but no runs")
    filled = {c for c, *cells in zip(*(row for _, row in rows), strict=False) if all(cells)}
    shape = next((shape for shape in shapes if set(shape) <= filled), shapes[-1])
    read = [column for column in header if column in shape or column in _OPTIONAL]
    lines = []
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(f"{path}: line {number} has {len(row)} cells, the header {len(header)}")
        text = {column: cell for column, cell in zip(header, row, strict=True) if column in read}
        values = {}
        for column, cell in text.items():
            if column == "model":
                if not cell:
                    raise InputError(f"{path}: line {number} names no model")
            elif cell or column in shape:
                values[column] = _number(path, number, column, cell)
        if values.get("once_parameters") == values.get("recurrent_parameters") == 0:
            raise InputError(f"{path}: line {number} has a model without parameters: both kinds are 0")
        lines.append(_Line(number, text, values))
    return header, lines


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise InputError(f"{path}: line {line} has {cell!r} for {column}; a number is needed") from None
    lowest = _AT_LEAST.get(column)
    if not math.isfinite(value) or (value <= 0 if lowest is None else value < lowest):
        needed = "a finite number above 0" if lowest is None else f"a finite number of at least {lowest:g}"
        raise InputError(f"{path}: line {line} has {cell} for {column}; {needed} is needed")
    if column in _WHOLE and (value != int(value) or value > _WHOLE[column]):
        raise InputError(
            f"{path}: line {line} has {cell} for {column}; a whole number up to {_WHOLE[column]} is needed"
        )
    return value


def _run(line: _Line, run_id: str, sweep: str, val_loss: float | None) -> RunRow:
    given = {name: value for name, value in line.values.items() if name not in _NOT_OF_A_RUN}
    hyperparameters = {name: given.pop(name) for name in _HYPERPARAMETERS if name in given}
    seed = given.pop("seed", None)
    return given_row(
        run_id=run_id,
        model=line.text.get("model", sweep),
        val_loss=val_loss,
        seed=None if seed is None else int(seed),
        hyperparameters=json.dumps(hyperparameters, sort_keys=True) if hyperparameters else None,
        **given,
    )
