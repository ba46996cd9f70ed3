"""Imports a study: what was understood of a file is stored in the columns of `import`, and made into rows.

The stored file is plain: counts, nats per token, one name for each column. What is left out stays in it, with
the reason, so that a study's counts survive a rebuild.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from parcae.errors import InputError
from parcae.files import write_atomically
from sweeps.folders.paths import Study, check_sweep_name
from sweeps.store.importing.columns import HYPERPARAMETERS
from sweeps.store.importing.lines import Line
from sweeps.store.importing.understand import Options, Understood, stored, understand
from sweeps.store.rows import LossRow, RunRow, given_row

_STORED = (
    *("run_name", "model", "state", "reason", "flops", "mean_recurrence", "tokens", "parameters"),
    *("once_parameters", "recurrent_parameters", "test_recurrence", "seed", *HYPERPARAMETERS, "val_loss"),
)
NOTHING_SAID = Options()
_NOT_OF_A_RUN = ("val_loss", "test_recurrence")


@dataclass(frozen=True)
class ImportedTable:
    """A stored file as rows for the store."""

    runs: tuple[RunRow, ...]
    losses: tuple[LossRow, ...]


def import_study(
    study: Study, path: Path, name: str, options: Options = NOTHING_SAID, *, replace: bool = False
) -> tuple[Understood, int]:
    """Imports the study in `path` as the sweep `name`; what was understood, and how many runs can be used.

    After an ``InputError`` nothing is written.
    """
    check_sweep_name(name)
    found = understand(path, options)
    used = sum(bool(run.at) for run in _runs(found.lines, name, path))
    target, content = study.imported(name), _content(found.lines)
    if study.manifest(name).exists():
        raise InputError(f"there is already a planned sweep {name!r}; import under another name")
    if target.exists() and not replace and target.read_text(encoding="utf-8-sig") != content:
        raise InputError(
            f"there is already another imported sweep {name!r}; import under another name, or add --replace"
        )
    study.sweeps.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content.encode())
    return found, used


def read_imported(path: Path, name: str) -> ImportedTable:
    """The rows of a stored file."""
    runs, losses = [], []
    for run in _runs(stored(path), name, path):
        val_loss = run.at[run.trained].numbers["val_loss"] if run.trained in run.at else None
        runs.append(_row(run.first, run.run_id, name, val_loss))
        losses += [
            LossRow(run_id=run.run_id, test_recurrence=int(recurrence), loss=line.numbers["val_loss"])
            for recurrence, line in run.at.items()
            if "test_recurrence" in line.numbers
        ]
    return ImportedTable(tuple(runs), tuple(losses))


def cells_of_line(line: Line) -> dict[str, str]:
    """A line in the columns of `import`, without what is unknown."""
    own = {"run_name": line.run_name, "model": line.model, "reason": line.reason or ""}
    own["state"] = "" if line.left_out is None else line.state.value
    own |= {name: _spelled(value) for name, value in line.numbers.items() if name in _STORED}
    ordered = {name: own[name] for name in _STORED if own.get(name)}
    return ordered | line.extra


def _spelled(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _content(lines: Sequence[Line]) -> str:
    rows = [cells_of_line(line) for line in lines]
    found = dict.fromkeys(name for row in rows for name in row)
    header = [name for name in _STORED if name in found] + [name for name in found if name not in _STORED]
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row.get(name, "") for name in header] for row in rows)
    return text.getvalue()


@dataclass(frozen=True)
class _Run:
    """The lines of one run."""

    run_id: str
    first: Line
    """The first that can be used, or else the first."""
    trained: float
    """The mean recurrence."""
    at: dict[float, Line]
    """Test recurrence -> the line with its loss."""


def _runs(lines: Sequence[Line], name: str, path: Path) -> Iterator[_Run]:
    """The runs in `lines`; their ids are `name`:run, or where they have no names `name`:1 and so on."""
    by_depth = any("test_recurrence" in line.numbers for line in lines)
    grouped: dict[object, list[Line]] = {}
    for number, line in enumerate(lines):
        key: object = number
        if by_depth:
            own = [(key, value) for key, value in line.numbers.items() if key not in _NOT_OF_A_RUN]
            key = (line.run_name, line.model, *own)
        grouped.setdefault(key, []).append(line)
    taken: set[str] = set()
    for index, group in enumerate(grouped.values(), start=1):
        kept = [line for line in group if line.left_out is None]
        trained = group[0].numbers.get("mean_recurrence", 1.0)
        at: dict[float, Line] = {}
        for line in kept:
            recurrence = line.numbers.get("test_recurrence", trained)
            if recurrence in at:
                raise InputError(f"{path}: {line.place} repeats the run of {at[recurrence].place}")
            at[recurrence] = line
        run_id = _free_id(f"{name}:{group[0].run_name or index}", taken)
        yield _Run(run_id, (kept or group)[0], trained, at)


def _free_id(wanted: str, taken: set[str]) -> str:
    """`wanted`, or where an earlier run has it with #2, #3 and so on behind it."""
    run_id, number = wanted, 1
    while run_id in taken:
        number += 1
        run_id = f"{wanted}#{number}"
    taken.add(run_id)
    return run_id


def _row(line: Line, run_id: str, sweep: str, val_loss: float | None) -> RunRow:
    given = {
        name: value for name, value in line.numbers.items() if name in _STORED and name not in _NOT_OF_A_RUN
    }
    hyperparameters = {name: given.pop(name) for name in HYPERPARAMETERS if name in given}
    seed = given.pop("seed", None)
    return given_row(
        run_id=run_id,
        model=line.model or sweep,
        val_loss=val_loss,
        seed=None if seed is None else int(seed),
        hyperparameters=json.dumps(hyperparameters, sort_keys=True) if hyperparameters else None,
        state=line.state,
        reason=line.reason,
        extra=json.dumps(line.extra) if line.extra else None,
        **given,
    )
