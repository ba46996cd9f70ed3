"""The scores of a run: a file in its folder, which later evaluations add to."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from sweeps.folders.locks import held
from sweeps.folders.paths import RunFolder
from sweeps.folders.records import read_record, write_record
from sweeps.store.rows import ScoreRow


@dataclass(frozen=True, kw_only=True)
class StoredScore:
    """One metric of one task."""

    step: int
    """Steps completed by the model."""
    task: str
    version: str
    seed: int
    metric: str
    examples: int
    values: Mapping[str, float | None]
    """By T; None for an infinite one."""

    @property
    def key(self) -> tuple[int, str, str, int, str]:
        return self.step, self.task, self.version, self.seed, self.metric


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One metric of one task over all seeds."""

    step: int
    task: str
    version: str
    metric: str
    examples: int
    seeds: tuple[int, ...]
    mean: Mapping[str, float | None]
    """By T, over the seeds that have it."""
    deviation: Mapping[str, float | None]
    """By T, the standard deviation of one seed's score; None where fewer than two have it."""


@dataclass(frozen=True, kw_only=True)
class ScoreFile:
    """scores.json of a run."""

    scores: tuple[StoredScore, ...]


def read_scores(folder: RunFolder) -> tuple[StoredScore, ...]:
    """All scores of a run. ``InputError`` if their file is not one."""
    found = read_record(folder.scores, ScoreFile, more_keys=True)
    return found.scores if found else ()


def add_scores(folder: RunFolder, scores: Iterable[StoredScore]) -> tuple[StoredScore, ...]:
    """Adds scores to those of a run, in place of earlier ones at the same T; all that there are then."""
    with held(folder.scores_lock, "another evaluation of this run"):
        known = {score.key: score for score in read_scores(folder)}
        for score in scores:
            before = known[score.key].values if score.key in known else {}
            merged = sorted({**before, **score.values}.items(), key=lambda value: int(value[0]))
            known[score.key] = replace(score, values=dict(merged))
        everything = tuple(known[key] for key in sorted(known))
        write_record(folder.scores, ScoreFile(scores=everything))
    return everything


def summarised(scores: Iterable[StoredScore]) -> list[Summary]:
    """Means and deviations over the seeds."""
    groups: dict[tuple[int, str, str, str], list[StoredScore]] = {}
    for score in scores:
        groups.setdefault((score.step, score.task, score.version, score.metric), []).append(score)
    summaries = []
    for (step, task, version, metric), group in groups.items():
        found: dict[str, list[float | None]] = {}
        for score in group:
            for t, value in score.values.items():
                found.setdefault(t, []).append(value)
        known = {t: [x for x in values if x is not None] for t, values in found.items()}
        whole = {t: len(known[t]) == len(values) for t, values in found.items()}
        summaries.append(
            Summary(
                step=step,
                task=task,
                version=version,
                metric=metric,
                examples=group[0].examples,
                seeds=tuple(score.seed for score in group),
                mean={t: fmean(known[t]) if whole[t] else None for t in found},
                deviation={t: stdev(known[t]) if whole[t] and len(known[t]) > 1 else None for t in found},
            )
        )
    return summaries


def score_rows(folder: RunFolder) -> list[ScoreRow]:
    """The rows of a run's scores; none where their file cannot be read, which concerns that file alone."""
    try:
        return [
            ScoreRow(
                run_id=folder.run_id,
                step=score.step,
                test_recurrence=int(t),
                task=score.task,
                seed=score.seed,
                version=score.version,
                metric=score.metric,
                value=value,
                examples=score.examples,
            )
            for score in read_scores(folder)
            for t, value in score.values.items()
        ]
    except ValueError:
        return []
