"""The request of a plan, from the command line or a study file, parsed and checked."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
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
_ONE = ("model", "convention", "sweep", "data", "epochs_allowed")
_NUMBERS: dict[str, type] = {"flops": float, "tokens": float, "recurrences": int, "seeds": int}


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
        return grid(
            self.model,
            self.numbers.get("flops") or self.numbers["tokens"],
            self.numbers.get("recurrences"),
            seeds=self.numbers.get("seeds", [0]),
            axes=self.axes,
            convention=self.convention,
            text=text,
        )


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
    known = [*_ONE, *_NUMBERS, *map(option_of, AXES)]
    if unknown := sorted(options.keys() - set(known)):
        raise InputError(f"there is no option {unknown[0]!r}; a study file takes {', '.join(known)}")
    if len(options.keys() & {"flops", "tokens"}) != 1:
        raise InputError("cannot plan without a budget; give either --flops or --tokens")
    numbers = {name: _values(name, kind, options[name]) for name, kind in _NUMBERS.items() if name in options}
    model = str(options.get("model", MODEL))
    amounts = numbers.get("flops") or numbers["tokens"]
    name = default_sweep_name(model, amounts) + ("" if "flops" in numbers else "-tokens")
    return Request(
        model=model,
        sweep=str(options.get("sweep", name)),
        data=str(options.get("data", preset(model).text)),
        epochs_allowed=_values("epochs_allowed", float, options.get("epochs_allowed", MOST_EPOCHS))[0],
        convention=_values(
            "convention", {c.value: c for c in Convention}, options.get("convention", "paper")
        )[0],
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


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text())
    except OSError as error:
        raise InputError(f"cannot read the study file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the study file {file}: {error}") from None
    return {name.replace("-", "_"): value for name, value in values.items()}


def _values(name: str, kind: Mapping[str, Any] | type, given: Any) -> list[Any]:
    """The values of one option: of the type `kind`, or the values named in `kind`."""
    several = given if isinstance(given, list) else [given]
    parts = [part.strip() for item in several for part in str(item).split(",")]
    option = f"--{name.replace('_', '-')}"
    if not parts:
        raise InputError(f"{option} is an empty list; give it a value, or leave it out")
    try:
        return [kind[part] if isinstance(kind, Mapping) else kind(part) for part in parts]
    except (KeyError, ValueError):
        wrong = ",".join(parts)
        wanted = (
            f"one or more of {', '.join(kind)}"
            if isinstance(kind, Mapping)
            else "whole numbers such as 1,2,4"
            if kind is int
            else "numbers such as 1e19"
        )
        raise InputError(f"cannot read {option} {wrong!r}; it takes {wanted}") from None
