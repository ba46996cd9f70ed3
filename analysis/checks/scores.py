"""Looped models beside models of fixed depth, from the scores that are stored of their runs.

Of the runs of one size that cost the same FLOPs, or saw the same tokens at about the same parameters, the one
of the lowest loss stands for each side, so that no score chooses itself. A model without a loop, or trained
at a mean recurrence of 1, is of fixed depth. A looped model is scored at T = its mean recurrence.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan
from statistics import fmean
from typing import Any

from analysis.data.budgets import grouped_budgets
from analysis.engine.formatting import MISSING, number, table
from parcae.errors import InputError
from parcae.presets import BASELINES
from sweeps.store.rows import NO_LOOP, RunRow, ScoreRow, SweepRows

Key = tuple[str, str, str]
"""Task, version and metric."""


@dataclass(frozen=True, kw_only=True)
class ScoreComparison:
    """One metric of one task, of a looped model and of one of fixed depth."""

    task: str
    metric: str
    version: str
    equal: str
    """What the two runs share: `flops` or `tokens`."""
    amount: float
    """Of the looped run."""
    model: str
    mean_recurrence: float
    looped: float
    fixed: float
    efficiency: float | None
    """(looped - fixed) / (fixed of the next size - fixed): 1 where the loop is worth a size. None without a
    larger model of fixed depth that has this score, or where it scores the same."""


def compare_scores(rows: SweepRows) -> list[ScoreComparison]:
    """All comparisons that a sweep's runs allow. ``InputError`` where there are none, which says why."""
    if not rows.scores:
        raise InputError(
            f"no run of the sweep {rows.name} has a score; `parcae-sweep eval RUN` with --core, --wikitext, "
            "--lambada or --harness stores some"
        )
    scores = _scores(rows.scores, {run.run_id: _test_recurrence(run) for run in rows.runs})
    scored = [run for run in rows.runs if run.run_id in scores and run.val_loss is not None and run.model]
    found = [
        *_pairs(scored, scores, "flops", lambda run: run.flops),
        *_pairs(scored, scores, "tokens", lambda run: run.tokens),
    ]
    if not found:
        raise InputError(
            f"no two runs of the sweep {rows.name}, one looped and one of fixed depth, share a size, a "
            "budget and a score at their mean recurrences; `parcae-sweep eval RUN` of both at the same tasks "
            "stores it"
        )
    return found


def _test_recurrence(run: RunRow) -> float:
    return 1.0 if run.architecture == NO_LOOP else run.mean_recurrence or nan


def _scores(rows: Iterable[ScoreRow], at: dict[str, float]) -> dict[str, dict[Key, float]]:
    """By run: the mean over seeds of each score of its newest model, at its own T."""
    newest: dict[str, int] = {}
    for row in rows:
        newest[row.run_id] = max(row.step, newest.get(row.run_id, 0))
    found: dict[str, dict[Key, list[float]]] = {}
    for row in rows:
        if row.step == newest[row.run_id] and row.test_recurrence == at[row.run_id]:
            own = found.setdefault(row.run_id, {})
            value = nan if row.value is None else row.value
            own.setdefault((row.task, row.version, row.metric), []).append(value)
    means = {run: {key: fmean(values) for key, values in own.items()} for run, own in found.items()}
    return {run: {key: x for key, x in own.items() if isfinite(x)} for run, own in means.items()}


def _pairs(
    runs: Sequence[RunRow],
    scores: dict[str, dict[Key, float]],
    equal: str,
    amount: Callable[[RunRow], float | None],
) -> list[ScoreComparison]:
    amounts = [amount(run) or nan for run in runs]
    groups: dict[tuple[str, str | None, float], list[RunRow]] = {}
    for run, shared in zip(runs, grouped_budgets(amounts), strict=True):
        if isfinite(shared):
            groups.setdefault((_size(run), run.corpus_hash, float(shared)), []).append(run)
    found = []
    for (_, corpus, shared), group in sorted(groups.items(), key=lambda item: (item[0][0], item[0][2])):
        fixed = _best(run for run in group if _is_fixed(run))
        architectures = {run.architecture for run in group if not _is_fixed(run)}
        for architecture in sorted(architectures):
            looped = _best(run for run in group if run.architecture == architecture and not _is_fixed(run))
            if fixed is None or looped is None:
                continue
            larger = _next_size(runs, fixed, corpus)
            ours, theirs = scores[looped.run_id], scores[fixed.run_id]
            further = scores[larger.run_id] if larger else {}
            found += [
                ScoreComparison(
                    task=key[0],
                    version=key[1],
                    metric=key[2],
                    equal=equal,
                    amount=shared,
                    model=str(looped.model),
                    mean_recurrence=looped.mean_recurrence or nan,
                    looped=ours[key],
                    fixed=theirs[key],
                    efficiency=_efficiency(ours[key], theirs[key], further.get(key)),
                )
                for key in sorted(ours.keys() & theirs.keys())
            ]
    return found


def _efficiency(looped: float, fixed: float, larger: float | None) -> float | None:
    return None if larger is None or larger == fixed else (looped - fixed) / (larger - fixed)


def _size(run: RunRow) -> str:
    """The name of a model without that of its baseline: sizes are compared, not architectures."""
    name = str(run.model)
    return next((name.removesuffix(f"-{b}") for b in BASELINES if name.endswith(f"-{b}")), name)


def _is_fixed(run: RunRow) -> bool:
    return run.architecture == NO_LOOP or run.mean_recurrence == 1


def _best(runs: Iterable[RunRow]) -> RunRow | None:
    return min(runs, key=lambda run: run.val_loss or nan, default=None)


def _next_size(runs: Sequence[RunRow], fixed: RunRow, corpus: str | None) -> RunRow | None:
    """The best run of the next larger model of fixed depth."""
    larger = [
        run
        for run in runs
        if _is_fixed(run)
        and run.corpus_hash == corpus
        and _size(run) != _size(fixed)
        and (run.parameters or 0) > (fixed.parameters or 0)
    ]
    least = min((run.parameters or 0 for run in larger), default=None)
    return _best(run for run in larger if run.parameters == least)


def scores_json(found: Sequence[ScoreComparison]) -> dict[str, Any]:
    """The keys of `parcae-fit scores --json`."""
    return {"comparisons": [asdict(each) for each in found]}


def scores_text(found: Sequence[ScoreComparison]) -> str:
    """One table for equal FLOPs and one for equal tokens."""
    parts = []
    for equal, what in (("flops", "FLOPs"), ("tokens", "training tokens")):
        chosen = [each for each in found if each.equal == equal]
        if not chosen:
            continue
        lines = [
            (
                each.task,
                each.metric,
                each.model,
                number(each.mean_recurrence),
                f"{each.amount:.3g}",
                number(each.looped),
                number(each.fixed),
                MISSING if each.efficiency is None else number(each.efficiency, 3),
            )
            for each in chosen
        ]
        columns = ("task", "metric", "model", "recurrence", what, "looped", "fixed", "efficiency")
        parts.append(f"Looped and fixed depth at equal {what}\n\n{table(columns, lines)}")
    return "\n\n".join(parts)
