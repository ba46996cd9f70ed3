"""What a fit works on: the runs of one model, its losses over test recurrences, and all of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from analysis.data.axis import Axis
from analysis.data.budgets import grouped_budgets
from analysis.data.replicates import cells_of
from analysis.laws import Array, Mask, Whole
from parcae.errors import InputError
from sweeps.store.rows import NO_LOOP

if TYPE_CHECKING:
    import pandas as pd

Item = TypeVar("Item")
SHARED = float(np.log(1.06))
"""Runs whose FLOPs are worked out as 6 N D share a budget if these lie within 6 % (assumption)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModelPoints:
    """Finished runs of one model; every array has n values, one for each run."""

    model: str
    architecture: str
    """How the loop takes up its input, such as `diagonal`; `no loop` if there is none."""
    run_ids: tuple[str, ...]
    flops: Array
    """Budget C; NaN where none was given."""
    mean_recurrence: Array
    """1 for a run without a loop."""
    tokens: Array
    """NaN where unknown, as are the parameters."""
    effective_parameters: Array
    """N(mu_rec): once + mean_recurrence * recurrent, or plain parameters where only those are known."""
    once_parameters: Array
    recurrent_parameters: Array
    loss: Array
    """Validation loss, nats."""
    seeds: Array
    """NaN where unknown."""
    weights: Array
    """Inverse variances of mean 1; all 1 unless ``weighted`` found the noise to differ between budgets."""
    conventions: tuple[str, ...]
    passed_over: int = 0
    """Runs of other hyperparameters that were worse than the one kept of their cell."""

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        return f"ModelPoints({self.model}: {len(self)} runs, {len(self.budgets)} budgets)"

    @cached_property
    def spent(self) -> Array:
        """FLOPs of each run: C where it was given, else 6 N D without a loop; NaN where unknown."""
        worked_out = 6 * self.effective_parameters * self.tokens
        return np.where(np.isnan(self.flops) & (self.architecture == NO_LOOP), worked_out, self.flops)

    @cached_property
    def budget(self) -> Array:
        """Each run's budget: that of all runs whose FLOPs are nearly its own; NaN where unknown."""
        return grouped_budgets(self.spent)

    @property
    def budgets(self) -> Array:
        """Distinct known budgets, ascending."""
        return np.unique(self.budget[np.isfinite(self.budget)])

    @cached_property
    def cells(self) -> Whole:
        """A label for each run; runs of one cell are replicates."""
        return cells_of(
            grouped_budgets(self.flops), self.mean_recurrence, self.effective_parameters, self.tokens
        )

    @property
    def sized(self) -> Mask:
        """Which runs a training law can use: parameters and tokens are known."""
        return np.asarray(np.isfinite(self.effective_parameters) & np.isfinite(self.tokens))

    @property
    def on_grid(self) -> Mask:
        """Which runs can lie on an isoFLOP curve: a budget and a mean recurrence are known."""
        return self.along(Axis.MEAN_RECURRENCE)

    def along(self, axis: Axis) -> Mask:
        """Which runs can lie on an isoFLOP curve along `axis`: their budget and place on it are known."""
        values = {
            Axis.MEAN_RECURRENCE: self.mean_recurrence,
            Axis.TOKENS: self.tokens,
            Axis.PARAMETERS: self.effective_parameters,
        }
        placed = np.asarray(np.isfinite(self.spent) & np.isfinite(values[axis]))
        placed &= np.isfinite(self.flops) | _of_a_budget(self.budget, self.spent, self.effective_parameters)
        has_none = axis is Axis.MEAN_RECURRENCE and self.architecture == NO_LOOP
        return np.zeros_like(placed) if has_none else placed

    @property
    def usual_axis(self) -> Axis:
        """Mean recurrence where it varies, else parameters where those do."""
        for axis, values in (
            (Axis.MEAN_RECURRENCE, self.mean_recurrence),
            (Axis.PARAMETERS, self.effective_parameters),
        ):
            if len(np.unique(values[self.along(axis)])) > 1:
                return axis
        return Axis.MEAN_RECURRENCE

    def to_frame(self) -> "pd.DataFrame":
        """A row for each run, with the columns that the fits take."""
        import pandas as pd

        return pd.DataFrame(
            {
                "model": self.model,
                "run_id": self.run_ids,
                "flops": self.flops,
                "mean_recurrence": self.mean_recurrence,
                "tokens": self.tokens,
                "parameters": self.effective_parameters,
                "once_parameters": self.once_parameters,
                "recurrent_parameters": self.recurrent_parameters,
                "loss": self.loss,
                "seeds": self.seeds,
                "weights": self.weights,
            }
        )

    def summary(self) -> str:
        """The runs, their budgets, and the ranges of what varies."""
        lines = [f"{self.model} ({self.architecture}): {len(self)} runs, {len(self.budgets)} budgets"]
        for name, values in (
            ("FLOPs", self.flops),
            ("mean recurrence", self.mean_recurrence),
            ("effective parameters", self.effective_parameters),
            ("tokens", self.tokens),
            ("loss", self.loss),
        ):
            known = values[np.isfinite(values)]
            span = f"{known.min():.4g} to {known.max():.4g}" if len(known) else "unknown"
            lines.append(f"{name}: {span}")
        return "\n".join(lines)

    def select(self, keep: Mask) -> "ModelPoints":
        """The runs where `keep` (n,) is true."""
        arrays = [f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)]
        chosen = {name: getattr(self, name)[keep] for name in arrays}
        runs = tuple(run for run, kept in zip(self.run_ids, keep, strict=True) if kept)
        return replace(self, run_ids=runs, **chosen)


def _of_a_budget(budgets: Array, flops: Array, parameters: Array) -> Mask:
    """Which runs (n,) have the FLOPs of two other sizes, to within ``SHARED``.

    Sizes and tokens that were chosen for another reason make no isoFLOP curve.
    """
    shared = np.zeros(len(flops), dtype=bool)
    for budget in np.unique(budgets[np.isfinite(budgets)]):
        at = budgets == budget
        shared[at] = len(np.unique(parameters[at])) > 2 and np.ptp(np.log(flops[at])) <= SHARED
    return shared


def pooled(name: str, models: Sequence[ModelPoints]) -> ModelPoints:
    """The runs of several sizes as those of one model called `name`."""
    first, joined = models[0], dict[str, Any]()
    for field in fields(first):
        values = [getattr(points, field.name) for points in models]
        if isinstance(values[0], np.ndarray):
            joined[field.name] = np.concatenate(values)
    runs = tuple(run for points in models for run in points.run_ids)
    conventions = tuple(sorted({c for points in models for c in points.conventions}))
    return replace(first, model=name, run_ids=runs, conventions=conventions, **joined)


def spaced(items: Sequence[Item], most: int) -> list[Item]:
    """All of a list, or `most` of a longer one at even distances, its ends among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def known(values: Array) -> Array | None:
    """The values, or None where any is unknown."""
    return values if np.isfinite(values).all() else None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
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
    flops: float = float("nan")
    """The budget; NaN if none was given."""

    def __repr__(self) -> str:
        return f"TestTimeCurve({self.run_id}: {len(self.loss)} test recurrences)"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Study:
    """What the fits use of a sweep, and what they leave out."""

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

    def __repr__(self) -> str:
        models = ", ".join(f"{name} {len(points)}" for name, points in self.models.items())
        return f"Study({self.name}: {self.used} of {self.runs} runs fitted; {models or 'no model'})"

    def to_dict(self) -> dict[str, Any]:
        """The data in numbers, with a hash to recognise them by."""
        return {
            "sweep": self.name,
            "runs": self.runs,
            "runs_fitted": self.used,
            "left_out": dict(self.left_out),
            "passed_over": sum(points.passed_over for points in self.models.values()),
            "data_hash": self.data_hash,
        }

    def summary(self) -> str:
        """Each model's runs, and what no fit uses."""
        lines = [f"{self.name}: {self.used} of {self.runs} runs fitted"]
        lines += [points.summary() for points in self.models.values()]
        if self.curves:
            lines.append(f"{len(self.curves)} runs with losses at several test recurrences")
        return "\n".join([*lines, *(f"left out: {count} {why}" for why, count in self.left_out.items())])

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
