"""What page 1 says: findings within what was trained, what is extrapolated, and warnings."""

import math
from collections.abc import Sequence
from pathlib import Path

from analysis.engine.formatting import number, over_budgets, span, spell
from analysis.engine.lack_of_fit import Fits
from analysis.engine.verdict import FitStatus
from analysis.prediction.exponents import Exponents
from analysis.prediction.frontier import Frontier, untrained
from analysis.published import EXPONENTS
from analysis.report.fitted_study import FittedModel, FittedStudy
from analysis.report.law_text import passed_over_text
from sweeps.folders.paths import PUBLISHED


def paper_exponents(findings: FittedStudy) -> dict[str, tuple[float, float]]:
    """The paper's exponents, beside its own runs only: a model's name alone says nothing of its data."""
    return dict(EXPONENTS) if findings.study.name == PUBLISHED else {}


def headlines(findings: FittedStudy) -> list[str]:
    """The main findings, one sentence each."""
    sentences = []
    for name, found in findings.models.items():
        gamma_v, gamma_d = found.isoflop.gamma_axis, found.isoflop.gamma_tokens
        if found.points.passed_over:
            sentences.append(f"{name}: {passed_over_text(found.points.passed_over)}.")
        if math.isfinite(gamma_v.exponent.value):
            published = paper_exponents(findings).get(name)
            beside = f" (paper: {published[0]:g} and {published[1]:g})" if published else ""
            sentences.append(
                f"{name}: the best {found.isoflop.axis.words} grows as C^{spell(gamma_v.exponent)} and the "
                f"best tokens as C^{spell(gamma_d.exponent)} by isoFLOP parabolas over "
                f"{over_budgets(gamma_v.budgets)}{beside}."
            )
            sentences += [f"{name}: {believed}." for believed in found.routes.believed]
        else:
            sentences.append(f"{name}: no power law by isoFLOP parabolas: {gamma_v.message}.")
        sentences += law_headlines(name, found)
    for model, forms in findings.test_time.unified.items():
        fit = forms["gamma_one"]
        if fit.usable:
            sentences.append(
                f"{model}: the unified law over test recurrences has a mean error of "
                f"{100 * fit.mean_error:.2f} % on {fit.points} losses (z = {number(fit.z, 3)})."
            )
    for one in findings.equivalence:
        phi = one.joint.phi
        if math.isfinite(phi.value) and one.joint.status is FitStatus.CONVERGED:
            whose = f" of {one.architecture}" if len(findings.equivalence) > 1 else ""
            sentences.append(f"r recurrences{whose} are worth r^phi unique blocks, phi = {spell(phi)}.")
    return sentences


def law_headlines(name: str, found: FittedModel) -> list[str]:
    """What a model's laws say within what was trained."""
    form, law, frontier = found.forms.chosen, found.training.law, found.frontier
    if form is None:
        return [f"{name}: no training law, {law.status}: {law.message}."]
    unseen = (
        f", {form.held_out_error_percent:.2f} % on the largest budget when that is held out"
        if math.isfinite(form.held_out_error_percent)
        else ""
    )
    values = ", ".join(f"{key} = {number(value, 3)}" for key, value in form.fit.values.items())
    alike = [other.law.name for other in found.forms.alike[1:]]
    beside = f"; {' and '.join(alike)} cannot be distinguished from it" if alike else ""
    sentences = [
        f"{name}: the {form.law.name} law, {form.law.equation}, with {values}: mean error "
        f"{100 * form.fit.mean_error:.2f} % on {len(form.fit.residuals)} runs{unseen}{beside}."
    ]
    if form.fit.status is not FitStatus.CONVERGED:
        sentences.append(f"{name}: the {form.law.name} law is {form.fit.status}: {form.fit.message}.")
    for other in dict.fromkeys((form.law.name, "training")):
        test = found.forms.forms[other].lack_of_fit
        if test.verdict is Fits.DOES_NOT_FIT:
            sentences.append(f"{name}: the {other} law does not fit: {test.message}.")
    if frontier and math.isfinite(frontier.within.on_axis.value):
        sentences.append(f"{name}: {growth(frontier, frontier.within)}.")
    sizes = found.sizes
    if sizes and math.isfinite(sizes.exponents.on_axis.value):
        best = [p for p in sizes.points if p.supported][-1]
        sentences.append(
            f"{name}: by the {sizes.form} law's own minimum, {sizes.price.costs}, the best parameters grow "
            f"as C^{spell(sizes.exponents.on_axis)} and tokens as C^{spell(sizes.exponents.tokens)}; at "
            f"{best.flops:.3g} FLOPs they are {spell(best.parameters)}, with a loss of {spell(best.loss, 4)}."
        )
    supported = [p for p in frontier.points if p.supported] if frontier else []
    if frontier and supported:
        last, (low, high) = supported[-1], frontier.trained
        looped = low <= 1 < last.mean_recurrence.value
        gain = f", {spell(last.gain_percent, 2)} % below the loss without a loop" if looped else ""
        beyond = untrained(last.near_best, frontier.trained)
        sentences.append(
            f"{name}: at {last.flops:.3g} FLOPs the best of the trained mean recurrences ({low:g} to "
            f"{high:g}) is {last.mean_recurrence.value:g}, with a loss of {spell(last.loss, 4)}{gain}; "
            f"{span(*last.near_best)} come within 0.1 % of it{f' ({beyond})' if beyond else ''}."
        )
    return sentences


def growth(frontier: Frontier, found: Exponents) -> str:
    """How the law's own optimum grows over some budgets, in words."""
    return (
        f"by the {frontier.form} law's own minimum over {found.over_budgets}, the best mean recurrence grows "
        f"as C^{spell(found.on_axis)} and tokens as C^{spell(found.tokens)}"
    )


def extrapolations(findings: FittedStudy) -> list[str]:
    """What the laws say beyond what was trained, one sentence each with its own interval."""
    sentences = []
    for name, found in findings.models.items():
        frontier = found.frontier
        if frontier is None:
            continue
        low, high = frontier.trained
        supported = [p for p in frontier.points if p.supported]
        if low > 1 and supported:
            gains = "; ".join(
                f"{spell(p.gain_percent, 2)} % below it at {p.flops:.3g} FLOPs with mean recurrence "
                f"{p.mean_recurrence.value:g}"
                for p in (supported if len(supported) <= 4 else [*supported[:2], supported[-1]])
            )
            sentences.append(
                f"{name}: mean recurrence 1 was not trained; by the {frontier.form} law a loop's loss is "
                f"{gains}."
            )
        every = frontier.exponents
        if math.isfinite(every.on_axis.value) and every.flops != frontier.within.flops:
            outside = len(set(every.flops) - set(frontier.within.flops))
            sentences.append(
                f"{name}: {growth(frontier, every)}; at {outside} of them the optimum lies outside the "
                f"trained {low:g} to {high:g}."
            )
        sentences += [
            f"{name}: at {p.flops:.3g} FLOPs the {frontier.form} law's best mean recurrence of all is "
            f"{p.beyond_trained:g} (continuous: {spell(p.continuous_recurrence)}), which was not trained "
            f"({low:g} to {high:g} were)."
            for p in supported
            if math.isfinite(p.beyond_trained)
        ]
    return sentences


def warnings(findings: FittedStudy) -> list[str]:
    sentences = []
    for name, found in findings.models.items():
        sentences += [f"{name}: {warning}" for warning in found.routes.warnings]
        sentences += [
            f"{name}: run {run} is far off the training law, which predicts {100 * off:+.1f} %"
            for run, off in found.training.far_off.items()
        ]
    return sentences


def page_1_text(findings: FittedStudy, files: Sequence[Path]) -> str:
    """The same as lines of text, and the `files` written, the report first."""
    beyond = [f"extrapolated: {sentence}" for sentence in extrapolations(findings)]
    more = [f"and {len(files) - 1} files in {files[-1].parent}"] if len(files) > 1 else []
    return "\n".join([*headlines(findings), *beyond, f"report: {files[0]}", *more])
