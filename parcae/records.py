"""Configuration as JSON, and back."""

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, get_args

from parcae.errors import InputError


class Record:
    """Conversion to and from JSON-ready dictionaries; an unknown or missing key is an error.

    Fields named in `_optional` are left out at their default, so that what was written, and hashed, before
    such a field existed stays what it was.
    """

    _optional: ClassVar[frozenset[str]] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        plain = {
            field.name: getattr(self, field.name)
            for field in fields(self)  # type: ignore[arg-type]
            if field.name not in self._optional or getattr(self, field.name) != field.default
        }
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        known = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
        if wrong := sorted((values.keys() - known.keys()) | (known.keys() - values.keys() - cls._optional)):
            raise InputError(f"cannot read a {cls.__name__}: keys {wrong} are unknown or missing")
        return cls(**{key: _typed(known[key], value) for key, value in values.items()})


def _typed(annotation: Any, value: Any) -> Any:
    """`value` as JSON gives it, as the type that a field is annotated with."""
    if value is None:
        return None
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kind = next(kind for kind in kinds if kind is not NoneType)
    if isinstance(value, list):
        return tuple(value)
    return kind(value) if isinstance(kind, type) else value
