"""How runs become points: which runs a fit may use, and how many it may not, with the reason.

Input is two frames of what `sweeps.store` holds, a row for each run and for each (run, test recurrence); the
published sweep comes from the package itself. Nothing is dropped without being counted.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.data.budgets import grouped_budgets
from analysis.data.frames import frames
from analysis.data.model_names import group_names
from analysis.data.points import ModelPoints, Study, TestTimeCurve
from analysis.data.replicates import BudgetNoise, better_runs, budget_noise, cells_of, copies
from analysis.laws import Array, Mask, Whole
from analysis.published import published_sweep
from parcae.errors import InputError
from sweeps.folders.paths import PUBLISHED
from sweeps.store.rows import NO_LOOP, SweepRows

PASSED_OVER = "passed over for a better run of their cell, which differs in hyperparameters alone"


def read_sweep(db: Path, sweep: str | None) -> SweepRows:
    """The rows of a sweep (the latest when None), run folders collected first; `published` is built in."""
    if sweep == PUBLISHED:
        return published_sweep()
    from sweeps.store.collect import collect_sweep

    return collect_sweep(db, sweep)


def load_study(db: str | Path = "results.duckdb", sweep: str | None = None) -> Study:
    """The finished runs of `sweep`, or of the latest one, in the database `db`; new results are read first.

    `sweep="published"` is the paper's own study, which is built in. ``InputError`` if there is no such
    database or sweep.
    """
    return study_of(read_sweep(Path(db), sweep))


def study_of(rows: SweepRows) -> Study:
    """The study of a sweep's rows."""
    return build_study(rows.name, rows.kind, *frames(rows))


def points_named(db: Path, sweep: str | None, name: str) -> ModelPoints:
    """The runs of a model of `sweep` (or of the latest one), of a sweep of one model, or of SWEEP:MODEL.

    ``InputError`` if there is no such model or sweep, or the sweep has several models.
    """
    if ":" in name:
        sweep, _, name = name.partition(":")
        models = load_study(db, sweep).models
    else:
        models = load_study(db, sweep).models
        if name not in models:
            known = ", ".join(models) or "none"
            try:
                models = load_study(db, name).models
            except InputError as error:
                raise InputError(f"{name!r} is no model of the sweep, which has {known}; {error}") from None
            if len(models) == 1:
                return next(iter(models.values()))
            raise InputError(
                f"the sweep {name!r} has the models {', '.join(models)}; name one as {name}:MODEL"
            )
    if name not in models:
        raise InputError(
            f"there is no model {name!r} in the sweep {sweep!r}; it has {', '.join(models) or 'none'}"
        )
    return models[name]


def as_study(study: Study | str | Path) -> Study:
    """A study as it is, or the latest of a database."""
    return study if isinstance(study, Study) else load_study(study)


def weighted(points: ModelPoints) -> tuple[ModelPoints, BudgetNoise]:
    """The runs weighed by the noise of their budget, where replicates show that it differs."""
    noise = budget_noise(np.log(points.loss), points.cells, points.budget)
    return replace(points, weights=noise.weights(points.budget)), noise


def weighted_study(study: Study) -> tuple[Study, list[str]]:
    """The study with its runs weighed, and a sentence for each model on what was done."""
    models, remarks = {}, []
    for name, points in study.models.items():
        models[name], noise = weighted(points)
        known = ", ".join(
            f"{100 * deviation:.2g} % at {budget:.3g}"
            for budget, deviation in zip(noise.budgets, noise.deviations, strict=True)
        )
        if noise.differs:
            remarks.append(f"{name}: weighted by the noise of each budget's replicates: {known} FLOPs")
        elif known:
            remarks.append(
                f"{name}: equal weights, because the budgets' noise does not differ: {known} FLOPs"
            )
        else:
            remarks.append(f"{name}: equal weights, because no budget has enough replicate seeds")
    return replace(study, models=models), remarks


def build_study(name: str, kind: str, runs: pd.DataFrame, losses: pd.DataFrame) -> Study:
    """Sorts runs into those that fits use and those left out, with the reason."""
    left_out: Counter[str] = Counter()
    table = runs.copy()
    numbers = ["flops", "mean_recurrence", "tokens", "once_parameters", "recurrent_parameters"]
    for column in [*numbers, "parameters", "val_loss", "seed"]:
        table[column] = pd.to_numeric(table[column], errors="coerce").astype(float)
    for state, count in table.loc[table["state"] != "done", "state"].value_counts().items():
        left_out[str(state)] += int(count)
    table = table[table["state"] == "done"].reset_index(drop=True)
    table["effective"] = effective(table)
    table["group"] = group_names(table)
    curves = _curves(table, losses, left_out)
    lossless = table["val_loss"].isna() & table["run_id"].isin([curve.run_id for curve in curves])
    table = _sieve(table, ~lossless, left_out, "with test-time losses alone, used for saturation only")
    table = _sieve(
        table, table["val_loss"].between(0, np.inf, inclusive="neither"), left_out, "without a loss"
    )
    sized = table["tokens"].notna() & table["effective"].notna()
    gridded = table["flops"].notna() & table["mean_recurrence"].notna() & (table["architecture"] != NO_LOOP)
    table = _sieve(table, sized | gridded, left_out, "with neither a budget nor tokens and parameters")
    models = {}
    for group, rows in table.groupby("group", sort=False):
        kept = _sieve(rows, ~_copied(rows, numbers), left_out, "duplicates of another run")
        best = _sieve(kept, _better(kept), left_out, PASSED_OVER)
        best = best.sort_values(["flops", "mean_recurrence", "tokens", "val_loss"], kind="stable")
        models[str(group)] = _points(str(group), best, passed_over=len(kept) - len(best))
    return Study(
        name=name,
        kind=kind,
        models=models,
        curves=curves,
        runs=len(runs),
        left_out=dict(left_out),
        corpus_hashes=tuple(sorted(table["corpus_hash"].dropna().astype(str).unique())),
        data_hash=_hash(models, curves),
    )


def _cells(rows: pd.DataFrame) -> Whole:
    flops, recurrence, sizes, tokens = (
        rows[name].to_numpy(dtype=float) for name in ("flops", "mean_recurrence", "effective", "tokens")
    )
    return cells_of(grouped_budgets(flops), recurrence, sizes, tokens)


def _settings(rows: pd.DataFrame) -> Whole:
    """A label for each run's hyperparameters; -1 where they are unknown."""
    if "hyperparameters" not in rows:
        return np.full(len(rows), -1)
    return pd.factorize(rows["hyperparameters"])[0].astype(np.int64)


def _copied(rows: pd.DataFrame, numbers: list[str]) -> Mask:
    """Which imported rows repeat another; planned runs are told apart by their ids."""
    same = rows[[*numbers, "effective", "seed", "val_loss"]].assign(settings=_settings(rows))
    planned = rows["spec"].notna().to_numpy()
    same["own"] = np.where(planned, np.arange(len(rows)), -1)
    identical = (
        same.groupby(list(same.columns), dropna=False, sort=False).ngroup().to_numpy().astype(np.int64)
    )
    seeded = rows["seed"].notna().to_numpy() | planned
    return copies(identical, _cells(rows), seeded)


def _better(rows: pd.DataFrame) -> Mask:
    loss, seeds = rows["val_loss"].to_numpy(dtype=float), rows["seed"].to_numpy(dtype=float)
    return better_runs(loss, _cells(rows), _settings(rows), seeds)


def effective(table: pd.DataFrame) -> "pd.Series[float]":
    """N(mu_rec) of each run; NaN where neither the shape nor the parameters are known."""
    looped = table["once_parameters"] + table["mean_recurrence"] * table["recurrent_parameters"]
    return looped.fillna(table["parameters"])


def _sieve(
    table: pd.DataFrame, keep: "pd.Series[bool] | Mask", left_out: Counter[str], reason: str
) -> pd.DataFrame:
    lost = int((~keep).sum())
    if lost:
        left_out[reason] += lost
    return table[keep].copy()


def _points(model: str, rows: pd.DataFrame, *, passed_over: int) -> ModelPoints:
    def column(name: str) -> Array:
        return rows[name].to_numpy(dtype=float)

    return ModelPoints(
        model=model,
        architecture=str(rows["architecture"].iloc[0]),
        run_ids=tuple(rows["run_id"].astype(str)),
        flops=column("flops"),
        mean_recurrence=column("mean_recurrence"),
        tokens=column("tokens"),
        effective_parameters=column("effective"),
        once_parameters=column("once_parameters"),
        recurrent_parameters=column("recurrent_parameters"),
        loss=column("val_loss"),
        seeds=column("seed"),
        weights=np.ones(len(rows)),
        passed_over=passed_over,
        conventions=tuple(sorted(rows["convention"].dropna().astype(str).unique())),
    )


def _curves(table: pd.DataFrame, losses: pd.DataFrame, left_out: Counter[str]) -> tuple[TestTimeCurve, ...]:
    losses = losses[losses["run_id"].isin(table["run_id"])]
    values = pd.to_numeric(losses["loss"], errors="coerce").astype(float)
    losses = losses.assign(loss=values)
    losses = _sieve(
        losses,
        values.between(0, np.inf, inclusive="neither"),
        left_out,
        "test-time losses that are no number",
    )
    columns = ["run_id", "group", "architecture", "flops", "mean_recurrence", "tokens", "effective"]
    runs = {run["run_id"]: run for run in table[columns].to_dict("records")}
    curves = []
    for run_id, rows in losses.sort_values("test_recurrence").groupby("run_id", sort=True):
        run = runs[run_id]
        rows = rows.drop_duplicates("test_recurrence")
        if len(rows) < 2 or run["architecture"] == NO_LOOP:
            continue
        curves.append(
            TestTimeCurve(
                run_id=str(run_id),
                model=str(run["group"]),
                mean_recurrence=float(run["mean_recurrence"]),
                tokens=float(run["tokens"]),
                effective_parameters=float(run["effective"]),
                flops=float(run["flops"]),
                test_recurrence=rows["test_recurrence"].to_numpy(dtype=float),
                loss=rows["loss"].to_numpy(dtype=float),
            )
        )
    return tuple(sorted(curves, key=lambda c: (c.model, c.tokens, c.mean_recurrence, c.run_id)))


def _hash(models: Mapping[str, ModelPoints], curves: tuple[TestTimeCurve, ...]) -> str:
    digest = hashlib.sha256()
    lines = []
    for name, points in models.items():
        columns = (
            points.flops,
            points.mean_recurrence,
            points.tokens,
            points.effective_parameters,
            points.loss,
        )
        lines += [str((name, *map(float, row))) for row in zip(*columns, strict=True)]
    for line in sorted(lines):
        digest.update(line.encode())
    for curve in curves:
        digest.update(f"{curve.run_id} {curve.test_recurrence.tolist()} {curve.loss.tolist()}".encode())
    return digest.hexdigest()
