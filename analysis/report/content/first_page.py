"""The first page: the question, what was found in three sentences, and the exponents by every route."""

import math

from analysis.checks.two_routes import Route
from analysis.data.axis import Axis
from analysis.engine.intervals import Interval
from analysis.engine.lack_of_fit import Fits
from analysis.engine.verdict import FitStatus
from analysis.report.content.document import Block, Cell, Drawing, Table
from analysis.report.content.numbers import NONE, counted, digits_of, estimate, flops, listed, plain, span
from analysis.report.figures.composite import composite, main_model
from analysis.report.fitted_study import FittedModel, FittedStudy
from sweeps.folders.paths import PUBLISHED

PAPER = {"small-140m": (0.40, 0.77), "medium-370m": (0.38, 0.78)}
"""Exponents of mean recurrence and tokens that the paper reports (figure 5)."""
MOST_NAMED = 3
"""Models named in a title or a sentence; more are counted."""


def paper_exponents(findings: FittedStudy) -> dict[str, tuple[float, float]]:
    """The paper's exponents, beside its own runs only: a model's name alone says nothing of its data."""
    return dict(PAPER) if findings.study.name == PUBLISHED else {}


def looped(findings: FittedStudy) -> bool:
    """Whether mean recurrence was varied for any model, or losses measured over test recurrences alone."""
    return not findings.models or any(
        found.isoflop.axis is Axis.MEAN_RECURRENCE and (found.points.mean_recurrence > 0).any()
        for found in findings.models.values()
    )


def title(findings: FittedStudy) -> str:
    names = list(findings.models) or sorted({curve.model for curve in findings.study.curves})
    if not names:
        return f"The sweep {findings.study.name}"
    whose = listed(names) if len(names) <= MOST_NAMED else f"{len(names)} models"
    if not findings.models:
        return f"Losses over test recurrences of {whose}"
    return f"Scaling laws of {'looped ' if looped(findings) and len(names) > MOST_NAMED else ''}{whose}"


def question(findings: FittedStudy) -> str:
    if not findings.models:
        return (
            "How far does the loss of a trained looped model fall with the recurrences it is given at "
            "test time?"
        )
    if looped(findings):
        return (
            "For a fixed training budget, how often should a language model loop, on how many tokens should "
            "it "
            "train, and what is the loop worth?"
        )
    return (
        "For a fixed training budget, how large should a language model be, and on how many tokens should "
        "it train?"
    )


def abstract(findings: FittedStudy) -> tuple[str, ...]:
    """What was found, how sure that is, and what was not shown: a sentence each."""
    return tuple(part for part in (_found(findings), _sure(findings), _not_shown(findings)) if part)


def believed(route: Route) -> tuple[Interval, str]:
    """The exponent to quote and its route: corrected where plain parabolas are biased or contradicted."""
    if math.isfinite(route.corrected.value) and (route.biased or route.disagree):
        return route.corrected, "isoFLOP parabolas corrected for their bias"
    if math.isfinite(route.parabolas.value):
        return route.parabolas, "isoFLOP parabolas"
    return route.law, "the fitted law's own minimum"


def _found(findings: FittedStudy) -> str:
    if not findings.models:
        return _found_over_test_recurrences(findings)
    name, found = main_model(findings)
    if not len(found.points):
        return ""
    main, others = _growth(name, found), []
    for other, one in findings.models.items():
        value, tokens = believed(one.routes.mean_recurrence)[0], believed(one.routes.tokens)[0]
        if other != name and math.isfinite(value.value) and len(others) < MOST_NAMED - 1:
            others.append(
                f"for {other} as $C^{digits_of(value.value, 3)}$ and $C^{digits_of(tokens.value, 3)}$"
            )
    best = _best(found)
    return main + "".join(f"; {part}" for part in others) + (f"; {best}" if best else "") + "."


def _growth(name: str, found: FittedModel) -> str:
    value, how = believed(found.routes.mean_recurrence)
    tokens, _ = believed(found.routes.tokens)
    budgets = found.points.budgets
    what = "mean recurrence" if found.isoflop.axis is Axis.MEAN_RECURRENCE else "size"
    if math.isfinite(value.value):
        over = f"{flops(budgets[0])} to {flops(budgets[-1])}" if len(budgets) > 1 else "the budgets trained"
        return (
            f"For {name} the best {what} grows with the training budget $C$ as "
            f"$C^{digits_of(value.value, 3)}$"
            f"{_limits(value)} and the best number of tokens as "
            f"$C^{digits_of(tokens.value, 3)}${_limits(tokens)}, "
            f"by {how} over {over} FLOPs"
        )
    form = found.forms.chosen
    if form is not None:
        return (
            f"The losses of {name} follow the {_law(form.law.name)} law with a mean error of "
            f"{digits_of(100 * form.fit.mean_error, 2)} % on {counted(len(form.fit.residuals), 'run')}, "
            f"with no power law of the optimum ({found.isoflop.gamma_axis.message})"
        )
    return (
        f"The {counted(len(found.points), 'run')} of {name} decide no law "
        f"({found.training.law.message}) and no power law ({found.isoflop.gamma_axis.message})"
    )


def _best(found: FittedModel) -> str:
    supported = [p for p in found.frontier.points if p.supported] if found.frontier else []
    if not supported or found.frontier is None:
        return ""
    last, (low, high) = supported[-1], found.frontier.trained
    gain = last.gain_percent
    worth = (
        f", {digits_of(gain.value, 2)} % below no loop{_limits(gain, 2)}"
        if low <= 1 and gain.value > 0
        else ""
    )
    return (
        f"at {flops(last.flops)} FLOPs the best of the trained recurrences ({span(low, high)}) is "
        f"{last.mean_recurrence.value:g}, with a predicted loss of {digits_of(last.loss.value, 4)} "
        f"nats{worth}"
    )


def _found_over_test_recurrences(findings: FittedStudy) -> str:
    fits = [fit for _, fit in findings.test_time.saturation]
    if not fits:
        return "No run of this sweep is finished, so nothing can be said of its losses yet."
    falling = sum(fit.status is FitStatus.CONVERGED for fit in fits)
    rising = sum(fit.status is FitStatus.TURNS_UP for fit in fits)
    rest = len(fits) - falling - rising
    parts = [
        f"in {count} {words}"
        for count, words in (
            (falling, "the loss falls exponentially to a floor"),
            (rising, "it rises again beyond some test recurrence"),
            (rest, "no exponential floor is established"),
        )
        if count
    ]
    return f"Of {counted(len(fits), 'trained run')} measured at several test recurrences, {listed(parts)}."


def _sure(findings: FittedStudy) -> str:
    if not findings.models:
        return _sure_over_test_recurrences(findings)
    name, found = main_model(findings)
    parts = []
    route = found.routes.mean_recurrence
    if math.isfinite(route.parabolas.value) and math.isfinite(route.law.value):
        verdict = "contradict each other" if route.disagree else "agree within their 95 % intervals"
        parts.append(
            f"the isoFLOP curves of {name} and its law's own minimum {verdict} on the exponent of "
            f"{route.quantity} ({digits_of(route.parabolas.value, 3)} and {digits_of(route.law.value, 3)})"
        )
    form = found.forms.chosen
    if form is not None:
        words = (
            f"the {_law(form.law.name)} law misses a run by {digits_of(100 * form.fit.mean_error, 2)} % "
            "on average"
        )
        if math.isfinite(form.held_out_error_percent):
            words += (
                f", and the largest budget, when that is held out, by "
                f"{digits_of(form.held_out_error_percent, 2)} %"
            )
        if form.lack_of_fit.verdict is Fits.DOES_NOT_FIT:
            words += ", yet what it leaves is not noise"
        parts.append(words)
    cells = len(set(found.points.cells.tolist()))
    if len(found.points) == cells and len(found.points) > 1:
        parts.append("every cell was run once, so noise is known only from the scatter about the curves")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _sure_over_test_recurrences(findings: FittedStudy) -> str:
    points = [fit.points for _, fit in findings.test_time.saturation]
    if not points:
        return ""
    return (
        f"A curve rests on {span(min(points), max(points))} measured test recurrences for three parameters; "
        "its losses share one trained model's noise, which intervals of a single curve do not show."
    )


def _not_shown(findings: FittedStudy) -> str:
    parts = []
    for name, found in findings.models.items():
        if found.frontier is not None and found.frontier.trained[0] > 1:
            parts.append(
                f"no {name} was trained without a loop, so what the loop gains there is extrapolated"
            )
            break
    missing = [
        f"{name} at {flops(o.flops)}"
        for name, f in findings.models.items()
        for o in f.isoflop.optima
        if not o.interior
    ]
    if missing:
        more = "" if len(missing) <= MOST_NAMED else f" and {len(missing) - MOST_NAMED} more"
        parts.append(f"{', '.join(missing[:MOST_NAMED])}{more} FLOPs has no optimum within what was sampled")
    known = [found.points.budgets for found in findings.models.values() if len(found.points.budgets)]
    if known:
        parts.append(f"nothing was trained above {flops(max(b[-1] for b in known))} FLOPs")
    if findings.models and not findings.study.curves:
        parts.append("no run was measured at several test recurrences")
    if not findings.models:
        parts.append(
            "no run has a training loss with its budget, tokens or parameters, so no scaling law was fitted"
        )
    return f"Not shown: {'; '.join(parts)}." if parts else ""


def _limits(value: Interval, digits: int = 3) -> str:
    if not math.isfinite(value.low):
        return ""
    return f" ({digits_of(value.low, digits)} to {digits_of(value.high, digits)})"


def _law(name: str) -> str:
    return name.replace("_", "-")


def main_figure(findings: FittedStudy) -> list[Block]:
    drawn = composite(findings)
    if drawn is None:
        return []
    name, found = main_model(findings)
    words = []
    for axes in drawn.axes:
        head = axes.get_title(loc="left")
        which = f"{head[:3]} " if len(drawn.axes) > 1 else ""
        if "against none" in head:
            words.append(
                f"{which}The law's loss for each budget with the advised mean recurrence (band: 95 % "
                "interval) and "
                "without a loop, and the lowest loss measured."
            )
        elif axes.get_ylabel().startswith("best"):
            words.append(f"{which}The optima over budgets and the power laws through them.")
        elif axes.get_ylabel().startswith("validation"):
            words.append(
                f"{which}Loss of {name} along {found.isoflop.axis.words} for each budget: dots are runs, "
                "lines "
                "parabolas in the logarithm by least squares, stars their minima."
            )
        else:
            words.append(f"{which}Lines of equal loss by the fitted law, with the runs of {name}.")
    return [Drawing(name="summary", figure=drawn, caption=" ".join(words))]


def exponents_table(findings: FittedStudy) -> list[Block]:
    rows, paper = [], paper_exponents(findings)
    for name, found in findings.models.items():
        for position, route in enumerate((found.routes.mean_recurrence, found.routes.tokens)):
            values = (route.parabolas, route.corrected, route.law)
            if not any(math.isfinite(value.value) for value in values):
                continue
            cells: list[Cell] = [name, route.quantity, *(estimate(value) for value in values)]
            if paper:
                cells.append(plain(paper[name][position], 2) if name in paper else NONE)
            rows.append(tuple(cells))
    if not rows:
        return []
    columns = ("model", "exponent of", "parabolas", "parabolas corrected", "law's own minimum")
    return [
        Table(
            name="exponents",
            columns=(*columns, "paper") if paper else columns,
            rows=tuple(rows),
            caption="Exponents of the optimum in the budget, $C^gamma$, by each route, with 95 % intervals. "
            "Corrected: with the bias taken off that parabolas have on this grid, as measured on the fitted "
            "laws.",
        )
    ]
