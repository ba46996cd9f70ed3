"""A CORE bundle on disk: tasks with their examples, and the table of their random baselines.

The layout is that of DCLM's and nanochat's bundle:

    core.yaml              icl_tasks of CORE: label, dataset_uri, num_fewshot, icl_task_type,
                           continuation_delimiter
    core_extended.yaml     those of CORE-extended; may be left out
    eval_data/             the examples, JSON lines
    eval_meta_data.csv     `Eval Task` and `Random baseline`, in percent
"""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from parcae.errors import InputError
from parcae.records import from_plain

CORE, EXTENDED = "core", "core_extended"
TABLE, DATA = "eval_meta_data.csv", "eval_data"
CORRECTIONS = {"siqa": 100 / 3, "commonsense_qa": 20.0}
"""Percent: the questions have three and five choices, which the first table of DCLM had wrong. Its 62 for
boolq, the share of the commoner answer, is meant."""


class Baselines(StrEnum):
    """Which random baselines accuracies are centred by."""

    CORRECTED = "corrected"
    """The bundle's, with CORRECTIONS."""
    BUNDLE = "bundle"
    """As the bundle has them."""


class Kind(StrEnum):
    """How the answers to a task are scored."""

    MULTIPLE_CHOICE = "multiple_choice"
    SCHEMA = "schema"
    LANGUAGE_MODELING = "language_modeling"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """An example with one context and several continuations."""

    query: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """An example with several contexts and one continuation."""

    context_options: tuple[str, ...]
    continuation: str
    gold: int


@dataclass(frozen=True, kw_only=True)
class Passage:
    """An example whose continuation is to be the likeliest, token by token."""

    context: str
    continuation: str


Example = Choices | Contexts | Passage
_EXAMPLES: dict[Kind, type[Example]] = {
    Kind.MULTIPLE_CHOICE: Choices,
    Kind.SCHEMA: Contexts,
    Kind.LANGUAGE_MODELING: Passage,
}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task with its examples."""

    label: str
    shots: int
    """Other examples before each, with their answers."""
    delimiter: str
    """Between context and continuation."""
    baseline: float
    """The accuracy of guessing, from 0 to 1."""
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The tasks of CORE and CORE-extended."""

    version: str
    """The hash of all its files, and the table of baselines."""
    tasks: Mapping[str, Task]
    groups: Mapping[str, tuple[str, ...]]
    """CORE and, where the bundle has it, EXTENDED: the labels of their tasks."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    label: str
    dataset_uri: str
    num_fewshot: tuple[int, ...]
    icl_task_type: Kind
    continuation_delimiter: str = " "


@dataclass(frozen=True, kw_only=True)
class _Listed:
    icl_tasks: tuple[_Entry, ...]


def load_bundle(folder: Path, baselines: Baselines) -> Bundle:
    """The bundle in `folder`. ``InputError`` names the first thing that is missing or wrong."""
    files = {CORE: folder / f"{CORE}.yaml"}
    if not files[CORE].is_file():
        raise InputError(f"{folder} is not a CORE bundle: it has no {CORE}.yaml")
    if (extended := folder / f"{EXTENDED}.yaml").is_file():
        files[EXTENDED] = extended
    listed = {group: _listed(path) for group, path in files.items()}
    if not all(listed.values()):
        raise InputError(f"the bundle {folder} lists no task")
    table = _table(folder / TABLE, baselines)
    digest = hashlib.sha256()
    for path in (*files.values(), folder / TABLE):
        digest.update(path.read_bytes())
    tasks: dict[str, Task] = {}
    for entry in (entry for entries in listed.values() for entry in entries):
        if entry.label not in tasks:
            path = folder / DATA / entry.dataset_uri
            if not path.is_file():
                raise InputError(f"the bundle {folder} has no file {path} for its task {entry.label}")
            if entry.label not in table:
                raise InputError(f"{folder / TABLE} has no baseline for the task {entry.label}")
            digest.update(path.read_bytes())
            tasks[entry.label] = Task(
                label=entry.label,
                shots=entry.num_fewshot[0] if entry.num_fewshot else 0,
                delimiter=entry.continuation_delimiter,
                baseline=table[entry.label] / 100,
                examples=_examples(path, entry.icl_task_type),
            )
    return Bundle(
        version=f"{digest.hexdigest()[:16]} {baselines.value}",
        tasks=tasks,
        groups={group: tuple(entry.label for entry in entries) for group, entries in listed.items()},
    )


def _listed(path: Path) -> tuple[_Entry, ...]:
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    return from_plain(_Listed, plain, str(path), more_keys=True).icl_tasks


def _table(path: Path, baselines: Baselines) -> dict[str, float]:
    """The baselines by task, percent."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = {row["Eval Task"]: float(row["Random baseline"]) for row in csv.DictReader(file)}
    except OSError as error:
        raise InputError(f"cannot read the baselines {path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"cannot read the baselines {path}: {error}; it takes the columns Eval Task and Random baseline"
        ) from error
    corrected = CORRECTIONS if baselines is Baselines.CORRECTED else {}
    return {task: corrected.get(task, share) for task, share in found.items()}


def _examples(path: Path, kind: Kind) -> tuple[Example, ...]:
    examples = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        what = f"line {number} of {path}"
        try:
            plain: Any = json.loads(line)
        except ValueError as error:
            raise InputError(f"cannot read {what}: {error}") from error
        example = from_plain(_EXAMPLES[kind], plain, what, more_keys=True)
        options = getattr(example, "choices", getattr(example, "context_options", None))
        if options is not None and not 0 <= getattr(example, "gold", 0) < len(options):
            raise InputError(f"cannot read {what}: gold names none of its {len(options)} choices")
        examples.append(example)
    if not examples:
        raise InputError(f"{path} holds no example")
    return tuple(examples)
