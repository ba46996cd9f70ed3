"""Numbers as people write them: 1.2B, 3e18, 4*10^7, 5,770,000,000, 40_000_000, 3,399 with a decimal comma."""

import math
import re
from collections.abc import Iterable
from enum import StrEnum

MISSING = frozenset({"", "-", "--", "na", "n/a", "nan", "none", "null", "?", "missing", "#n/a"})
"""What stands for no number, in small letters."""


class Count(StrEnum):
    """The unit of a column of parameters or tokens."""

    ONES = "ones"
    THOUSANDS = "thousands"
    MILLIONS = "millions"
    BILLIONS = "billions"

    @property
    def factor(self) -> float:
        return {"ones": 1.0, "thousands": 1e3, "millions": 1e6, "billions": 1e9}[self.value]


class LossUnit(StrEnum):
    """The unit of a column of losses."""

    NATS = "nats"
    BITS_PER_BYTE = "bits-per-byte"
    PERPLEXITY = "perplexity"

    def nats(self, value: float, bytes_per_token: float | None) -> float:
        """Nats per token of a loss in this unit; NaN where it has none."""
        if self is LossUnit.PERPLEXITY:
            return math.log(value) if value > 1 else float("nan")
        if self is LossUnit.BITS_PER_BYTE:
            assert bytes_per_token is not None
            return value * bytes_per_token * math.log(2)
        return value


_SUFFIXES = {
    **{"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "p": 1e15},
    **{"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "mm": 1e6, "bn": 1e9},
}
_NUMBER = re.compile(
    r"(?P<digits>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)?"
    r"\s*(?P<times>[*x×·]?)\s*(?:10(?:\^|\*\*)(?P<power>[-+]?\d+))?"
    r"\s*(?P<suffix>k|m|b|g|t|p|mm|bn|thousand|million|billion|trillion)?"
    r"\s*(?:tokens?|params?|parameters|flops?|nats?|tok)?"
)
_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?\D*")
_SUPERSCRIPTS = str.maketrans({**dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))})


def decimal_comma(cells: Iterable[str], delimiter: str) -> bool:
    """Whether a table writes 3,399 for 3.399: a comma that groups no thousands says so, and so does a table
    cut by something else that has commas and no points."""
    with_comma, points = [], False
    for cell in cells:
        points = points or "." in cell
        if "," in cell and re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?", cell, re.IGNORECASE):
            with_comma.append(cell)
    if any(cell.count(",") > 1 or re.search(r",.*\.", cell) for cell in with_comma):
        return False
    if any(not _GROUPED.fullmatch(cell) for cell in with_comma):
        return True
    return bool(with_comma) and not points and delimiter != ","


def number(cell: str, comma_is_point: bool = False) -> float:
    """The number that `cell` writes; NaN where it is missing. ``ValueError`` if it writes none."""
    text = cell
    if comma_is_point:
        text = text.replace(".", "").replace(",", ".")
    try:
        return float(text)
    except ValueError:
        pass
    text = text.casefold()
    if text in MISSING:
        return float("nan")
    text = re.sub(r"(?<=\d)[,_'’\s](?=\d{3}(?!\d))", "", text.replace("\N{NO-BREAK SPACE}", " "))
    text = re.sub(r"10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda found: "10^" + found[1].translate(_SUPERSCRIPTS), text)
    found = _NUMBER.fullmatch(text.strip())
    if (
        found is None
        or not (found["digits"] or found["power"])
        or bool(found["times"]) > bool(found["digits"] and found["power"])
    ):
        raise ValueError(cell)
    value = float(found["digits"] or 1)
    if found["power"]:
        value *= float(f"1e{found['power']}")
    return value * _SUFFIXES[found["suffix"] or ""]
