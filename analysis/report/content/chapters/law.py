"""The chapter on the law that the losses follow."""

import math
from functools import partial

import numpy as np

from analysis.engine.lack_of_fit import Fits
from analysis.engine.verdict import FitStatus
from analysis.fits.forms import FormFit
from analysis.report.content.abstract import law_to_speak_of, spoken
from analysis.report.content.chapters.isoflop import slug
from analysis.report.content.document import Block, Cell, Chapter, Drawing, Equation, Table
from analysis.report.content.numbers import NONE, counted, digits_of, estimate, listed, plain, sentence
from analysis.report.figures.law import contours, drawn_fit, law, residuals
from analysis.report.fitted_study import FittedModel, FittedStudy

NOTHING = "a law of the losses (too few runs have parameters, tokens and a loss)"
FAR_OFF_SHOWN = 3


def law_chapter(findings: FittedStudy) -> Chapter | str:
    """Each model's chosen law with its parameters, its residuals, and the other forms beside it."""
    fitted = {
        name: found
        for name, found in findings.models.items()
        if law_to_speak_of(found) is not None or found.training.law.fit.decided
    }
    if not fitted:
        return NOTHING
    blocks: list[Block] = [
        "Each form of the law is fitted by the summed Huber loss ($delta = 0.001$) of $ln$ prediction $-$ "
        "$ln$ loss, from 500 random starts. The simplest form is chosen whose error on budgets it has not "
        "seen is within one standard error of the best; forms that cannot be told from it widen its "
        "intervals. $N$ counts the parameters of the unrolled loop, $D$ the training tokens."
    ]
    laws = {form.law.name: form.law for found in fitted.values() for form in _shown(found)}
    blocks += [Equation(formula=one.equation) for one in laws.values()]
    for name, found in fitted.items():
        blocks.append(_reading(name, found))
        if drawn_fit(found).usable:
            blocks.append(
                Drawing(
                    name=f"law-{slug(name)}",
                    figure=law(found),
                    caption=_caption(name, found),
                    panels={"contours": partial(contours, found), "residuals": partial(residuals, found)},
                )
            )
    blocks += [_parameters(fitted), _forms(fitted)]
    return Chapter(title="Which law do the losses follow?", blocks=tuple(blocks))


def _shown(found: FittedModel) -> list[FormFit]:
    """The chosen form, the training law and what cannot be told from it, three at most."""
    forms = [*found.forms.alike[:1], found.forms.forms.get("training"), *found.forms.alike[1:]]
    known = {form.law.name: form for form in forms if form is not None and form.fit.decided}
    return list(known.values())[:3]


def _reading(name: str, found: FittedModel) -> str:
    form = found.forms.chosen
    if form is None:
        return sentence(
            f"{name}: no form is usable; the training law is {found.training.law.status}, "
            f"{found.training.law.message}"
        )
    alike = [spoken(other) for other in found.forms.alike[1:]]
    words = [
        f"The losses of {name} choose the {spoken(form)} law: mean error "
        f"{digits_of(100 * form.fit.mean_error, 2)} % on {counted(len(form.fit.residuals), 'run')}"
        + (
            f", {digits_of(form.held_out_error_percent, 2)} % on the largest budget when that is held out"
            if math.isfinite(form.held_out_error_percent)
            else ""
        )
        + (f"; {listed(alike)} cannot be told from it." if alike else ".")
    ]
    if form.fit.status is not FitStatus.CONVERGED:
        words.append(sentence(f"it is {form.fit.status}: {form.fit.message}"))
    for other in dict.fromkeys((form.law.name, "training")):
        test = found.forms.forms[other].lack_of_fit if other in found.forms.forms else None
        if test is not None and test.verdict is Fits.DOES_NOT_FIT:
            words.append(sentence(f"the {other.replace('_', '-')} law does not fit: {test.message}"))
        elif test is not None and other == form.law.name:
            words.append(
                sentence(
                    f"on its residuals: {test.verdict.value}; {test.message}"
                    if test.verdict is Fits.UNTESTED
                    else "its residuals show no lack of fit"
                )
            )
    words.append(_trend(found))
    off = list(found.training.far_off.items())
    words += [
        sentence(f"run `{run}` is far off the training law, which predicts {100 * value:+.1f} %")
        for run, value in off[:FAR_OFF_SHOWN]
    ]
    if len(off) > FAR_OFF_SHOWN:
        words.append(f"{len(off) - FAR_OFF_SHOWN} more are far off.")
    return " ".join(word for word in words if word)


def _trend(found: FittedModel) -> str:
    """How the drawn law's residuals run along the mean recurrence at the largest budget."""
    fit, points = drawn_fit(found), found.training.points
    if not fit.usable or not len(points.budgets):
        return ""
    at = points.budget == points.budgets[-1]
    depth = points.mean_recurrence[at]
    if len(np.unique(depth)) < 4:
        return ""
    percent = 100 * np.expm1(fit.residuals[at])
    first, last = percent[np.argmin(depth)], percent[np.argmax(depth)]
    return (
        f"At the largest budget its residuals run from {first:+.2f} % at mean recurrence {depth.min():g} to "
        f"{last:+.2f} % at {depth.max():g}, and lie within {percent.min():+.2f} and {percent.max():+.2f} %."
    )


def _caption(name: str, found: FittedModel) -> str:
    fit = drawn_fit(found)
    optimum = ", and in orange the law's own optimum over budgets" if found.shape is not None else ""
    budgets = "; marks and shades are the budgets of the isoFLOP curves" if found.isoflop.optima else ""
    return (
        f"The {fit.law.name.replace('_', '-')} law of {name}. (a) Lines of equal loss (nats), and the "
        f"runs{optimum}. (b) Predicted over measured loss{budgets}. A law that fits leaves no trend."
    )


def _parameters(fitted: dict[str, FittedModel]) -> Table:
    names = list(
        dict.fromkeys(p for found in fitted.values() for form in _shown(found) for p in form.law.parameters)
    )
    rows: list[tuple[Cell, ...]] = []
    for name, found in fitted.items():
        for form in _shown(found):
            cells = [_parameter(form, p) for p in names]
            rows.append((name, spoken(form) + ("*" if form is found.forms.chosen else ""), *cells))
    return _transposed(rows, names)


def _parameter(form: FormFit, name: str) -> Cell:
    """With its interval, but for a coefficient, which moves with its exponent over many powers of ten."""
    if name not in form.intervals:
        return NONE
    value = form.intervals[name]
    return plain(value.value) if name in form.law.coefficients[1:] else estimate(value)


def _transposed(rows: list[tuple[Cell, ...]], names: list[str]) -> Table:
    """A column a fitted law, so that intervals have room."""
    heads = [f"{row[0]}, {row[1]}" for row in rows]
    lines: list[tuple[Cell, ...]] = [(f"${p}$", *(row[2 + i] for row in rows)) for i, p in enumerate(names)]
    if len(rows) > 4:
        return Table(
            name="parameters",
            columns=("model", "law", *(f"${p}$" for p in names)),
            rows=tuple((row[0], row[1], *(_value_alone(cell) for cell in row[2:])) for row in rows),
            caption=(
                "Parameters of the laws; * marks the chosen form. The intervals are in the JSON of this "
                "report."
            ),
        )
    return Table(
        name="parameters",
        columns=("", *heads),
        rows=tuple(lines),
        caption=(
            "Parameters of the laws with 95 % intervals; * marks the chosen form, $E$ is in nats. A "
            "coefficient moves with its exponent over many powers of ten, so its interval is left out."
        ),
    )


def _value_alone(cell: Cell) -> Cell:
    from dataclasses import replace

    return cell if isinstance(cell, str) else replace(cell, text=cell.text.partition(" (")[0])


def _forms(fitted: dict[str, FittedModel]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, found in fitted.items():
        for form in found.forms.forms.values():
            verdict = form.lack_of_fit.verdict.value if form.fit.decided else form.fit.status.value
            rows.append(
                (
                    name,
                    spoken(form) + ("*" if form is found.forms.chosen else ""),
                    plain(100 * form.fit.mean_error, 2) if form.fit.decided else NONE,
                    plain(form.rolling_error_percent, 2),
                    plain(form.held_out_error_percent, 2),
                    f"{form.weight:.2f}" if form.weight else "ruled out",
                    verdict,
                )
            )
    return Table(
        name="forms",
        columns=(
            "model",
            "form",
            "error seen (%)",
            "error unseen (%)",
            "largest budget (%)",
            "weight",
            "verdict",
        ),
        rows=tuple(rows),
        caption=(
            "Every form of the law: its mean error on the runs it was fitted to, on budgets predicted from "
            "the smaller ones, and on the largest budget alone, and its Akaike weight among those not "
            "ruled out."
        ),
    )
