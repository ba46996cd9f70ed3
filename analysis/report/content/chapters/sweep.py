"""The chapter on what ran, what did not, and what it cost."""

import math

from analysis.engine.formatting import span
from analysis.report.content.document import Block, Cell, Chapter, Drawing, Table
from analysis.report.content.numbers import amount, counted, flops, listed, plain, sentence, tokens, whole
from analysis.report.figures.sweep import at_a_glance
from analysis.report.fitted_study import FittedStudy
from analysis.report.mathematics import literal
from analysis.report.records import Records
from sweeps.folders.paths import PUBLISHED

MOST_LISTED = 8


def sweep_chapter(findings: FittedStudy, records: Records) -> Chapter:
    study, states = findings.study, records.states
    what = listed([f"{count:,} {state}" for state, count in states.items()]) if states else "no run"
    words = [
        f"The sweep `{study.name}` has {counted(study.runs, 'run')}: {what}. {counted(study.used, 'run')} "
        "enter the fits."
    ]
    if study.left_out:
        reasons = listed([f"{count:,} {reason}" for reason, count in study.left_out.items()])
        words.append(f"Left out: {reasons}.")
    words.append(_cost(records))
    if study.name == PUBLISHED:
        words.append(
            "Its losses are read off the published figures 4 and 5 (arXiv 2604.12946), to about 0.0005 nats, "
            "and 0.002 where a star lies over the dot."
        )
    blocks: list[Block] = [" ".join(word for word in words if word), *_models(findings)]
    gridded = records.runs["flops"].notna() & records.runs["mean_recurrence"].notna()
    told_apart = (records.runs["state"] != "done").any()
    if told_apart and gridded.any() and records.runs.loc[gridded, "mean_recurrence"].nunique() > 1:
        blocks.append(
            Drawing(
                name="runs",
                figure=at_a_glance(records),
                caption="Every run that has a budget and a mean recurrence, by what became of it.",
            )
        )
    blocks += _lost(records)
    return Chapter(title="The sweep at a glance", blocks=tuple(blocks))


def _cost(records: Records) -> str:
    runs, parts = records.runs, []
    spent, planned = runs["realised_flops"].sum(), runs.loc[runs["realised_flops"].notna(), "flops"].sum()
    if spent > 0 and planned > 0:
        parts.append(
            f"The runs that finished spent {flops(spent)} FLOPs, {100 * (spent / planned - 1):+.1f} % of "
            "what was planned for them, at the depths they drew"
        )
    elif runs["flops"].notna().any():
        parts.append(f"Together their budgets are {flops(runs['flops'].sum())} FLOPs")
    seconds = runs["seconds"].sum()
    if seconds > 0:
        parts.append(
            f"training took {seconds / 3600:.1f} hours in all"
            if seconds > 5400
            else f"training took {seconds / 60:.0f} minutes in all"
        )
    return f"{'; '.join(parts)}." if parts else ""


def _models(findings: FittedStudy) -> list[Block]:
    rows: list[tuple[Cell, ...]] = []
    for name, found in findings.models.items():
        points = found.points
        budgets, trained = points.budgets, points.tokens[points.tokens > 0]
        depths = points.mean_recurrence[points.mean_recurrence > 0]
        rows.append(
            (
                name,
                str(len(points)),
                f"{len(budgets)}: {flops(budgets[0])} to {flops(budgets[-1])}"
                if len(budgets) > 1
                else (flops(budgets[0]) if len(budgets) else "–"),
                span(float(depths.min()), float(depths.max())) if len(depths) else "no loop",
                f"{flops(trained.min())} to {flops(trained.max())}" if len(trained) else "–",
                plain(float(points.loss.min()), 4),
                plain(float(points.loss.max()), 4),
            )
        )
    if not rows:
        return []
    return [
        Table(
            name="runs",
            columns=(
                "model",
                "runs",
                "budgets (FLOPs)",
                "mean recurrence",
                "tokens",
                "lowest loss",
                "highest",
            ),
            rows=tuple(rows),
            caption="What was fitted: finished runs of each model, losses in nats.",
        )
    ]


def _lost(records: Records) -> list[Block]:
    """The runs that ended without a result, and why."""
    lost = records.where("diverged", "failed", "timed-out", "cancelled", "unknown")
    rows: list[tuple[Cell, ...]] = [
        (
            literal(str(run["run_id"])),
            literal(str(run["model"])),
            amount(run["flops"]),
            f"{run['mean_recurrence']:g}" if math.isfinite(run["mean_recurrence"]) else "–",
            str(run["state"]),
            sentence(literal(str(run["reason"] or "no reason recorded"))),
        )
        for run in lost.head(MOST_LISTED).to_dict("records")
    ]
    if not rows:
        return []
    more = f" {len(lost) - MOST_LISTED} more are not listed." if len(lost) > MOST_LISTED else ""
    return [
        Table(
            name="lost",
            columns=("run", "model", "budget", "$mu_rec$", "state", "why"),
            rows=tuple(rows),
            caption=f"Runs that ended without a result.{more}",
        )
    ]


def all_runs(records: Records) -> Table:
    """Every run, whatever became of it."""
    rows: list[tuple[Cell, ...]] = [
        (
            literal(str(run["run_id"])),
            literal(str(run["model"])),
            str(run["state"]),
            amount(run["flops"]),
            whole(run["mean_recurrence"]),
            tokens(run["tokens"]),
            plain(run["val_loss"], 5),
        )
        for run in records.runs.to_dict("records")
    ]
    return Table(
        name="every-run",
        columns=("run", "model", "state", "budget", "$mu_rec$", "tokens", "loss (nats)"),
        rows=tuple(rows),
        caption="Every run of the sweep.",
    )
