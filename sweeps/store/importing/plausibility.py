"""What a file of runs looks like: units and swapped columns are told from the numbers, over the whole file.

A few implausible rows are left out and counted. More of them, and the file is refused in a sentence that says
what it looks like. Losses in nats, parameters and tokens as plain counts. Every limit is an assumption.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from statistics import median

from parcae.errors import InputError
from sweeps.store.importing.numbers import Count

LARGEST_VOCABULARY = 2**18
"""Where the vocabulary isn't known: chance on the largest in use is 12.5 nats."""
HIGHEST_LOSS = 20.0
"""Nats, of a single run; one that has diverged may be worse than chance."""
FEWEST_PARAMETERS = 1e3
FEWEST_TOKENS = 1e4
"""About a batch of the smallest models."""
MOST_PARAMETERS, MOST_TOKENS = 1e14, 1e16
MOST_RECURRENCES = 1e3
FEWEST_TOKENS_PER_PARAMETER = 0.05
COST = (0.05, 20.0)
"""C / (6 N D)."""
STRAY = 0.1
"""The fraction of rows, or else a single one, that is left out rather than held against the file."""
USUAL_RATIO, USUAL_TOKENS = 20.0, 1e10
"""Tokens per parameter (Hoffmann et al.), and tokens: only to say which unit is the likeliest."""

Numbers = Mapping[str, float]


def judge(rows: Sequence[Numbers], source: str, *, vocabulary: float = float("nan")) -> dict[int, str]:
    """Index -> why, of the rows to leave out. ``InputError`` if too many rows are implausible in one way."""
    chance = math.log(vocabulary) if vocabulary > 1 else math.log(LARGEST_VOCABULARY)
    found: dict[int, str] = {}
    rows = [_with_size(row) for row in rows]
    trained = [row["val_loss"] for row in rows if "val_loss" in row]
    if trained and median(trained) > chance:
        raise InputError(_refusal(source, *_high_losses(rows), len(trained), len(trained)))
    for fails, reason, looks in _RULES:
        bad = [i for i, row in enumerate(rows) if fails(row)]
        if len(bad) > max(1, STRAY * len(rows)) or (bad and len(bad) == len(rows)):
            seen, advice = looks([rows[i] for i in bad])
            raise InputError(_refusal(source, seen, advice, len(bad), len(rows)))
        found |= {i: reason for i in bad if i not in found}
    return found


def _with_size(row: Numbers) -> Numbers:
    """A loop's row with its effective parameters, which is what its cost goes with."""
    if not {"once_parameters", "recurrent_parameters"} <= row.keys():
        return row
    size = row["once_parameters"] + row.get("mean_recurrence", 1.0) * row["recurrent_parameters"]
    return {**row, "parameters": size}


def _refusal(source: str, seen: str, advice: str, bad: int, of: int) -> str:
    share = "" if bad == of else f" in {bad} of {of} rows"
    return f"{source} has {seen}{share}; {advice}; to import it as it stands, add --as-given"


def _range(rows: Sequence[Numbers], field: str) -> str:
    values = [row[field] for row in rows if field in row]
    low, high = min(values), max(values)
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _high_losses(rows: Sequence[Numbers]) -> tuple[str, str]:
    return (
        f"losses of {_range(rows, 'val_loss')}, too high for nats per token",
        "they look like perplexities: give --loss perplexity",
    )


def _small_counts(rows: Sequence[Numbers]) -> tuple[str, str]:
    seen = " and ".join(f"{_range(rows, field)} {field}" for field in _COUNTS if field in rows[0])
    return f"only {seen}", _likeliest_units(rows)


_COUNTS = ("parameters", "tokens")


def _large_counts(rows: Sequence[Numbers]) -> tuple[str, str]:
    seen = " and ".join(f"{_range(rows, field)} {field}" for field in _COUNTS if field in rows[0])
    return seen, "see whether a unit was applied twice, or a column is another"


def _likeliest_units(rows: Sequence[Numbers]) -> str:
    """The units that make the rows most like a study."""
    n, d, c = (
        median([row[field] for row in rows if field in row] or [float("nan")])
        for field in ("parameters", "tokens", "flops")
    )

    def oddness(units: tuple[Count, Count]) -> float:
        size, data = n * units[0].factor, d * units[1].factor
        if size < FEWEST_PARAMETERS or data < FEWEST_TOKENS:
            return math.inf
        terms = [data / size / USUAL_RATIO, c / (6 * size * data), (data / USUAL_TOKENS) ** 0.1]
        return sum(abs(math.log(term)) for term in terms if term == term)

    parameters, tokens = min(product(Count, Count), key=oddness)
    options = [
        (name, option, unit)
        for name, option, unit in (
            ("parameters", "--params-in", parameters),
            ("tokens", "--tokens-in", tokens),
        )
        if unit is not Count.ONES
    ]
    if not options:
        return "see whether a column is in thousands, millions or billions, or is another column"
    looks = " and ".join(f"{name} in {unit}" for name, _, unit in options)
    return f"it looks like {looks}: give {' '.join(f'{option} {unit}' for _, option, unit in options)}"


def _few_tokens_each(rows: Sequence[Numbers]) -> tuple[str, str]:
    ratios = [row["tokens"] / row["parameters"] for row in rows]
    seen = f"{min(ratios):.2g} to {max(ratios):.2g} tokens per parameter"
    return seen, (
        f"parameters ({_range(rows, 'parameters')}) and tokens ({_range(rows, 'tokens')}) look swapped: "
        "exchange them with --map"
    )


def _odd_cost(rows: Sequence[Numbers]) -> tuple[str, str]:
    cost = median([row["flops"] / (6 * row["parameters"] * row["tokens"]) for row in rows])
    seen = f"FLOPs of {cost:.2g} times 6 N D (median)"
    for name, unit in (("gigaFLOPs", 1e9), ("teraFLOPs", 1e12), ("petaFLOPs", 1e15), ("exaFLOPs", 1e18)):
        if 0.3 < cost * unit < 3:
            return seen, f"the FLOPs look like {name}: write them as plain FLOPs"
    for name, unit in (("thousands", 1e3), ("millions", 1e6), ("billions", 1e9)):
        if 0.3 < cost / unit < 3:
            return seen, f"parameters or tokens look like {name}: give --params-in or --tokens-in {name}"
    return seen, "see whether columns are swapped, or a unit is another"


def _deep(rows: Sequence[Numbers]) -> tuple[str, str]:
    large = [row for row in rows if row["mean_recurrence"] > MOST_RECURRENCES]
    advice = "see whether mean_recurrence is another column; say which with --map"
    for field in ("flops", "tokens"):
        small = [row for row in large if row.get(field, math.inf) <= MOST_RECURRENCES]
        if len(small) == len(large):
            advice = (
                f"mean_recurrence and {field} ({_range(large, field)}) look swapped: exchange them with --map"
            )
    return f"mean recurrences of {_range(large, 'mean_recurrence')}", advice


_RULES: tuple[tuple[Callable[[Numbers], bool], str, Callable[[Sequence[Numbers]], tuple[str, str]]], ...] = (
    (
        lambda row: row.get("mean_recurrence", 1) > MOST_RECURRENCES,
        f"with a mean recurrence over {MOST_RECURRENCES:g}",
        _deep,
    ),
    (
        lambda row: row.get("val_loss", 0) > HIGHEST_LOSS,
        f"with a loss over {HIGHEST_LOSS:g} nats",
        _high_losses,
    ),
    (
        lambda row: row.get("parameters", math.inf) < FEWEST_PARAMETERS,
        f"of fewer than {FEWEST_PARAMETERS:,.0f} parameters",
        _small_counts,
    ),
    (
        lambda row: row.get("tokens", math.inf) < FEWEST_TOKENS,
        f"on fewer than {FEWEST_TOKENS:,.0f} tokens",
        _small_counts,
    ),
    (
        lambda row: row.get("parameters", 0) > MOST_PARAMETERS or row.get("tokens", 0) > MOST_TOKENS,
        "of more parameters or tokens than anything trained",
        _large_counts,
    ),
    (
        lambda row: row.get("tokens", math.inf) / row.get("parameters", 1) < FEWEST_TOKENS_PER_PARAMETER,
        f"on fewer than {FEWEST_TOKENS_PER_PARAMETER:g} tokens per parameter",
        _few_tokens_each,
    ),
    (
        lambda row: (
            {"flops", "parameters", "tokens"} <= row.keys()
            and not COST[0] <= row["flops"] / (6 * row["parameters"] * row["tokens"]) <= COST[1]
        ),
        f"whose FLOPs are not {COST[0]:g} to {COST[1]:g} times 6 N D",
        _odd_cost,
    ),
)
"""What makes a row implausible, the reason when it is left out, and what a file of such rows looks like."""
