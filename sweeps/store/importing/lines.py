"""A table's lines as numbers, each of one kind of run; what is left out has its reason."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from parcae.errors import InputError
from parcae.presets import PRESETS
from sweeps.runs.states import State
from sweeps.store.importing.columns import HYPERPARAMETERS, LAYOUTS, NAMES, Columns
from sweeps.store.importing.files import Table
from sweeps.store.importing.numbers import decimal_comma, number

NUMBERS = (
    *("flops", "flops_per_token", "mean_recurrence", "tokens", "parameters", "once_parameters"),
    *("recurrent_parameters", "test_recurrence", "seed", *HYPERPARAMETERS, "val_loss"),
)
_AT_LEAST = {
    **{"mean_recurrence": 1.0, "test_recurrence": 1.0, "seed": 0.0},
    **{"once_parameters": 0.0, "recurrent_parameters": 0.0},
    **dict.fromkeys(HYPERPARAMETERS, 0.0),
}
_WHOLE = {"test_recurrence": 2**31 - 1, "seed": 2**53}
"""Columns of whole numbers, and the largest that the database and a float64 hold exactly."""
_STATES: Mapping[State, frozenset[str]] = {
    State.DONE: frozenset(
        {"done", "finished", "completed", "complete", "success", "succeeded", "ok", "converged", "false", "0"}
    ),
    State.DIVERGED: frozenset({"diverged", "diverge", "nan", "exploded", "unstable", "true", "1", "yes"}),
    State.FAILED: frozenset({"failed", "fail", "crashed", "error", "oom", "failure"}),
    State.CANCELLED: frozenset({"cancelled", "canceled", "killed", "stopped", "aborted", "preempted"}),
    State.TIMED_OUT: frozenset({"timed-out", "timeout", "timed_out"}),
    State.RUNNING: frozenset({"running", "pending", "queued", "planned"}),
    State.UNKNOWN: frozenset({"unknown"}),
}
_KINDS = [[frozenset(fields) - {"val_loss"} for fields in options] for options in LAYOUTS.values()]
"""What a run of each kind has beside a loss."""


@dataclass(kw_only=True)
class Line:
    """A line of the file: a run, or its loss at one test recurrence."""

    place: str
    run_name: str
    model: str
    state: State
    reason: str | None
    """Why it is left out, if its state does not say so."""
    extra: dict[str, str]
    """Further columns, as they are."""
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def left_out(self) -> str | None:
        """Why no fit may use it."""
        return None if self.state is State.DONE and self.reason is None else self.reason or self.state.value


def read_lines(table: Table, columns: Columns) -> list[Line]:
    """The lines of a table as numbers; what is missing is left away."""
    at = dict(columns.at)
    numeric = [name for name in (*NUMBERS, "vocabulary") if name in at]
    comma = decimal_comma((row[at[name]] for row in table.rows for name in numeric), table.delimiter)
    for name in (*HYPERPARAMETERS, "seed", "vocabulary"):
        if name in at and not all(_is_number(row[at[name]], comma) for row in table.rows):
            numeric.remove(name)
            del at[name]  # words, not a setting's value
    if "state" in at and not _are_states({row[at["state"]].casefold() for row in table.rows}):
        del at["state"]
    if _names_runs(table, at):
        at["run_name"] = at.pop("model")
    further = [(_free(title), i) for i, title in enumerate(table.header) if i not in at.values()]
    lines = [
        Line(
            place=table.place(i),
            run_name=row[at["run_name"]] if "run_name" in at else "",
            model=row[at["model"]] if "model" in at else "",
            state=_state(row[at["state"]]) if "state" in at else State.DONE,
            reason=(row[at["reason"]] or None) if "reason" in at else None,
            extra={title: row[j] for title, j in further if row[j]},
        )
        for i, row in enumerate(table.rows)
    ]
    for name in numeric:
        _read_column(table, lines, name, [row[at[name]] for row in table.rows], comma)
    return lines


def _is_number(cell: str, comma: bool) -> bool:
    try:
        number(cell, comma)
    except ValueError:
        return False
    return True


def _are_states(cells: set[str]) -> bool:
    return bool(cells & frozenset().union(*_STATES.values()))


def _state(cell: str) -> State:
    """The state that a word says; done for a word that says none."""
    return next((state for state, words in _STATES.items() if cell.casefold() in words), State.DONE)


def _free(title: str) -> str:
    """A further column's name, which no field has."""
    return f"given {title}" if title in NAMES else title


def _names_runs(table: Table, at: Mapping[str, int]) -> bool:
    """Whether the column of models holds a name for each run."""
    if "model" not in at or "run_name" in at or "test_recurrence" in at or len(table.rows) < 3:
        return False
    cells = {row[at["model"]] for row in table.rows}
    return len(cells) == len(table.rows) and not cells & PRESETS.keys()


def _read_column(table: Table, lines: Sequence[Line], name: str, cells: Sequence[str], comma: bool) -> None:
    """Adds the numbers in a column to its lines. ``InputError`` for one that no run can have."""
    lowest, whole = _AT_LEAST.get(name), _WHOLE.get(name)
    for line, cell in zip(lines, cells, strict=True):
        try:
            value = number(cell, comma)
        except ValueError:
            if name == "val_loss" and _state(cell) is not State.DONE:
                line.state = _state(cell)
            elif line.left_out is None:
                raise InputError(
                    f"{table.path}: {line.place} has {cell!r} for {name}; a number is needed"
                ) from None
            continue
        if name == "val_loss" and value == math.inf:
            line.state = State.DIVERGED
        elif not math.isfinite(value) or (value <= 0 if lowest is None else value < lowest):
            if math.isnan(value) or line.left_out is not None:
                continue
            needed = "above 0" if lowest is None else f"of at least {lowest:g}"
            raise InputError(
                f"{table.path}: {line.place} has {cell} for {name}; a finite number {needed} is needed"
            )
        elif whole is not None and (value != int(value) or value > whole):
            raise InputError(
                f"{table.path}: {line.place} has {cell} for {name}; a whole number up to {whole} is needed"
            )
        else:
            line.numbers[name] = value


def complete(lines: Sequence[Line]) -> None:
    """Keeps of each line what its kind of run needs, and works out what follows: C = 6 N D without a loop."""
    present = {name for line in lines for name in line.numbers}
    flat = all(line.numbers.get("mean_recurrence", 1.0) == 1 for line in lines)
    for line in lines:
        own = line.numbers
        if "flops" not in own and {"flops_per_token", "tokens"} <= own.keys():
            own["flops"] = own["flops_per_token"] * own["tokens"]
        if line.left_out is not None:
            continue
        of_known_shape, at_a_budget, plain = (any(own.keys() >= f for f in kinds) for kinds in _KINDS)
        if of_known_shape:
            own.pop("parameters", None)
            if own["once_parameters"] == own["recurrent_parameters"] == 0:
                raise InputError(f"{line.place} has a model without parameters: both kinds are 0")
        elif plain and (flat or not at_a_budget):
            if "tokens" not in own:
                own["tokens"] = own["flops"] / (6 * own["parameters"])
            if "parameters" not in own:
                own["parameters"] = own["flops"] / (6 * own["tokens"])
        elif at_a_budget:
            own.pop("parameters", None)
        else:
            line.state, line.reason = State.UNKNOWN, f"without {_lacking(own, present)}"
        if "val_loss" not in own and line.left_out is None:
            line.state, line.reason = State.UNKNOWN, "without a loss"


def _lacking(own: Mapping[str, float], present: set[str]) -> str:
    """What a run still lacks to be of the kind that it is nearest to, of those that the file has."""
    kinds = [fields for options in _KINDS for fields in options if present >= fields]
    shortest: list[str] = min((sorted(fields - own.keys()) for fields in kinds), key=len)
    return " and ".join(shortest)
