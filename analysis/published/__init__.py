"""The published study: the paper's tables and the digitised points of its figures, as package data.

Source: arXiv 2604.12946. The 54 isoFLOP points were read off the project page's pictures of figures 4 and 5:
loss to about 0.0005, 0.002 where a star lies over the dot. Perplexities of table 8 become losses by their
logarithm.
"""

import math
from functools import cache
from importlib.resources import files

import pandas as pd

from sweeps.folders.paths import PUBLISHED
from sweeps.store.rows import LossRow, SweepRows, given_row

EXPONENTS = {"small-140m": (0.40, 0.77), "medium-370m": (0.38, 0.78)}
"""Exponents of mean recurrence and tokens that figure 5 prints, by model."""


@cache
def published(table: str) -> pd.DataFrame:
    """One of the tables, by its file name without the ending; do not write to it."""
    with (files(__name__) / f"{table}.csv").open() as file:
        return pd.read_csv(file)


def published_sweep() -> SweepRows:
    """The isoFLOP points, and the test-time curves as runs of which the losses alone are known."""
    runs = [
        given_row(
            run_id=f"{point['model']}/{point['flops']:.3g}/{point['mean_recurrence']}",
            model=str(point["model"]),
            flops=float(point["flops"]),
            mean_recurrence=float(point["mean_recurrence"]),
            val_loss=float(point["val_loss"]),
        )
        for point in published("isoflop_figure4").to_dict("records")
    ]
    losses = []
    for (model, sampling), curve in published("testtime_table8").groupby(["model", "sampling"]):
        run_id = f"{model}/{sampling}"
        mean_recurrence = float(curve["mean_recurrence"].iloc[0])
        runs.append(
            given_row(run_id=run_id, model=str(model), mean_recurrence=mean_recurrence, val_loss=None)
        )
        losses += [
            LossRow(run_id=run_id, test_recurrence=int(at), loss=math.log(perplexity))
            for at, perplexity in zip(curve["test_recurrence"], curve["val_perplexity"], strict=True)
        ]
    return SweepRows(name=PUBLISHED, kind="imported", runs=tuple(runs), losses=tuple(losses))
