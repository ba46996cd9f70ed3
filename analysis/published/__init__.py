"""The published study: the paper's tables and the digitised points of its figures, as package data.

Source: arXiv 2604.12946. The 54 isoFLOP points were read off the project page's pictures of figures 4 and 5:
loss to about 0.0005, 0.002 where a star lies over the dot. Perplexities of table 8 become losses by their
logarithm.
"""

from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

from parcae.config import default_backward_depth
from parcae.flops import Convention, counted_parameters, flops_per_token, parameter_count
from parcae.presets import preset
from sweeps.store.database import RUN_COLUMNS


@cache
def published(table: str) -> pd.DataFrame:
    """One of the tables, by its file name without the ending; do not write to it."""
    with (files(__name__) / f"{table}.csv").open() as file:
        return pd.read_csv(file)


def published_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(runs, losses) as `sweeps.store` would give them, convention `paper`."""
    rows: list[dict[str, object]] = []
    for point in published("isoflop_figure4").to_dict("records"):
        name, flops = str(point["model"]), float(point["flops"])
        mean_recurrence = int(point["mean_recurrence"])
        model = preset(name).model
        once, recurrent = counted_parameters(model, Convention.PAPER)
        cost = flops_per_token(
            model,
            mean_recurrence=mean_recurrence,
            backward_depth=default_backward_depth(mean_recurrence),
        )
        rows.append(
            {
                "run_id": f"{name}/{flops:.3g}/{mean_recurrence}",
                "model": name,
                "state": "done",
                "flops": flops,
                "convention": Convention.PAPER.value,
                "mean_recurrence": mean_recurrence,
                "backward_depth": default_backward_depth(mean_recurrence),
                "tokens": flops / cost,
                "once_parameters": once,
                "recurrent_parameters": recurrent,
                "parameters": parameter_count(model),
                "val_loss": point["val_loss"],
            }
        )
    test_time = published("testtime_table8").assign(
        run_id=lambda t: t["model"] + "/" + t["sampling"], loss=lambda t: np.log(t["val_perplexity"])
    )
    for run_id, curve in test_time.groupby("run_id"):
        rows.append(
            {
                "run_id": run_id,
                "model": curve["model"].iloc[0],
                "state": "done",
                "mean_recurrence": curve["mean_recurrence"].iloc[0],
            }
        )
    runs = pd.DataFrame(rows).reindex(columns=[*RUN_COLUMNS, "predicted_loss"])
    return runs, test_time[["run_id", "test_recurrence", "loss"]]
