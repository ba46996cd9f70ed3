"""Which runs may share a fit: those of one name, one variant and one shape.

A name says what somebody called a model. Runs under it that started from other initial weights, were computed
in another precision, or are of another shape or architecture are models of their own, named apart.
"""

import json

import pandas as pd

from parcae.config import Injection, ModelConfig, Recipe
from parcae.presets import BASELINES, PRESETS

FIXED_DEPTH = "fixed depth"
"""The group of all runs without a loop, whose sizes together make one law."""
NO_LOOP = "no loop"
"""The architecture of a run without a loop."""
UNKNOWN = "looped"
"""The architecture of a run of which only parameters and recurrences are known."""


def group_names(table: pd.DataFrame) -> pd.Series:
    """The group of each row of the store's table `runs`; no fit mixes two."""
    names = table["model"].astype(object)
    flat = table["mean_recurrence"].isna()
    if names[flat].nunique() > 1:
        names = names.mask(flat, FIXED_DEPTH)
    if "variant" in table:
        named = table["variant"].notna()
        names = names.where(~named, names.astype(str) + " (" + table["variant"].astype(str) + ")")
    for name in names[~flat].unique():
        mine = table[~flat & (names == name)]
        shapes = _shapes(mine)
        if shapes.nunique() > 1:
            names.loc[mine.index] = shapes.map(_told_apart(str(name), mine, shapes)).fillna(name)
    return names


def architectures(table: pd.DataFrame) -> pd.Series:
    """How each run's loop takes up its input: by its configuration, else by its model's name."""
    specs = table["spec"] if "spec" in table else pd.Series(None, index=table.index, dtype=object)
    flat = table["mean_recurrence"].isna()
    return pd.Series(
        [
            NO_LOOP if alone and not isinstance(spec, str) else _architecture(str(name), spec)
            for name, spec, alone in zip(table["model"], specs, flat, strict=True)
        ],
        index=table.index,
        dtype=object,
    )


def _architecture(name: str, spec: object) -> str:
    if isinstance(spec, str):
        model = ModelConfig.from_dict(json.loads(spec)["model"])
    elif name in PRESETS:
        model = PRESETS[name].model
    else:
        ending = next((baseline for baseline in BASELINES if name.endswith(f"-{baseline}")), UNKNOWN)
        return NO_LOOP if BASELINES.get(ending, {}).get("injection") is Injection.NONE else ending
    if not model.has_loop:
        return NO_LOOP
    parts = [str(model.injection), *(["residual norm"] if model.residual_norm else [])]
    return ", ".join([*parts, *([] if model.recipe is Recipe.TRANSFORMER else [str(model.recipe)])])


def _shapes(runs: pd.DataFrame) -> pd.Series:
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


def _told_apart(name: str, runs: pd.DataFrame, shapes: pd.Series) -> dict[str, str]:
    """A name a shape: with its parameters, and its injection or a number where those are the same."""
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
