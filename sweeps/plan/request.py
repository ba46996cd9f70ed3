"""The request of a plan, from the command line or a study file, parsed and checked."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from parcae.errors import InputError
from parcae.flops import Convention
from parcae.presets import preset
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import AXES, Text, default_sweep_name, isoflop_grid, token_grid

MODEL = "small-140m"
"""The default model."""
MOST_EPOCHS = 40.0
"""Passes over a text beyond which it teaches next to nothing (Muennighoff et al., arXiv 2305.16264)."""
_Kind = Mapping[str, Any] | type
_ONE: dict[str, _Kind] = {
    "model": str,
    "convention": {kind.value: kind for kind in Convention},
    "sweep": str,
    "data": str,
    "epochs_allowed": float,
}
"""The options that take one value, each with the type of its value, or its values by name."""
_SEVERAL: dict[str, _Kind] = {"flops": float, "tokens": float, "recurrences": int, "seeds": int}
_ONE_OF_TYPE: dict[type, str] = {str: "one name", float: "one number such as 40"}
_SEVERAL_OF_TYPE: dict[type, str] = {
    int: "whole numbers such as 1,2,4",
    float: "numbers such as 0.01 or 1e19",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of a plan with their values; settings that are absent are the preset's."""

    model: str
    sweep: str
    data: str
    """The text: a name or a folder."""
    epochs_allowed: float
    """How often a run may see the text."""
    convention: Convention
    numbers: Mapping[str, list[Any]]
    """flops or tokens; recurrences and seeds, if given."""
    axes: Mapping[str, list[Any]]

    def runs(self, text: Text) -> list[RunSpec]:
        grid = isoflop_grid if "flops" in self.numbers else token_grid
        try:
            return grid(
                self.model,
                self.numbers.get("flops") or self.numbers["tokens"],
                self.numbers.get("recurrences"),
                seeds=self.numbers.get("seeds", [0]),
                axes=self.axes,
                convention=self.convention,
                text=text,
            )
        except InputError as error:  # which names a field, where the user gave an option
            raise InputError(re.sub(rf"^({'|'.join(AXES)})\b", _named, str(error))) from error


def read_request(file: Path | None, given: Mapping[str, str | list[str] | None]) -> Request:
    """The request of the options in `given`, which override those in `file`, a TOML file.

    Values are strings from the command line, where commas separate several, or TOML values. ``InputError``
    names an unknown option or a value that cannot be read.
    """
    options: dict[str, Any] = {} if file is None else _read_file(file)
    chosen = {name: value for name, value in given.items() if value is not None}
    if {"flops", "tokens"} & chosen.keys():  # the command line's amounts replace the file's
        options = {name: value for name, value in options.items() if name not in ("flops", "tokens")}
    options |= chosen
    known = [*_ONE, *_SEVERAL, *map(option_of, AXES)]
    if unknown := sorted(options.keys() - set(known)):
        raise InputError(f"there is no option {unknown[0]!r}; a study file takes {', '.join(known)}")
    if {"flops", "tokens"} <= options.keys():
        raise InputError("cannot plan with both --flops and --tokens; give one of them")
    if not {"flops", "tokens"} & options.keys():
        raise InputError("cannot plan without a budget; give --flops or --tokens")
    one = {name: _value(name, kind, options[name]) for name, kind in _ONE.items() if name in options}
    numbers = {name: _values(name, kind, options[name]) for name, kind in _SEVERAL.items() if name in options}
    model = one.get("model", MODEL)
    amounts = numbers.get("flops") or numbers["tokens"]
    name = default_sweep_name(model, amounts) + ("" if "flops" in numbers else "-tokens")
    if (epochs := one.get("epochs_allowed", MOST_EPOCHS)) <= 0:
        raise InputError(f"--epochs-allowed is {epochs:g}; it must be positive")
    return Request(
        model=model,
        sweep=one.get("sweep", name),
        data=one.get("data", preset(model).text),
        epochs_allowed=epochs,
        convention=one.get("convention", Convention.PAPER),
        numbers=numbers,
        axes={
            axis: _values(option_of(axis), kind, options[option_of(axis)])
            for axis, kind in AXES.items()
            if option_of(axis) in options
        },
    )


def option_of(axis: str) -> str:
    """The option of a field: `batch` for batch_sequences."""
    return axis.removesuffix("_sequences")


def _named(field: re.Match[str]) -> str:
    """A field as the command line spells its option: `--batch`."""
    return _spelled(option_of(field[0]))


def _spelled(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text())
    except OSError as error:
        raise InputError(f"cannot read the study file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the study file {file}: {error}") from None
    for name in sorted(values):
        if "-" in name and (twin := name.replace("-", "_")) in values:
            raise InputError(f"the study file {file} has both {name} and {twin}, which are one; give it once")
    return {name.replace("-", "_"): value for name, value in values.items()}


def _value(name: str, kind: _Kind, given: Any) -> Any:
    """The value of an option that takes one; commas belong to a name."""
    try:
        return _read(kind, given)
    except (KeyError, ValueError):
        wanted = f"one of {', '.join(kind)}" if isinstance(kind, Mapping) else _ONE_OF_TYPE[kind]
        raise _cannot_read(name, given, wanted) from None


def _values(name: str, kind: _Kind, given: Any) -> list[Any]:
    """The values of one option: of the type `kind`, or the values named in `kind`."""
    several = given if isinstance(given, list) else [given]
    if not several:
        raise InputError(f"{_spelled(name)} is an empty list; give it a value, or leave it out")
    parts = [part for item in several for part in (item.split(",") if isinstance(item, str) else [item])]
    try:
        return [_read(kind, part) for part in parts]
    except (KeyError, ValueError):
        wanted = f"one or more of {', '.join(kind)}" if isinstance(kind, Mapping) else _SEVERAL_OF_TYPE[kind]
        raise _cannot_read(name, given, wanted) from None


def _read(kind: _Kind, given: Any) -> Any:
    """One value. ``KeyError`` or ``ValueError`` if it is none of `kind`."""
    text = given.strip() if isinstance(given, str) else given
    if isinstance(kind, Mapping):
        return kind[str(text)]
    if kind is str and isinstance(text, str) and text:
        return text
    if kind is str or type(text) not in (str, int, float):
        raise ValueError
    number = kind(str(text))  # 1.0 is not a whole number
    if kind is float and not isfinite(number):
        raise ValueError
    return number


def _cannot_read(name: str, given: Any, wanted: str) -> InputError:
    shown = ",".join(map(str, given)) if isinstance(given, list) else str(given)
    return InputError(f"cannot read {_spelled(name)} {shown!r}; it takes {wanted}")
