"""What a fit accepts: plain lists of finite, positive numbers; ``InputError`` names what is not."""

from collections.abc import Mapping

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


def finite_numbers(name: str, values: ArrayLike) -> Array:
    """A float array (n,) of finite numbers; a masked value counts as missing."""
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
    if not np.isfinite(array).all():
        at = int(np.argmin(np.isfinite(array)))
        raise InputError(f"{name}[{at}] is {array[at]}; every value must be a finite number")
    return array
