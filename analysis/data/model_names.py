"""Which runs may share a fit: those of one name, one variant and one shape.

A name says what somebody called a model. Runs under it that started from other initial weights, were computed
in another precision, or are of another shape or architecture are separate models with names of their own.
"""

import json
from typing import Any

import pandas as pd

from sweeps.store.rows import NO_LOOP

FIXED_DEPTH = "fixed depth"
"""The group of all runs without a loop, whose sizes together make one law."""


def group_names(table: pd.DataFrame) -> "pd.Series[Any]":
    """The group of each row of the store's table `runs`; no fit mixes two."""
    names = table["model"].astype(object)
    flat = table["architecture"] == NO_LOOP
    if names[flat].nunique() > 1:
        names = names.mask(flat, FIXED_DEPTH)
    if "variant" in table:
        named = table["variant"].notna()
        names = names.where(~named, names.astype(str) + " (" + table["variant"].astype(str) + ")")
    for name in names[~flat].unique():
        own = table[~flat & (names == name)]
        shapes = _shapes(own)
        if shapes.nunique() > 1:
            names.loc[own.index] = shapes.map(_labels(str(name), own, shapes)).fillna(name)
    return names


def _shapes(runs: pd.DataFrame) -> "pd.Series[Any]":
    """What tells each run's model: its whole configuration where it was planned, else its parameters; NaN
    where neither is known."""
    parameters = runs[["once_parameters", "recurrent_parameters"]]
    shapes = parameters.apply(lambda row: f"{row.iloc[0]:.17g} {row.iloc[1]:.17g}", axis=1)
    shapes = shapes.where(parameters.notna().all(axis=1))
    if "spec" in runs:
        planned = runs["spec"].notna()
        models = runs.loc[planned, "spec"].map(
            lambda spec: json.dumps(json.loads(spec)["model"], sort_keys=True)
        )
        shapes = shapes.astype(object)
        shapes.loc[planned] = models
    return shapes


def _labels(name: str, runs: pd.DataFrame, shapes: "pd.Series[Any]") -> dict[str, str]:
    """A name for each shape: with its parameters, and its injection or a number where those are the same."""
    found = {}
    for shape, rows in runs.groupby(shapes, sort=False):
        first = rows.iloc[0]
        count = first["parameters"]
        if pd.isna(count):
            count = first["once_parameters"] + first["recurrent_parameters"]
        found[str(shape)] = f"{count / 1e6:.4g}M"
    if len(set(found.values())) < len(found):
        for shape, label in found.items():
            injection = json.loads(shape).get("injection") if shape.startswith("{") else None
            found[shape] = f"{label}, {injection}" if injection else label
    if len(set(found.values())) < len(found):
        found = {shape: f"{label}, shape {i}" for i, (shape, label) in enumerate(found.items(), start=1)}
    return {shape: f"{name} ({label})" for shape, label in found.items()}
