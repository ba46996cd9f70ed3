"""How runs become points: what a fit may use, and a count of what it may not, with the reason.

Input is two tables as `sweeps.store` gives them, one row a run and one row a (run, test recurrence); the
published sweep comes from the package itself. Nothing is dropped without being counted.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from analysis.laws import Array, Mask
from parcae.errors import InputError
from sweeps.console import PUBLISHED
from sweeps.store import StudyTables

Item = TypeVar("Item")

FIXED_DEPTH = "fixed depth"
"""The group of all runs without a loop, whose sizes together make one law."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelPoints:
    """Finished runs of one model; every array has n values, one a run."""

    model: str
    run_ids: tuple[str, ...]
    flops: Array
    """Budget C; NaN where none was given."""
    mean_recurrence: Array
    """NaN for a run without a loop."""
    tokens: Array
    """NaN where unknown, as are the parameters."""
    effective_parameters: Array
    """N(mu_rec): once + mean_recurrence * recurrent, or plain parameters where only those are known."""
    once_parameters: Array
    recurrent_parameters: Array
    loss: Array
    """Validation loss, nats."""
    conventions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def budgets(self) -> Array:
        """Distinct known budgets, ascending."""
        return np.unique(self.flops[np.isfinite(self.flops)])

    @property
    def sized(self) -> Mask:
        """Which runs a training law can use: parameters and tokens are known."""
        return np.asarray(np.isfinite(self.effective_parameters) & np.isfinite(self.tokens))

    @property
    def strata(self) -> Array:
        """A label a run, for resampling: its budget, or one label for all runs without one."""
        return np.where(np.isfinite(self.flops), self.flops, -1.0)

    @property
    def on_grid(self) -> Mask:
        """Which runs can lie on an isoFLOP curve: a budget and a mean recurrence are known."""
        return np.asarray(np.isfinite(self.flops) & np.isfinite(self.mean_recurrence))

    def select(self, keep: Mask) -> "ModelPoints":
        """The runs where `keep` (n,) is true."""
        return ModelPoints(
            model=self.model,
            run_ids=tuple(run for run, kept in zip(self.run_ids, keep, strict=True) if kept),
            flops=self.flops[keep],
            mean_recurrence=self.mean_recurrence[keep],
            tokens=self.tokens[keep],
            effective_parameters=self.effective_parameters[keep],
            once_parameters=self.once_parameters[keep],
            recurrent_parameters=self.recurrent_parameters[keep],
            loss=self.loss[keep],
            conventions=self.conventions,
        )


def spaced(items: Sequence[Item], most: int) -> list[Item]:
    """All of a list, or `most` of a longer one at even distances, its ends among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def known_tokens(points: ModelPoints) -> Array | None:
    """The runs' tokens, or None where any is unknown."""
    return points.tokens if np.isfinite(points.tokens).all() else None


@dataclass(frozen=True, kw_only=True, eq=False)
class TestTimeCurve:
    """Losses of one trained model at several test recurrences (k values)."""

    __test__ = False  # not a test, whatever pytest makes of the name

    run_id: str
    model: str
    mean_recurrence: float
    tokens: float
    """NaN where unknown, as are the parameters."""
    effective_parameters: float
    test_recurrence: Array
    loss: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    name: str
    kind: str
    models: Mapping[str, ModelPoints]
    curves: tuple[TestTimeCurve, ...]
    """Runs with losses at two or more test recurrences."""
    runs: int
    """Runs in the sweep, whatever became of them."""
    left_out: Mapping[str, int]
    """Reason -> how many runs (or losses) no fit uses."""
    corpus_hashes: tuple[str, ...]
    data_hash: str
    """SHA-256 of every number the fits use."""

    @property
    def used(self) -> int:
        return sum(len(points) for points in self.models.values())

    def require_points(self) -> None:
        """``InputError`` when no run can be fitted."""
        if not self.used:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            raise InputError(
                f"sweep {self.name!r} has no finished run to fit ({reasons or 'it has no runs'}); "
                "train some first"
            )


def read_sweep(db: Path, sweep: str | None) -> StudyTables:
    """The tables of a sweep (the latest when None), run folders collected first; `published` is built in."""
    if sweep == PUBLISHED:
        from analysis.published import published_tables

        runs, losses = published_tables()
        return StudyTables(name=PUBLISHED, kind="imported", runs=runs, losses=losses)
    from sweeps.collect import collect_sweep

    return collect_sweep(db, sweep)


def load_study(db: Path, sweep: str | None) -> Study:
    """The study called `sweep` (the latest when None), as ``read_sweep`` finds it."""
    tables = read_sweep(db, sweep)
    return build_study(tables.name, tables.kind, tables.runs, tables.losses)


def build_study(name: str, kind: str, runs: pd.DataFrame, losses: pd.DataFrame) -> Study:
    """Sorts every run into what a fit uses and what it leaves out, with the reason."""
    left_out: Counter[str] = Counter()
    table = runs.copy()
    numbers = ["flops", "mean_recurrence", "tokens", "once_parameters", "recurrent_parameters"]
    for column in [*numbers, "parameters", "val_loss", "seed"]:
        table[column] = pd.to_numeric(table[column], errors="coerce").astype(float)
    for state, count in table.loc[table["state"] != "done", "state"].value_counts().items():
        left_out[str(state)] += int(count)
    table = table[table["state"] == "done"]
    table["effective"] = effective(table)
    curves = _curves(table, losses, left_out)
    lossless = table["val_loss"].isna() & table["run_id"].isin([curve.run_id for curve in curves])
    table = _sieve(table, ~lossless, left_out, "with test-time losses alone, used for saturation only")
    table = _sieve(
        table, table["val_loss"].between(0, np.inf, inclusive="neither"), left_out, "without a loss"
    )
    sized = table["tokens"].notna() & table["effective"].notna()
    gridded = table["flops"].notna() & table["mean_recurrence"].notna()
    table = _sieve(table, sized | gridded, left_out, "with neither a budget nor tokens and parameters")
    same = [*numbers, "model", "effective", "seed", "val_loss"]
    table = _sieve(table, ~table.duplicated(same), left_out, "duplicates of another run")
    table["group"] = table["model"].astype(object)
    flat = table["mean_recurrence"].isna()
    if table.loc[flat, "model"].nunique() > 1:
        table.loc[flat, "group"] = FIXED_DEPTH
    table = table.sort_values(["flops", "mean_recurrence", "tokens", "val_loss"], kind="stable")
    return Study(
        name=name,
        kind=kind,
        models={str(model): _points(str(model), rows) for model, rows in table.groupby("group", sort=False)},
        curves=curves,
        runs=len(runs),
        left_out=dict(left_out),
        corpus_hashes=tuple(sorted(table["corpus_hash"].dropna().astype(str).unique())),
        data_hash=_hash(table, curves),
    )


def effective(table: pd.DataFrame) -> pd.Series:
    """N(mu_rec) a run; NaN where neither the shape nor the parameters are known."""
    looped = table["once_parameters"] + table["mean_recurrence"].fillna(0.0) * table["recurrent_parameters"]
    return looped.fillna(table["parameters"])


def _sieve(table: pd.DataFrame, keep: "pd.Series[bool]", left_out: Counter[str], reason: str) -> pd.DataFrame:
    lost = int((~keep).sum())
    if lost:
        left_out[reason] += lost
    return table[keep].copy()


def _points(model: str, rows: pd.DataFrame) -> ModelPoints:
    def column(name: str) -> Array:
        return rows[name].to_numpy(dtype=float)

    return ModelPoints(
        model=model,
        run_ids=tuple(rows["run_id"].astype(str)),
        flops=column("flops"),
        mean_recurrence=column("mean_recurrence"),
        tokens=column("tokens"),
        effective_parameters=column("effective"),
        once_parameters=column("once_parameters"),
        recurrent_parameters=column("recurrent_parameters"),
        loss=column("val_loss"),
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
    columns = ["run_id", "model", "mean_recurrence", "tokens", "effective"]
    runs = {run["run_id"]: run for run in table[columns].to_dict("records")}
    curves = []
    for run_id, rows in losses.sort_values("test_recurrence").groupby("run_id", sort=True):
        run = runs[run_id]
        rows = rows.drop_duplicates("test_recurrence")
        if len(rows) < 2 or not np.isfinite(float(run["mean_recurrence"])):
            continue
        curves.append(
            TestTimeCurve(
                run_id=str(run_id),
                model=str(run["model"]),
                mean_recurrence=float(run["mean_recurrence"]),
                tokens=float(run["tokens"]),
                effective_parameters=float(run["effective"]),
                test_recurrence=rows["test_recurrence"].to_numpy(dtype=float),
                loss=rows["loss"].to_numpy(dtype=float),
            )
        )
    return tuple(sorted(curves, key=lambda c: (c.model, c.tokens, c.mean_recurrence, c.run_id)))


def _hash(table: pd.DataFrame, curves: tuple[TestTimeCurve, ...]) -> str:
    digest = hashlib.sha256()
    columns = ["group", "flops", "mean_recurrence", "tokens", "effective", "val_loss"]
    for row in sorted(map(str, table[columns].itertuples(index=False, name=None))):
        digest.update(row.encode())
    for curve in curves:
        digest.update(f"{curve.run_id} {curve.test_recurrence.tolist()} {curve.loss.tolist()}".encode())
    return digest.hexdigest()
