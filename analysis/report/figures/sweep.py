"""What ran: every run of a sweep at its budget and mean recurrence, and how runs trained."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.report.figures.style import (
    GREY,
    MODEL_COLOURS,
    SINGLE,
    Colour,
    axes_or_new,
    blank,
    budget_colour,
    in_style,
    letter,
    log_axis,
    reason,
    text,
    whole_axis,
)
from analysis.report.records import Records

MARKS = {
    "done": ("o", MODEL_COLOURS[0], "full"),
    "diverged": ("X", MODEL_COLOURS[1], "full"),
    "failed": ("v", MODEL_COLOURS[3], "full"),
    "timed-out": ("v", MODEL_COLOURS[4], "none"),
    "cancelled": ("s", GREY, "none"),
}
OTHERS = ("o", GREY, "none")
TRAINED_SHOWN = 12
"""Runs whose training is drawn; of more, so many at even distances, and every diverged one."""


@in_style
def runs_at_a_glance(records: Records, axes: Axes | None = None) -> Axes:
    """A mark a run at its mean recurrence and budget, by what became of it."""
    axes = axes_or_new(axes)
    runs = records.runs[records.runs["flops"].notna() & records.runs["mean_recurrence"].notna()]
    if not len(runs):
        reason(axes, "No run has both a budget and a mean recurrence.")
        return axes
    for state, rows in runs.groupby("state", sort=False):
        marker, colour, fill = MARKS.get(str(state), OTHERS)
        axes.plot(
            rows["mean_recurrence"],
            rows["flops"],
            linestyle="none",
            marker=marker,
            color=colour,
            fillstyle=fill,
            markersize=5,
            label=f"{state} ({len(rows)})",
        )
    log_axis(axes, "budget $C$ (FLOPs)", vertical=True)
    whole_axis(axes, runs["mean_recurrence"].tolist(), "mean recurrence $mu_rec$")
    axes.margins(0.1)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes


@in_style
def at_a_glance(records: Records) -> Figure:
    figure, (axes,) = blank(width=SINGLE + 1.0, height=2.0)
    runs_at_a_glance(records, axes)
    return figure


@in_style
def training(records: Records, column: str, label: str, axes: Axes | None = None) -> Axes:
    """One quantity over the steps of up to ``TRAINED_SHOWN`` runs; dashed with a cross: diverged."""
    axes = axes_or_new(axes)
    runs = shown_runs(records)
    depths = sorted(set(runs["mean_recurrence"]))
    legend: dict[str, Colour] = {}
    for run in runs.to_dict("records"):
        rows = records.telemetry[records.telemetry["run_id"] == run["run_id"]]
        values = rows[column].to_numpy(dtype=float)
        good = np.isfinite(values)
        if not good.any():
            continue
        bad = run["state"] != "done"
        colour = MODEL_COLOURS[1] if bad else budget_colour(depths.index(run["mean_recurrence"]), len(depths))
        legend[str(run["state"]) if bad else f"recurrence {run['mean_recurrence']:g}"] = colour
        steps = rows["step"].to_numpy(dtype=float)[good]
        axes.plot(
            steps,
            values[good],
            color=colour,
            linewidth=1.4 if bad else 0.8,
            linestyle="--" if bad else "-",
            label=f"_{run['run_id']};{column}",
        )
        if bad:
            axes.plot(steps[-1:], values[good][-1:], marker="X", color=colour, linestyle="none", label="_end")
    for name, colour in legend.items():
        axes.plot([], [], color=colour, linestyle="-" if name.startswith("recurrence") else "--", label=name)
    if not axes.lines:
        reason(axes, "No run has recorded this.")
        return axes
    axes.set_xlabel("step")
    axes.set_ylabel(text(label))
    axes.set_xscale("log")
    return axes


def shown_runs(records: Records) -> pd.DataFrame:
    known = records.runs[records.runs["run_id"].isin(records.telemetry["run_id"].unique())]
    bad, good = known[known["state"] != "done"], known[known["state"] == "done"]
    good = good.sort_values(["flops", "mean_recurrence"])
    if len(good) > TRAINED_SHOWN:
        good = good.iloc[np.linspace(0, len(good) - 1, TRAINED_SHOWN).round().astype(int)]
    return pd.concat([good, bad.head(TRAINED_SHOWN)])


@in_style
def stability(records: Records) -> Figure:
    """Training loss, the size of the state, and the spectral norm of Abar over steps."""
    figure, panels = blank((1, 1, 1), height=2.2)
    wanted = (
        ("loss", "training loss (nats)", "loss"),
        ("state_norm", "norm of the state", "size of the state"),
        ("injection_norm", "norm of $Abar$", "the injection"),
    )
    for axes, (column, label, title), which in zip(panels, wanted, "abc", strict=True):
        training(records, column, label, axes)
        if axes.axison:
            letter(axes, which, title)
    if panels[2].axison:
        panels[2].axhline(1, color="black", linewidth=0.7, linestyle=":", label="_limit")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        order = np.argsort([float(x.split()[-1]) if x.split()[-1].isdigit() else 1e9 for x in labels])
        figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside right center")
    return figure
