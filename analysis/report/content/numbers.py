"""Numbers as the report prints them: budgets as powers of ten, estimates with their limits."""

import math
import re
from collections.abc import Sequence

from analysis.engine.intervals import Interval
from analysis.report.content.document import Number

NONE = Number(text="–", value=float("nan"))


def plain(value: float, digits: int = 3) -> Number:
    """A number without an interval; a dash where there is none."""
    return (
        NONE
        if value is None or not math.isfinite(value)
        else Number(text=digits_of(value, digits), value=value)
    )


def estimate(value: Interval, digits: int = 3) -> Number:
    """0.401 (0.319 to 0.753); without limits where none are known, and a dash without an estimate."""
    if not math.isfinite(value.value):
        return NONE
    text = digits_of(value.value, digits)
    if math.isfinite(value.low):
        text = f"{text} ({digits_of(value.low, digits)} to {digits_of(value.high, digits)})"
    return Number(text=text, value=value.value, low=value.low, high=value.high)


def digits_of(value: float, digits: int) -> str:
    """The value to so many significant digits, its zeros kept; with a power of ten where that is shorter."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    size = math.floor(math.log10(abs(rounded)))
    if not -4 <= size < 5:
        return f"${_scientific(rounded, digits)}$"
    return f"{rounded:.{max(digits - 1 - size, 0)}f}"


def _scientific(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def flops(value: float) -> str:
    """A budget or a number of tokens as a formula, such as $1.6e19$; three digits at most."""
    mantissa, _, exponent = _scientific(value, 3).partition("e")
    return f"${mantissa.rstrip('0').rstrip('.')}e{exponent}$"


def amount(value: float) -> Number:
    """A budget in a table."""
    return Number(text=flops(value), value=value) if math.isfinite(value) else NONE


def tokens(value: float) -> Number:
    """A number of tokens in a table, to three digits."""
    return Number(text=f"${_scientific(value, 3)}$", value=value) if math.isfinite(value) else NONE


def whole(value: float) -> Number:
    """A whole number, such as an advised mean recurrence."""
    return Number(text=f"{value:g}", value=value) if math.isfinite(value) else NONE


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def counted(count: int, noun: str) -> str:
    """1 run, 2 runs."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def sentence(words: str) -> str:
    """A finding of the fits as a sentence: a capital, a full stop, and its powers of ten as formulas."""
    words = re.sub(r"(\d+(?:\.\d+)?)e\+?(-?\d+)", lambda m: f"${m[1]}e{int(m[2])}$", words.strip())
    words = words[:1].upper() + words[1:]
    return words if words.endswith((".", "!", "?")) else f"{words}."
