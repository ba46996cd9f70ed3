"""Faults chosen blindly: a seeded draw among the operators, arguments and constants of a part of the code.

What decides how a figure looks, messages of errors, annotations and docstrings are left alone.
"""

import ast
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.parts import PARTS, Place

OPERATORS: dict[type, type] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult},
    **{ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Gt, ast.Gt: ast.GtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq},
    **{ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
    **{ast.And: ast.Or, ast.Or: ast.And},
}
LOOKS = {
    *(
        "alpha",
        "cmap",
        "color",
        "colour",
        "edgecolors",
        "figsize",
        "fmt",
        "fontsize",
        "frameon",
        "ha",
        "levels",
    ),
    *("labelsize", "linewidths", "ls", "lw", "marker", "ms", "nbins", "s", "title_fontsize", "va", "zorder"),
    *("add_axes", "figure", "locator_params", "set_edgecolor", "text", "tick_params", "transform", "write"),
}
"""Keywords and calls that decide no number."""


@dataclass(frozen=True)
class Site:
    """Something in a tree that can be changed."""

    line: int
    node: ast.AST
    """The smallest expression worth showing."""
    change: Callable[[], None]


def blind_mutants(seed: int, each: int) -> Iterator[Mutant]:
    """`each` faults of every part, no two alike."""
    for part, places in PARTS.items():
        generator = random.Random(f"{seed} {part}")
        seen: set[tuple[str, str]] = set()
        while len(seen) < each:
            place = generator.choice(places)
            mutant = _draw(part, place, generator)
            if mutant is not None and (mutant.file, mutant.text) not in seen:
                seen.add((mutant.file, mutant.text))
                yield mutant


def _draw(part: str, place: Place, generator: random.Random) -> Mutant | None:
    """One fault in `place`; None where nothing of the file drawn can be changed."""
    file = generator.choice(list(place.paths()))
    tree = ast.parse((ROOT / file).read_text())
    found = sites(tree, place)
    if not found:
        return None
    site = generator.choice(found)
    original, before = ast.unparse(tree), ast.unparse(site.node)
    site.change()
    text = ast.unparse(ast.fix_missing_locations(tree))
    if text == original:
        return None
    what = f"line {site.line}: {_difference(before, ast.unparse(site.node))}"
    return Mutant(part=part, file=file, text=text, what=what)


def _difference(before: str, after: str) -> str:
    """Where two texts differ, with a little of what is around it."""
    one, other = (" ".join(text.split()) for text in (before, after))
    start, end = _alike(one, other), _alike(one[::-1], other[::-1])
    first = max(start - 30, 0)
    parts = [text[first : max(len(text) - end, start) + 30] for text in (one, other)]
    return "  ->  ".join(part if len(part) <= 120 else f"{part[:80]} ... {part[-35:]}" for part in parts)


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def sites(tree: ast.Module, place: Place) -> list[Site]:
    """What can be changed in the functions of `place`."""
    found: list[Site] = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and place.has(function.name):
            for statement in function.body:
                _visit(statement, function, statement, found)
    return found


def _visit(node: ast.AST, function: ast.FunctionDef, shown: ast.AST, found: list[Site]) -> None:
    if isinstance(node, ast.Raise | ast.Assert | ast.FunctionDef | ast.ClassDef):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and _name(node.func) in LOOKS:
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # another method is no method
        found += [Site(node.lineno, node, change) for change in _changes(node, function)]
        for child in (node.func.value, *node.args, *(k for k in node.keywords if k.arg not in LOOKS)):
            _visit(child, function, node, found)
        return
    if isinstance(node, ast.AnnAssign):
        _visit(node.value or ast.Pass(), function, shown, found)
        return
    if isinstance(
        node, ast.BinOp | ast.BoolOp | ast.Compare | ast.Call | ast.Dict | ast.Tuple | ast.Subscript
    ):
        shown = node
    line = getattr(node, "lineno", getattr(shown, "lineno", 0))
    found += [Site(line, shown, change) for change in _changes(node, function)]
    children = [node.value] if isinstance(node, ast.FormattedValue) else ast.iter_child_nodes(node)
    if isinstance(node, ast.JoinedStr):
        children = [value for value in node.values if isinstance(value, ast.FormattedValue)]
    for child in children:
        if not (isinstance(child, ast.keyword) and child.arg in LOOKS):
            _visit(child, function, shown, found)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _changes(node: ast.AST, function: ast.FunctionDef) -> Iterator[Callable[[], None]]:
    """Every way to change this one node."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
        yield _set(node, "op", OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield _set(node, "ops", [OPERATORS[type(node.ops[0])]()])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield _set(node, "op", ast.UAdd())
    elif isinstance(node, ast.If | ast.IfExp):
        yield _set(node, "test", ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Constant):
        other = _other_constant(node.value, function)
        if other is not None:
            yield _set(node, "value", other)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        others = _attributes(function, node.value.id) - {node.attr}
        yield from (_set(node, "attr", other) for other in sorted(others)[:1])
    elif isinstance(node, ast.Call):
        yield from _swaps(node, "args")
        values = [keyword for keyword in node.keywords if keyword.arg not in LOOKS]
        for one, other in pairwise(values):
            yield _exchange(one, other)
    elif isinstance(node, ast.Dict):
        yield from _swaps(node, "values")
    elif isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Load):
        yield from _swaps(node, "elts")


def _other_constant(value: object, function: ast.FunctionDef) -> object:
    """Another value of its kind; None where there is none."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return 2 * value or 1.0
    if isinstance(value, str) and value.isidentifier():
        texts = {n.value for n in ast.walk(function) if isinstance(n, ast.Constant)}
        names = sorted(text for text in texts if isinstance(text, str) and text.isidentifier())
        return names[(names.index(value) + 1) % len(names)] if len(names) > 1 else None
    return None


def _attributes(function: ast.FunctionDef, base: str) -> set[str]:
    """Attributes of the variable `base` that the function reads."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == base
    }


def _swaps(node: ast.AST, field: str) -> Iterator[Callable[[], None]]:
    """Neighbours of a list exchanged."""
    values: Sequence[ast.AST] = getattr(node, field)
    for i, (one, other) in enumerate(pairwise(values)):
        if not isinstance(one, ast.Starred) and not isinstance(other, ast.Starred):
            yield _set(node, field, [*values[:i], other, one, *values[i + 2 :]])


def _set(node: ast.AST, field: str, value: object) -> Callable[[], None]:
    return lambda: setattr(node, field, value)


def _exchange(one: ast.keyword, other: ast.keyword) -> Callable[[], None]:
    def change() -> None:
        one.value, other.value = other.value, one.value

    return change
