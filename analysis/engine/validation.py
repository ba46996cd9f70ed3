"""What a fit accepts: plain lists of finite, positive numbers; ``InputError`` names what is not."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from analysis.laws import Array, Law
from parcae.errors import InputError

NAMES = {
    "N": "parameters",
    "D": "tokens",
    "T": "test_recurrence",
    "mu": "mean_recurrence",
    "once": "once_parameters",
    "recurrent": "recurrent_parameters",
}
"""Variables of the laws as the functions that take them call them."""
LARGEST = 1e250
"""No number may be larger, or smaller than its inverse; squares of relative losses must fit a float."""
LARGEST_LOSS = 1e60


class Table(Protocol):
    """A DataFrame: named columns of one length."""

    @property
    def columns(self) -> Iterable[Any]: ...

    def __getitem__(self, name: str, /) -> Any: ...


def columns_of(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments of a fit by name: arrays as they are, or the columns of a table given as the first.

    A table has a column for each required argument; those it has of the optional ones are taken too.
    """
    optional = optional or {}
    first, table = next(iter(required.items()))
    if not hasattr(table, "columns"):
        missing = [name for name, values in required.items() if values is None]
        if missing:
            raise InputError(f"{missing[0]} is missing; give {', '.join(required)}, or a DataFrame of them")
        return {**required, **optional}
    beside = [n for n, values in {**required, **optional}.items() if n != first and values is not None]
    if beside:
        raise InputError(f"{beside[0]} is given beside a DataFrame; make it a column, {beside[0]!r}, instead")
    known = [str(name) for name in table.columns]
    for name in required:
        if name not in known:
            raise InputError(f"the DataFrame has no column {name!r}; it has {', '.join(known) or 'none'}")
    return {
        **{name: table[name] for name in required},
        **{name: table[name] if name in known else None for name in optional},
    }


def checked(law: Law, data: Mapping[str, ArrayLike], loss: ArrayLike) -> tuple[dict[str, Array], Array]:
    """Float arrays (n,) of one length, a variable each, and the losses (n,)."""
    losses = positive_numbers("loss", loss, largest=LARGEST_LOSS)
    columns = {}
    for variable in law.variables:
        name = NAMES.get(variable, variable)
        columns[variable] = positive_numbers(name, data[variable], or_zero=variable in ("once", "recurrent"))
        same_length(name, columns[variable], losses)
    if {"once", "recurrent"} <= set(columns):
        none = columns["once"] + columns["recurrent"] == 0
        if none.any():
            at = int(np.argmax(none))
            raise InputError(f"once_parameters[{at}] and recurrent_parameters[{at}] are both 0")
    return columns, losses


def same_length(name: str, values: Array, losses: Array) -> None:
    if len(values) != len(losses):
        raise InputError(f"{name} has {len(values)} values but there are {len(losses)} losses")


def positive_numbers(
    name: str, values: ArrayLike, *, or_zero: bool = False, largest: float = LARGEST
) -> Array:
    """A float array (n,) of positive numbers that a fit can square and take logarithms of."""
    array = finite_numbers(name, values)
    wrong = array < 0 if or_zero else array <= 0
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(f"{name}[{at}] is {array[at]:g}; it must be positive{' or zero' * or_zero}")
    absurd = (array > largest) | ((array < 1 / largest) & (array > 0))
    if absurd.any():
        at = int(np.argmax(absurd))
        raise InputError(
            f"{name}[{at}] is {array[at]:g}; no fit can use a number beyond {1 / largest:g} to {largest:g}"
        )
    return array


def together(**values: ArrayLike) -> list[Array]:
    """Float arrays (n,) of positive numbers, of one length; a single number stands for all."""
    arrays = {name: positive_numbers(name, given) for name, given in values.items()}
    length = max(len(array) for array in arrays.values())
    for name, array in arrays.items():
        if len(array) not in (1, length):
            longest = next(other for other, one in arrays.items() if len(one) == length)
            raise InputError(
                f"{name} has {len(array)} values but {longest} has {length}; give as many, or one"
            )
    return [np.broadcast_to(array, length) for array in arrays.values()]


def finite_numbers(name: str, values: ArrayLike) -> Array:
    """A float array (n,) of finite numbers; a masked value counts as missing."""
    array = numbers(name, values)
    if not np.isfinite(array).all():
        at = int(np.argmin(np.isfinite(array)))
        raise InputError(f"{name}[{at}] is {array[at]}; every value must be a finite number")
    return array


def numbers(name: str, values: ArrayLike) -> Array:
    """A float array (n,), NaN where a value is missing."""
    try:
        given = np.ma.filled(np.ma.asarray(values, dtype=float), np.nan) if np.ma.isMA(values) else values
        array = np.atleast_1d(np.asarray(given))
        if array.dtype.kind in "bcmM":
            raise TypeError(f"it holds {array.dtype.name} values")
        array = array.astype(float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not a list of numbers: {error}") from None
    if array.ndim != 1:
        raise InputError(f"{name} has {array.ndim} dimensions; it must be a plain list of numbers")
    return array
