"""IsoFLOP curves in characters: one letter a run, the letter that of its budget."""

import math
import string
from collections import Counter
from collections.abc import Sequence

from sweeps.runs.states import State
from sweeps.store.rows import RunRow

LEAST_WIDTH, LEAST_HEIGHT = 30, 6
"""Columns and rows that a chart needs to say anything."""


def curves(runs: Sequence[RunRow], width: int, height: int) -> list[str]:
    """The losses of the model with the most finished runs, over mean recurrence; nothing for fewer than two.

    `height` lines of at most `width` characters: the chart, the axis and the letters of the budgets.
    """
    done = [
        (run.model, run.flops, run.mean_recurrence, run.val_loss)
        for run in runs
        if run.state is State.DONE and run.flops and run.mean_recurrence and run.val_loss
    ]
    models = Counter(model for model, *_ in done).most_common(1)
    shown = [place for model, *place in done if model == models[0][0]]
    depths = sorted({depth for _, depth, _ in shown})
    if len(depths) < 2 or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return []
    letters = dict(zip(sorted({flops for flops, _, _ in shown}), string.ascii_letters, strict=False))
    rows, left = height - 3, 8
    columns = width - left - 1
    low, high = (end(loss for _, _, loss in shown) for end in (min, max))
    chart = [[" "] * columns for _ in range(rows)]

    def column(depth: float) -> int:
        share = math.log(depth / depths[0]) / math.log(depths[-1] / depths[0])
        return round(share * (columns - 3)) + 1

    for flops, depth, loss in shown:
        row = round((high - loss) / ((high - low) or 1.0) * (rows - 1))
        chart[row][column(depth)] = letters.get(flops, "·")
    labels = {0: f"{high:.4f}", rows - 1: f"{low:.4f}"}
    lines = [f"{labels.get(i, ''):>{left - 1}} │{''.join(row)}".rstrip() for i, row in enumerate(chart)]
    axis = ["─"] * columns
    free = 0
    for depth in depths:
        text, at = f"{depth:g}", column(depth)
        if at >= free and at + len(text) <= columns:
            axis[at : at + len(text)] = text
            free = at + len(text) + 1
    lines.append(" " * left + "└" + "".join(axis))
    lines.append((" " * left + f" mean recurrence of {models[0][0]}, loss in nats")[:width])
    legend = "  ".join(f"{letter} {budget:.3g}" for budget, letter in letters.items())
    return [*lines, (" " * left + f" FLOPs: {legend}")[:width]]
