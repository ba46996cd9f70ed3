"""The chapter on losses over test recurrences."""

import math
from collections.abc import Mapping

from analysis.data.points import spaced
from analysis.engine.verdict import FitStatus
from analysis.fits.unified import GAMMA_ONE, UnifiedFit
from analysis.laws import SATURATION, UNIFIED
from analysis.report.content.chapters.isoflop import slug
from analysis.report.content.document import Block, Cell, Chapter, Drawing, Equation, Table
from analysis.report.content.numbers import (
    amount,
    counted,
    digits_of,
    estimate,
    listed,
    plain,
    sentence,
    whole,
)
from analysis.report.figures.test_time import run_names, saturation, unified
from analysis.report.fitted_study import FittedStudy, FittedTestTime, limit_error
from analysis.report.mathematics import literal
from sweeps.folders.paths import PUBLISHED

CURVES = 8
"""Runs drawn."""
ROWS = 16
"""Runs in the table."""
NOTHING = "losses over test recurrences (no run was measured at several)"


def test_time_chapter(findings: FittedStudy) -> Chapter | str:
    """Single runs' curves with a verdict each, the forms scored, and the unified law of each model."""
    found = findings.test_time
    if not found.saturation:
        return NOTHING
    verdicts: dict[str, int] = {}
    for _, fit in found.saturation:
        verdicts[fit.status.value] = verdicts.get(fit.status.value, 0) + 1
    counts = listed([f"{count} {verdict}" for verdict, count in verdicts.items()])
    words = [
        f"{counted(len(found.saturation), 'trained run')} were evaluated at several test recurrences $T$. "
        "Each curve is fitted by least squares on log loss, and a floor is claimed only where the losses "
        f"fall to one within noise. The verdicts: {counts}."
    ]
    if findings.study.name == PUBLISHED:
        words.append(
            "These are the perplexities of the paper's table 8; four points for three parameters prove "
            "little."
        )
    words += [_limits(found), _forms(found)]
    names = run_names(findings.study.curves)
    shown = spaced(found.saturation, CURVES)
    some = (
        ""
        if len(shown) == len(found.saturation)
        else f" {len(shown)} of {len(found.saturation)} runs, at even distances."
    )
    blocks: list[Block] = [
        Equation(formula=SATURATION["exponential"].equation),
        " ".join(word for word in words if word),
        Drawing(
            name="saturation",
            figure=saturation(shown, names),
            caption=(
                "Loss over test recurrences: dots measured; a solid line is a fit that falls to a floor, "
                "a dotted one claims none; dashed, the run's mean recurrence; a star, the best $T$ where "
                "losses rise "
                "again." + some
            ),
        ),
        _table(found, names),
    ]
    for name in found.unified:
        blocks += _unified(findings, name)
    return Chapter(title="What do more recurrences at test time give?", blocks=tuple(blocks))


def _limits(found: FittedTestTime) -> str:
    off = [100 * limit_error(curve, fit) for curve, fit in found.saturation]
    known = [error for error in off if math.isfinite(error)]
    if len(known) < 2:
        return ""
    return (
        f"The floor lies {digits_of(sum(known) / len(known), 2)} % from the measured loss at $T = mu_rec$ "
        f"on average over {counted(len(known), 'run')}, and {digits_of(max(known), 2)} % at most."
    )


def _forms(found: FittedTestTime) -> str:
    scored = [score for score in found.forms if math.isfinite(score.extrapolation)]
    if not scored or not scored[0].runs:
        return ""
    best = min(scored, key=lambda score: score.extrapolation)
    return (
        f"Fitted to $T <= mu_rec$ and scored beyond, the {best.form.replace('_', '-')} form is best of "
        f"four on {counted(best.runs, 'run')} (mean Huber loss {digits_of(best.extrapolation, 3)})."
    )


def _table(found: FittedTestTime, names: Mapping[str, str]) -> Table:
    shown = spaced(found.saturation, ROWS)
    rows: list[tuple[Cell, ...]] = [
        (
            names[curve.run_id],
            whole(curve.mean_recurrence),
            amount(curve.flops),
            estimate(fit.intervals["L_inf"], 4),
            estimate(fit.intervals["z"], 2),
            whole(fit.best_test_recurrence),
            plain(fit.best_loss, 4),
            fit.status.value,
        )
        for curve, fit in shown
    ]
    columns = ("run", "$mu_rec$", "budget", "$L_inf$ (nats)", "$z$", "best $T$", "lowest loss", "verdict")
    unnamed = int(all(name.startswith("$mu_rec") for name in names.values()))
    some = f" {len(shown)} of {len(found.saturation)} runs." if len(shown) < len(found.saturation) else ""
    return Table(
        name="saturation",
        columns=columns[unnamed:],
        rows=tuple(row[unnamed:] for row in rows),
        caption=f"Each run over its test recurrences, with 95 % intervals where a floor is claimed.{some}",
    )


def _unified(findings: FittedStudy, model: str) -> list[Block]:
    forms, name = findings.test_time.unified[model], literal(model)
    fit = forms[GAMMA_ONE]
    curves = [
        c
        for c in findings.study.curves
        if c.model == model and math.isfinite(c.tokens) and math.isfinite(c.effective_parameters)
    ]
    if not fit.usable:
        return [sentence(f"the unified law of {name} is {fit.status}: {fit.message}")]
    known = {form: one.uncertainty.aicc for form, one in forms.items() if one.uncertainty}
    best = min(known, key=lambda form: known[form]) if known else GAMMA_ONE
    words = [
        f"The unified law takes all {counted(fit.points, 'loss')[:-1] + ('es' if fit.points != 1 else '')} "
        f"of {name} together, with a mean error of {digits_of(100 * fit.mean_error, 2)} %."
    ]
    if best != GAMMA_ONE:
        words.append(
            f"Akaike's criterion prefers the form {best.replace('_', '-')}, with "
            f"{digits_of(100 * forms[best].mean_error, 2)} %."
        )
    oracle = findings.test_time.oracle[model]
    if oracle.decided:
        words.append(
            "With each run's measured loss at $T = mu_rec$ as its floor the error is "
            f"{digits_of(100 * oracle.mean_error, 2)} %."
        )
    if fit.status is not FitStatus.CONVERGED:
        words.append(sentence(fit.message))
    names = ("E", "X", "x", "Y", "y", "Z", "z")
    return [
        " ".join(words),
        Equation(formula=UNIFIED[GAMMA_ONE].equation),
        Drawing(
            name=f"unified-{slug(name)}",
            figure=unified(curves, fit),
            caption=(
                f"The unified law of {name}. (a) The run on the most FLOPs at each mean recurrence: dots "
                "measured, lines the law. (b) Predicted over measured loss of every run, over $T / mu_rec$."
            ),
        ),
        Table(
            name=f"unified-{slug(name)}",
            columns=tuple(f"${n}$" for n in names),
            rows=(tuple(_parameter(fit, n) for n in names),),
            caption=f"Parameters of the unified law of {name}, with 95 % intervals.",
        ),
    ]


def _parameter(fit: UnifiedFit, name: str) -> Cell:
    """With its interval, but for a coefficient, which moves with its exponent over many powers of ten."""
    if name in fit.intervals and name not in ("X", "Y"):
        return estimate(fit.intervals[name])
    return plain(getattr(fit, name))
