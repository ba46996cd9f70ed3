"""Reading a record: what is right comes back as it was, what is wrong is named by its path."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from parcae.config import ExecutionConfig, Injection, ModelConfig, Recipe
from parcae.errors import InputError
from parcae.presets import preset
from parcae.records import Record, from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class Part(Record):
    size: int
    rate: float = 1.0
    injection: Injection = Injection.ADD
    note: str | None = None

    _optional: ClassVar[frozenset[str]] = frozenset({"note"})

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size is {self.size}; it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class Whole:
    name: str
    part: Part | None = None
    parts: tuple[Part, ...] = ()
    by_name: dict[str, Part]


PART = {"size": 2, "rate": 0.5, "injection": "concat"}
WHOLE = {"name": "n", "part": PART, "parts": [PART, PART], "by_name": {"a": PART}}


def changed(path: str, value: Any) -> Any:
    """WHOLE with another value at `path`; without the key if the value is ..."""

    def copy(values: Any, steps: list[str]) -> Any:
        if not steps:
            return value
        first, *rest = steps
        if isinstance(values, list):
            return [copy(item, rest) if str(i) == first else item for i, item in enumerate(values)]
        new = {**values, first: copy(values.get(first), rest)}
        return {key: item for key, item in new.items() if item is not ...}

    return copy(WHOLE, path.split("."))


def test_what_was_written_is_read_again() -> None:
    whole = from_plain(Whole, WHOLE, "it")
    assert whole.parts[1] == Part(size=2, rate=0.5, injection=Injection.CONCAT)
    assert to_plain(whole) == WHOLE
    assert to_plain(Part(size=1, note="so"))["note"] == "so"
    assert isinstance(from_plain(Part, {**PART, "rate": 1}, "it").rate, float)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("part.size", "2", "part.size is '2'; it takes a whole number"),
        ("part.size", 2.5, "part.size is 2.5; it takes a whole number"),
        ("part.size", True, "part.size is True; it takes a whole number"),
        ("part.rate", "fast", "part.rate is 'fast'; it takes a number"),
        ("part.injection", "glue", "part.injection is 'glue', which is not one of its values"),
        ("parts.1.size", 0, "parts[1]: size is 0; it must be at least 1"),
        ("parts", 3, "parts is 3; it takes a list"),
        ("name", ..., "the key name is missing"),
        ("part.size", ..., "the key part.size is missing"),
        ("part.rate", ..., "the key part.rate is missing"),
        ("parts.1.rate", ..., "the key parts.1.rate is missing"),
        ("part.surprise", 1, "the key part.surprise is unknown; there are size, rate, injection, note"),
        ("parts.0.surprise", 1, "the key parts.0.surprise is unknown; there are size, rate, injection, note"),
        (
            "by_name.a.surprise",
            1,
            "the key by_name.a.surprise is unknown; there are size, rate, injection, note",
        ),
        ("surprise", 1, "the key surprise is unknown; there are name, part, parts, by_name"),
    ],
)
def test_what_is_wrong_is_named(path: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        from_plain(Whole, changed(path, value), "the file f")
    assert str(raised.value) == f"cannot read the file f: {sentence}"


def test_keys_of_a_later_version_may_be_allowed() -> None:
    values = changed("part.surprise", 1)
    assert from_plain(Whole, values, "it", more_keys=True) == from_plain(Whole, WHOLE, "it")
    with pytest.raises(InputError, match="missing"):
        from_plain(Whole, changed("part.rate", ...), "it", more_keys=True)


def test_choices_given_as_strings_are_the_members_that_they_name() -> None:
    config = ModelConfig(
        **preset("nano").model.to_dict() | {"recipe": "rdm", "injection": "concat", "activation": "silu"}
    )
    assert config.recipe is Recipe.RDM
    assert config.injection is Injection.CONCAT
    assert config.has_gated_mlp
    assert config == ModelConfig.from_dict(config.to_dict())
    with pytest.raises(InputError, match="injection is 'glue'; it takes diagonal or add or concat or none"):
        ModelConfig(**preset("nano").model.to_dict() | {"injection": "glue"})
    with pytest.raises(InputError, match="telemetry is 'loud'; it takes normal or extreme"):
        ExecutionConfig(telemetry="loud")  # type: ignore[arg-type]
