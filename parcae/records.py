"""Records: dataclasses that are written as JSON or TOML, and read with the path of any wrong key."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, ClassVar, Self, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from parcae.errors import InputError

Kind = TypeVar("Kind")

_IN_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "keys with values",
}


class Record:
    """A dataclass with its conversions.

    Fields named in `_optional` are not written at their default, so that a record written and hashed before
    such a field existed keeps its hash. All other fields are required, even those with a default.
    """

    _optional: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The record that `to_dict` wrote; ``InputError`` for anything else."""
        return from_plain(cls, values, f"a {cls.__name__}")


def to_plain(value: Any) -> Any:
    """`value`, a record or a field of one, as plain JSON values."""
    if is_dataclass(value):
        optional = getattr(value, "_optional", ())
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in fields(value)
            if field.name not in optional or getattr(value, field.name) != field.default
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def from_plain(kind: type[Kind], values: Any, what: str, *, more_keys: bool = False) -> Kind:
    """The record of type `kind` in `values`, parsed JSON or TOML.

    ``InputError`` says that `what` cannot be read and names the wrong key. A key that `kind` does not have is
    wrong, unless `more_keys` are allowed because a later version may have added them.
    """
    try:
        record = msgspec.convert(values, kind)
    except UnicodeEncodeError as error:
        raise InputError(f"cannot read {what}: it holds half a character") from error
    except msgspec.ValidationError as error:
        raise InputError(printable(f"cannot read {what}: {_in_words(str(error), values)}")) from error
    for path, problem in _wrong_keys(kind, values, ""):
        if not (more_keys and problem.startswith("unknown")):
            raise InputError(printable(f"cannot read {what}: the key {path} is {problem}"))
    return record


def printable(sentence: str) -> str:
    """`sentence` without halves of characters, which JSON and paths may hold, and no database takes."""
    return sentence.encode(errors="backslashreplace").decode()


def _wrong_keys(kind: Any, values: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, unknown or missing) of keys in `values`, which convert to `kind`."""
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(values, dict):
        types, required = _fields(kind)
        known = f"unknown; there are {', '.join(types)}"
        yield from ((f"{path}{name}", known) for name in sorted(values.keys() - types.keys()))
        yield from ((f"{path}{name}", "missing") for name in sorted(required - values.keys()))
        for name in types.keys() & values.keys():
            if _holds_records(types[name]):
                yield from _wrong_keys(types[name], values[name], f"{path}{name}.")
    elif get_origin(kind) in (UnionType, Union):
        for part in get_args(kind):
            yield from _wrong_keys(part, values, path)
    elif isinstance(values, dict | list):
        for key, item in values.items() if isinstance(values, dict) else enumerate(values):
            for part in get_args(kind):
                yield from _wrong_keys(part, item, f"{path}{key}.")


CHECKSUM = "checksum"


def checksum(values: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of SHA-256 over the canonical JSON of an object without its checksum."""
    others = {key: value for key, value in values.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()[:16]


def sealed(record: Any) -> dict[str, Any]:
    """`record` as plain JSON values with their checksum."""
    values: dict[str, Any] = to_plain(record)
    return {**values, CHECKSUM: checksum(values)}


def unsealed(values: Any, what: str) -> Any:
    """Parsed JSON without its checksum, if it has one. ``InputError`` if that differs.

    Files of early versions have none.
    """
    if not isinstance(values, dict) or CHECKSUM not in values:
        return values
    if values[CHECKSUM] != checksum(values):
        raise InputError(f"{what} is damaged or was edited: its checksum does not match its content")
    return {key: value for key, value in values.items() if key != CHECKSUM}


def settle_choices(record: Any) -> None:
    """Replaces strings in the fields of a frozen dataclass by the members of the enums that they name.

    ``InputError`` names the field and the values that it takes. Without this a string compares equal to a
    member, but is not one, and would silently be none of the choices.
    """
    record_type: Any = type(record)
    for name, kind in _choices(record_type).items():
        value = getattr(record, name)
        if value is not None and not isinstance(value, kind):
            if value not in (values := [member.value for member in kind]):
                raise InputError(f"{name} is {value!r}; it takes {' or '.join(values)}")
            object.__setattr__(record, name, kind(value))


@cache
def _choices(kind: Any) -> dict[str, type[StrEnum]]:
    """The fields of a dataclass whose values are members of an enum."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and issubclass(part, StrEnum):
                found[name] = part
    return found


@cache
def _fields(kind: Any) -> tuple[dict[str, Any], set[str]]:
    """The types of a record's fields by name, and the names of the required ones."""
    hints = get_type_hints(kind)
    types = {field.name: hints[field.name] for field in fields(kind)}
    with_default = {f.name for f in fields(kind) if (f.default, f.default_factory) != (MISSING, MISSING)}
    return types, types.keys() - (kind._optional if issubclass(kind, Record) else with_default)


@cache
def _holds_records(kind: Any) -> bool:
    return is_dataclass(kind) or any(map(_holds_records, get_args(kind)))


def _in_words(found: str, values: Any) -> str:
    """msgspec's finding in `values`, with the path of the key, its value and what would be right."""
    problem, _, place = found.partition(" - at `$")
    path = place.removesuffix("`").removeprefix(".")
    if problem.startswith("Object missing required field"):
        return f"the key {path + '.' if path else ''}{problem.split('`')[1]} is missing"
    if not problem.startswith(("Expected `", "Invalid enum value")):
        return f"{path}: {problem}" if path else problem
    for step in path.replace("[", ".").replace("]", "").split("."):
        if isinstance(values, dict):
            values = values.get(step, values)
        elif isinstance(values, list) and step.isdigit():
            values = values[int(step)]
    kinds = problem.split("`")[1].split(" | ") if problem.startswith("Expected") else []
    takes = " or ".join(_IN_WORDS.get(kind, kind) for kind in kinds if kind != "null")
    return f"{path or 'the content'} is {values!r}" + (
        f"; it takes {takes}" if takes else ", which is not one of its values"
    )
