"""A file as runs in plain units, judged; what the user says of it beyond what it says itself."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from parcae.errors import InputError
from sweeps.runs.states import State
from sweeps.store.importing.columns import Columns, exact_columns, find_columns, require_layout
from sweeps.store.importing.files import Table, read_table
from sweeps.store.importing.lines import Line, complete, read_lines
from sweeps.store.importing.numbers import Count, LossUnit
from sweeps.store.importing.plausibility import judge

CONFLICT = math.log(1.25)
"""Lines alike in all else whose losses differ by more than this are not replicates (assumption)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user says of a file beyond what it says itself."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    parameters_in: Count | None = None
    tokens_in: Count | None = None
    loss: LossUnit | None = None
    bytes_per_token: float | None = None
    as_given: bool = False
    """Whether implausible numbers are taken at their word."""
    table: str | None = None
    """The table of a database."""


@dataclass(frozen=True, kw_only=True)
class Understood:
    """A file as it was understood."""

    lines: Sequence[Line]
    columns: Columns
    remarks: Sequence[str]

    @property
    def left_out(self) -> Counter[str]:
        """Reason -> lines."""
        return Counter(line.left_out for line in self.lines if line.left_out is not None)


def understand(path: Path, options: Options) -> Understood:
    """The runs in a file of any kind. ``InputError`` says what is missing, wrong or implausible."""
    table = read_table(path, options.table)
    columns = find_columns(table, options.mapping)
    require_layout(table, columns)
    unit = options.loss or columns.loss_unit or LossUnit.NATS
    if unit is LossUnit.BITS_PER_BYTE and options.bytes_per_token is None:
        raise InputError(
            f"the losses of {path} are in bits per byte; give the bytes per token of their tokenizer, "
            "such as --bytes-per-token 4.5"
        )
    if options.bytes_per_token is not None and unit is not LossUnit.BITS_PER_BYTE:
        raise InputError(f"--bytes-per-token has no use for losses in {unit}; leave it out")
    lines = read_lines(table, columns)
    counts = {"parameters": options.parameters_in, "tokens": options.tokens_in}
    for name, count in counts.items():
        scale = (count or columns.counts.get(name, Count.ONES)).factor
        names = ("parameters", "once_parameters", "recurrent_parameters") if name == "parameters" else (name,)
        for line in lines:
            line.numbers |= {n: line.numbers[n] * scale for n in names if n in line.numbers and scale != 1}
    for line in lines:
        if "val_loss" in line.numbers:
            line.numbers["val_loss"] = unit.nats(line.numbers["val_loss"], options.bytes_per_token)
    complete(lines)
    if not options.as_given:
        _refuse_conflicts(table, columns, lines)
        kept = [line for line in lines if line.left_out is None]
        vocabulary = max((line.numbers.get("vocabulary", math.nan) for line in kept), default=math.nan)
        for i, reason in judge([line.numbers for line in kept], str(path), vocabulary=vocabulary).items():
            kept[i].state, kept[i].reason = State.UNKNOWN, reason
    found = Understood(lines=lines, columns=columns, remarks=_remarks(columns, unit, lines))
    if len(lines) == sum(found.left_out.values()):
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise InputError(f"{path} has no run that can be used: {reasons}")
    return found


def stored(path: Path) -> Sequence[Line]:
    """The lines of a file in the columns of `import`, as it was stored."""
    table = read_table(path)
    lines = read_lines(table, exact_columns(table))
    complete(lines)
    return lines


def _refuse_conflicts(table: Table, columns: Columns, lines: Sequence[Line]) -> None:
    """``InputError`` where two lines are the same run by every column, with losses far apart."""
    loss = columns.at["val_loss"]
    first: dict[tuple[str, ...], Line] = {}
    for line, row in zip(lines, table.rows, strict=True):
        if line.left_out is not None:
            continue
        before = first.setdefault(row[:loss] + row[loss + 1 :], line)
        one, other = before.numbers["val_loss"], line.numbers["val_loss"]
        if abs(math.log(other / one)) > CONFLICT:
            raise InputError(
                f"{table.path}: {before.place} and {line.place} look like one run twice, alike in "
                f"all but the loss, {one:.4g} and {other:.4g}; remove one, or add the column that tells them "
                "apart (such as seed or learning_rate); to import both, add --as-given"
            )


def _remarks(columns: Columns, unit: LossUnit, lines: Sequence[Line]) -> list[str]:
    remarks = []
    if columns.renamed:
        remarks.append(f"understood {columns.renamed}")
    if unit is not LossUnit.NATS:
        remarks.append(f"losses were converted from {unit} to nats per token")
    for name, count in columns.counts.items():
        remarks.append(f"{name} are in {count}, as their name says")
    used = {name for line in lines for name in line.numbers}
    if "parameters" in columns.at and not {"parameters", "once_parameters"} & used:
        remarks.append("parameters are not used: of loops, give once_parameters and recurrent_parameters")
    return remarks
