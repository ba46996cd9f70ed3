"""Title, question and abstract: what was found, how sure that is, and what was not shown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.checks.two_routes import Route
from analysis.data.axis import Axis
from analysis.engine.formatting import span
from analysis.engine.intervals import NOTHING, Interval
from analysis.engine.lack_of_fit import Fits
from analysis.engine.verdict import FitStatus
from analysis.fits.forms import FormFit, knows_loop
from analysis.fits.isoflop.curves import FEWEST_POINTS
from analysis.fits.isoflop.optimum import Optimum
from analysis.prediction.frontier import Frontier
from analysis.report.content.numbers import counted, digits_of, estimate, flops, listed
from analysis.report.fitted_study import FittedModel, FittedStudy
from analysis.report.mathematics import literal

MOST_NAMED = 3
"""Models, budgets or reasons named in one sentence; more are counted."""


def is_scaling(findings: FittedStudy) -> bool:
    """Whether any model has a curve or a law, so that the report is about scaling and not about T alone."""
    return any(
        found.forms.chosen or any(o.along_axis for o in found.isoflop.optima)
        for found in findings.models.values()
    )


def main_model(findings: FittedStudy) -> tuple[str, FittedModel]:
    """The model with the most runs."""
    return max(findings.models.items(), key=lambda item: len(item[1].points))


def law_to_speak_of(found: FittedModel) -> FormFit | None:
    """The chosen form, unless it is one that knows nothing of size and was never tested."""
    form = found.forms.chosen
    if form is None or (not knows_loop(form.law) and form.lack_of_fit.verdict is Fits.UNTESTED):
        return None
    return form


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """An exponent, how it was found and over which budgets."""

    exponent: Interval
    how: str
    budgets: tuple[float, ...]


def believed(route: Route, frontier: Frontier | None) -> Quoted:
    """The exponent to quote: corrected where plain parabolas are biased or contradicted.

    The law's own is quoted over the budgets whose optimum was trained; elsewhere it is no finding.
    """
    same = route.compared
    if math.isfinite(same.corrected.value) and (same.biased or same.disagree):
        how = "isoFLOP parabolas corrected for their bias"
        return Quoted(exponent=same.corrected, how=how, budgets=same.budgets)
    if math.isfinite(route.parabolas.value):
        return Quoted(exponent=route.parabolas, how="isoFLOP parabolas", budgets=route.budgets)
    if frontier is None or route.quantity == Axis.PARAMETERS.words:
        return Quoted(exponent=NOTHING, how="", budgets=())
    law = frontier.within
    exponent = law.tokens if route.quantity == "tokens" else law.on_axis
    return Quoted(exponent=exponent, how="the fitted law's own minimum", budgets=law.flops)


def looped(findings: FittedStudy) -> bool:
    """Whether the mean recurrence of any model was varied."""
    return any(
        found.isoflop.axis is Axis.MEAN_RECURRENCE and (found.points.mean_recurrence > 0).any()
        for found in findings.models.values()
    )


def title(findings: FittedStudy) -> str:
    scaling = is_scaling(findings)
    names = list(findings.models) if scaling else sorted({literal(c.model) for c in findings.study.curves})
    if not names:
        return f"The sweep {findings.study.name}"
    several = len(names) > MOST_NAMED
    whose = f"{len(names)} {'looped ' if looped(findings) else ''}models" if several else listed(names)
    return f"{'Scaling laws' if scaling else 'Losses over test recurrences'} of {whose}"


def question(findings: FittedStudy) -> str:
    if not is_scaling(findings) and findings.study.curves:
        return "How far does the loss of a trained loop fall with the recurrences it is given at test time?"
    if findings.models and not looped(findings):
        return (
            "For a fixed training budget, how large should a language model be, and on how many tokens "
            "should it train?"
        )
    return (
        "For a fixed training budget, how often should a language model loop, on how many tokens should it "
        "train, and what is the loop worth?"
    )


def abstract(findings: FittedStudy) -> tuple[str, ...]:
    """What was found, how sure that is, and what was not shown: a sentence each."""
    if not is_scaling(findings):
        return _over_test_recurrences(findings)
    parts = (_found(findings), _sure(findings), _not_shown(findings))
    return tuple(part for part in parts if part)


def _found(findings: FittedStudy) -> str:
    name, found = main_model(findings)
    parts = [_growth(name, found)]
    for other, one in findings.models.items():
        value, tokens = (
            believed(route, one.frontier).exponent
            for route in (one.routes.mean_recurrence, one.routes.tokens)
        )
        if other != name and math.isfinite(value.value) and len(parts) < MOST_NAMED:
            known = [found for found in (value, tokens) if math.isfinite(found.value)]
            parts.append(f"for {other} as {listed([f'$C^{digits_of(v.value, 3)}$' for v in known])}")
    return "; ".join([*parts, *_best(found)]) + "."


def _growth(name: str, found: FittedModel) -> str:
    quoted, of_tokens = (
        believed(route, found.frontier) for route in (found.routes.mean_recurrence, found.routes.tokens)
    )
    value, tokens = quoted.exponent, of_tokens.exponent
    form, interior = law_to_speak_of(found), found.isoflop.interior
    what = "mean recurrence" if found.isoflop.axis is Axis.MEAN_RECURRENCE else "size"
    if math.isfinite(value.value):
        data = ""
        if math.isfinite(tokens.value):
            data = f" and the best number of tokens as $C^{digits_of(tokens.value, 3)}${_limits(tokens)}"
            if of_tokens.budgets != quoted.budgets:
                data += f" (that over {_span_of(of_tokens.budgets)})"
        return (
            f"For {name} the best {what} grows with the training budget $C$ as "
            f"$C^{digits_of(value.value, 3)}${_limits(value)}{data}, by {quoted.how} over "
            f"{_span_of(quoted.budgets)}"
        )
    if interior:
        last = interior[-1]
        return (
            f"At {flops(last.flops)} FLOPs the best {what} of {name} is {digits_of(last.on_axis, 3)}, with a "
            f"loss of {digits_of(last.loss, 4)} nats"
        )
    if form is not None:
        return (
            f"The losses of {name} follow the {spoken(form)} law with a mean error of "
            f"{digits_of(100 * form.fit.mean_error, 2)} % on {counted(len(form.fit.residuals), 'run')}"
        )
    return f"The {counted(len(found.points), 'run')} of {name} decide no law: {found.training.law.message}"


def _best(found: FittedModel) -> list[str]:
    supported = [p for p in found.frontier.points if p.supported] if found.frontier else []
    if not supported or found.frontier is None:
        return []
    last, (low, high) = supported[-1], found.frontier.trained
    worth = ""
    if low <= 1 < last.mean_recurrence.value and last.gain_percent.value > 0:
        worth = f", {estimate(last.gain_percent, 2).text} % below no loop"
    return [
        f"at {flops(last.flops)} FLOPs the best of the trained recurrences ({span(low, high)}) is "
        f"{last.mean_recurrence.value:g}, with a predicted loss of {digits_of(last.loss.value, 4)} nats"
        f"{worth}"
    ]


def _sure(findings: FittedStudy) -> str:
    name, found = main_model(findings)
    parts, route, form = [], found.routes.mean_recurrence.compared, law_to_speak_of(found)
    ours = route.corrected if math.isfinite(route.corrected.value) else route.parabolas
    if math.isfinite(ours.low) and math.isfinite(route.law.low):
        kind = "corrected isoFLOP curves" if ours is route.corrected else "isoFLOP curves"
        verdict = "contradict each other" if route.disagree else "agree within their 95 % intervals"
        parts.append(
            f"the {kind} of {name} and its law's own minimum {verdict} on the exponent of {route.quantity} "
            f"over {_span_of(route.budgets)} ({digits_of(ours.value, 3)} and {digits_of(route.law.value, 3)})"
        )
    if form is not None:
        words = (
            f"the {spoken(form)} law misses a run by {digits_of(100 * form.fit.mean_error, 2)} % on average"
        )
        if math.isfinite(form.held_out_error_percent):
            unseen = digits_of(form.held_out_error_percent, 2)
            words += f", and the largest budget, when that is held out, by {unseen} %"
        if form.lack_of_fit.verdict is Fits.DOES_NOT_FIT:
            words += ", yet what it leaves is not noise"
        parts.append(words)
    cells = len(set(found.points.cells.tolist()))
    if 1 < len(found.points) == cells:
        parts.append("every cell was run once, so noise is known only from the scatter about the fits")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _not_shown(findings: FittedStudy) -> str:
    parts = []
    untrained = [name for name, f in findings.models.items() if f.frontier and f.frontier.trained[0] > 1]
    if untrained:
        parts.append(
            f"no {untrained[0] if len(untrained) == 1 else 'model'} was trained without a loop, so what the "
            "loop gains on that is extrapolated"
        )
    name, found = main_model(findings)
    if found.isoflop.optima and not math.isfinite(found.isoflop.gamma_axis.exponent.value):
        parts.append(f"for {name} no power law ({found.isoflop.gamma_axis.message})")
    missing = [
        f"{model} at {flops(o.flops)} FLOPs"
        for model, one in findings.models.items()
        for o in one.isoflop.optima
        if _sampled(o) and not o.interior
    ]
    if missing:
        more = len(missing) - MOST_NAMED
        named = missing[:MOST_NAMED] + ([f"{more} more"] if more > 0 else [])
        parts.append(f"no optimum within what was sampled for {listed(named)}")
    beyond = [
        f"{model} at {flops(p.flops)} FLOPs ({p.beyond_trained:g})"
        for model, one in findings.models.items()
        for p in (one.frontier.points if one.frontier else ())
        if math.isfinite(p.beyond_trained)
    ]
    if beyond:
        more = len(beyond) - MOST_NAMED
        named = beyond[:MOST_NAMED] + ([f"{more} more"] if more > 0 else [])
        parts.append(f"the law's best mean recurrence was not trained for {listed(named)}")
    known = [one.points.budgets for one in findings.models.values() if len(one.points.budgets)]
    if known:
        parts.append(f"nothing was trained above {flops(max(b[-1] for b in known))} FLOPs")
    if not findings.study.curves and looped(findings):
        parts.append("no run was measured at several test recurrences")
    return f"Not shown: {'; '.join(parts)}." if parts else ""


def _sampled(optimum: Optimum) -> bool:
    return optimum.curve.distinct >= FEWEST_POINTS


def _over_test_recurrences(findings: FittedStudy) -> tuple[str, ...]:
    fits = [fit for _, fit in findings.test_time.saturation]
    if not fits:
        return (
            "No run of this sweep gives a curve or a law yet: "
            f"{counted(findings.study.used, 'finished run')} of {findings.study.runs}.",
        )
    falling = sum(fit.status is FitStatus.CONVERGED for fit in fits)
    rising = sum(fit.status is FitStatus.TURNS_UP for fit in fits)
    words = (
        (falling, "the loss falls exponentially to a floor"),
        (rising, "it rises again beyond some test recurrence"),
        (len(fits) - falling - rising, "no exponential floor is established"),
    )
    verdicts = listed([f"in {count} {what}" for count, what in words if count])
    points = [fit.points for fit in fits]
    return (
        f"Of {counted(len(fits), 'trained run')} measured at several test recurrences, {verdicts}.",
        f"A curve rests on {span(min(points), max(points))} test recurrences for three parameters, and its "
        "losses share one trained model's noise, which the intervals of a single curve do not show.",
        "Not shown: any scaling law, which takes runs at several budgets, or of known tokens and parameters.",
    )


def _span_of(budgets: Sequence[float]) -> str:
    return f"{len(budgets)} budgets from {flops(budgets[0])} to {flops(budgets[-1])} FLOPs"


def _limits(value: Interval) -> str:
    return estimate(value).text.removeprefix(digits_of(value.value, 3))


def spoken(form: FormFit) -> str:
    """A form's name in a sentence."""
    return form.law.name.replace("_", "-")
