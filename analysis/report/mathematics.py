"""Formulas in the plain spelling of `Law.equation`, typeset: for Typst, HTML, and LaTeX and matplotlib.

A formula has numbers (`4e18` is 4 times ten to the 18th), names with a subscript after `_`, powers after `^`,
and signs. Prose holds formulas between dollar signs and code between backquotes.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_TOKEN = re.compile(
    r"\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z]+(?:_[A-Za-z0-9]+)?|<=|>=|\s+|\S",
)
_GREEK = {"alpha", "beta", "gamma", "delta", "mu", "phi", "rho"}
_HIDDEN = str.maketrans({"$": "\ue000", "`": "\ue001"})
_SHOWN = str.maketrans({"\ue000": "$", "\ue001": "`"})
"""Characters of the private use area stand for marks that mean nothing."""
_FUNCTIONS = {"exp", "ln", "log", "max", "min"}


@dataclass(frozen=True)
class Dialect:
    """How a typesetter writes the few things that formulas are made of."""

    greek: str
    function: str
    word: str
    letter: str
    subscript: str
    power: str
    bar: str
    times: str
    infinity: str
    signs: dict[str, str]


TYPST = Dialect(
    greek="{}",
    function="{}",
    word='"{}"',
    letter="{}",
    subscript="{}_({})",
    power="^({})",
    bar="overline({})",
    times=" times ",
    infinity="infinity",
    signs={"/": "\\/", "%": "\\%", "#": "\\#"},
)
LATEX = Dialect(
    greek="\\{}",
    function="\\{}",
    word="\\mathrm{{{}}}",
    letter="{}",
    subscript="{}_{{{}}}",
    power="^{{{}}}",
    bar="\\bar{{{}}}",
    times="\\times ",
    infinity="\\infty",
    signs={"<=": "\\leq ", ">=": "\\geq ", "%": "\\%", "#": "\\#", "~": "\\sim ", "*": "\\ast "},
)
HTML = Dialect(
    greek="<i>&{};</i>",
    function="{} ",
    word="{}",
    letter="<i>{}</i>",
    subscript="{}<sub>{}</sub>",
    power="<sup>{}</sup>",
    bar='<span class="bar">{}</span>',
    times=" × ",
    infinity="∞",
    signs={"<=": "≤", ">=": "≥", "<": "&lt;", ">": "&gt;", "&": "&amp;", "-": "−", "*": "∗"},
)


def typeset(formula: str, dialect: Dialect) -> str:
    """The formula in a typesetter's own spelling, without the marks around it."""
    return _render(_TOKEN.findall(formula), dialect)


def literal(text: str) -> str:
    """Somebody else's words, such as a model's name, as prose in which nothing is a formula or code."""
    return text.translate(_HIDDEN)


def prose(
    text: str,
    plain: Callable[[str], str],
    formula: Callable[[str], str],
    code: Callable[[str], str],
) -> str:
    """Text with its formulas and code each handed to the function for them, and the rest to `plain`."""
    parts = re.split(r"(\$[^$]*\$|`[^`]*`)", text)
    kinds = {"$": formula, "`": code}
    return "".join(
        kinds[part[0]](part[1:-1].translate(_SHOWN))
        if part[:1] in kinds and len(part) > 1
        else plain(part.translate(_SHOWN))
        for part in parts
    )


def bare(text: str) -> str:
    """The text as it would be typed, formulas in plain spelling."""
    return prose(text, str, str, str)


def _render(tokens: list[str], dialect: Dialect) -> str:
    written, position = [], 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if token == "^":
            inner, position = _raised(tokens, position)
            written.append(dialect.power.format(_render(inner, dialect)))
        else:
            written.append(_written(token, dialect))
    return "".join(written)


def _raised(tokens: list[str], position: int) -> tuple[list[str], int]:
    """What is in a power that starts at `position`, and where the rest begins."""
    if tokens[position] == "(":
        depth, end = 1, position
        while depth:
            end += 1
            depth += {"(": 1, ")": -1}.get(tokens[end], 0)
        return tokens[position + 1 : end], end + 1
    length = 2 if tokens[position] == "-" else 1
    return tokens[position : position + length], position + length


def _written(token: str, dialect: Dialect) -> str:
    if token[0].isdigit():
        mantissa, _, exponent = token.partition("e")
        if not exponent:
            return mantissa
        ten = "10" + dialect.power.format(str(int(exponent)).replace("-", dialect.signs.get("-", "-")))
        return ten if mantissa == "1" else f"{mantissa}{dialect.times}{ten}"
    if token[0].isalpha():
        base, _, below = token.partition("_")
        if not below:
            return _name(base, dialect)
        return dialect.subscript.format(_name(base, dialect), _below(below, dialect))
    return dialect.signs.get(token, token)


def _name(name: str, dialect: Dialect) -> str:
    if name in _GREEK:
        return dialect.greek.format(name)
    if name in _FUNCTIONS:
        return dialect.function.format(name)
    if name.endswith("bar") and len(name) == 4:
        return dialect.bar.format(name[0])
    return (dialect.letter if len(name) == 1 else dialect.word).format(name)


def _below(name: str, dialect: Dialect) -> str:
    return dialect.infinity if name == "inf" else _name(name, dialect)
