"""The chapter on stability: what diverged, and how the runs trained."""

from analysis.report.content.document import Block, Cell, Chapter, Drawing, Table
from analysis.report.content.numbers import counted, plain
from analysis.report.figures.sweep import TRAINED_SHOWN, shown_runs, stability
from analysis.report.mathematics import literal
from analysis.report.records import Records

MOST_TOLD = 3
"""Diverged runs told of in the text; all are in the table of those without a result."""
NOTHING = "stability (no run recorded its training)"


def stability_chapter(records: Records) -> Chapter | str:
    """Loss, size of the state and spectral norm over steps, and what diverged at which rate and injection."""
    ended = records.where("done", "diverged")
    bad = records.where("diverged")
    if not len(records.telemetry) and not len(bad):
        return NOTHING
    words = (
        f"{counted(len(bad), 'run')} of {len(ended)} that ended diverged."
        if len(bad)
        else f"None of the {counted(len(ended), 'run')} that ended diverged."
    )
    for run in bad.head(MOST_TOLD).to_dict("records"):
        words += (
            f" Run `{run['run_id']}` (mean recurrence {run['mean_recurrence']:g}, learning rate "
            f"{run['learning_rate']:g}, {run['injection']} injection): "
            f"{literal(run['reason'] or 'diverged')}."
        )
    blocks: list[Block] = [words]
    if len(records.telemetry):
        some = len(records.telemetry["run_id"].unique()) > len(shown_runs(records))
        blocks.append(
            Drawing(
                name="stability",
                figure=stability(records),
                caption=(
                    "(a) Training loss, (b) norm of the recurrent state and (c) spectral norm of $Abar$, "
                    "which must stay below 1 (dotted) for the loop to be stable as a linear system, over "
                    "steps"
                    + (f"; {TRAINED_SHOWN} runs at even distances in budget and recurrence" if some else "")
                    + ". Dashed, ending in a cross: a run that diverged."
                ),
            )
        )
    blocks += _by_rate(records)
    return Chapter(title="Was training stable?", blocks=tuple(blocks))


def _by_rate(records: Records) -> list[Block]:
    ended = records.where("done", "diverged")
    known = ended[ended["learning_rate"].notna()]
    rows: list[tuple[Cell, ...]] = []
    for (model, injection, rate), runs in known.groupby(["model", "injection", "learning_rate"], sort=True):
        diverged = int((runs["state"] == "diverged").sum())
        norms = records.telemetry[records.telemetry["run_id"].isin(runs["run_id"])]["injection_norm"]
        highest = float(norms.max()) if len(norms) else float("nan")
        rows.append(
            (
                literal(str(model)),
                str(injection),
                plain(float(str(rate))),
                str(len(runs) - diverged),
                str(diverged),
                plain(highest),
            )
        )
    if not rows:
        return []
    return [
        Table(
            name="stability",
            columns=(
                "model",
                "injection",
                "learning rate",
                "converged",
                "diverged",
                "highest norm of $Abar$",
            ),
            rows=tuple(rows),
            caption="What converged and what diverged, by learning rate and kind of injection.",
        )
    ]
