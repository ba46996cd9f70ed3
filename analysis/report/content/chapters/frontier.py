"""The chapters on what a loop is worth: against no loop, and against unique blocks."""

import math
from functools import partial

from analysis.data.points import spaced
from analysis.engine.formatting import span
from analysis.engine.verdict import FitStatus
from analysis.laws import EQUIVALENCE
from analysis.prediction.frontier import untrained
from analysis.report.content.document import Block, Cell, Chapter, Drawing, Equation, Table
from analysis.report.content.numbers import (
    amount,
    counted,
    digits_of,
    estimate,
    sentence,
    tokens,
    whole,
)
from analysis.report.figures.frontier import advised, frontier, gain
from analysis.report.fitted_study import FittedModel, FittedStudy

ROWS = 8
NOTHING = "a loop against none (no law knows the loop's cost and size)"
NO_PHI = "no looped run has tokens and both kinds of parameters"


def frontier_chapter(findings: FittedStudy) -> Chapter | str:
    """The advised recurrence, tokens and loss of each budget, and the gain on no loop."""
    known = {
        name: found
        for name, found in findings.models.items()
        if found.frontier is not None and any(p.supported for p in found.frontier.points)
    }
    if not known:
        return NOTHING
    blocks: list[Block] = [
        "The chosen law is minimised over whole mean recurrences at the planner's price, among those that "
        "were trained. Its own continuous optimum, which the exponents need, is given beside."
    ]
    blocks += [_reading(name, found) for name, found in known.items()]
    blocks.append(
        Drawing(
            name="frontier",
            figure=frontier(known),
            panels={"gain": partial(gain, known), "advised": partial(advised, known)},
            caption=(
                "The looped frontier by the chosen law. (a) How far the best loop's loss lies below no loop "
                "for the same FLOPs, with 95 % intervals. (b) The advised mean recurrence (marks), all that "
                "come within 0.1 % of its loss (thick), the continuous optimum (lines), and what was trained "
                "(shaded)."
            ),
        )
    )
    blocks.append(_table(known))
    return Chapter(title="What does the loop gain?", blocks=tuple(blocks))


def _reading(name: str, found: FittedModel) -> str:
    along = found.frontier
    assert along is not None
    supported = [p for p in along.points if p.supported]
    (low, high), last = along.trained, supported[-1]
    words = [
        f"For {name} at {amount(last.flops).text} FLOPs the advised mean recurrence is "
        f"{last.mean_recurrence.value:g}, with a predicted loss of {estimate(last.loss, 4).text} nats; "
        f"{_near(last.near_best, along.trained)}."
    ]
    if low > 1:
        words.append(
            "Mean recurrence 1 was not trained, so the gain on no loop, "
            f"{estimate(last.gain_percent, 2).text} % at this budget, is extrapolated."
        )
    elif last.mean_recurrence.value > 1:
        words.append(f"That is {estimate(last.gain_percent, 2).text} % below the loss without a loop.")
    for p in supported:
        if math.isfinite(p.beyond_trained):
            words.append(
                f"At {amount(p.flops).text} FLOPs the law's best of all is {p.beyond_trained:g}, outside "
                f"the trained {span(low, high)}."
            )
    words += [sentence(warning) for warning in along.warnings[:3]]
    return " ".join(words)


def _near(ends: tuple[float, float], trained: tuple[float, float]) -> str:
    if ends[0] == ends[1]:
        return "no other whole recurrence comes within 0.1 % of it"
    beyond = untrained(ends, trained)
    return f"{span(*ends)} come within 0.1 % of it{f' ({beyond})' if beyond else ''}"


def _table(known: dict[str, FittedModel]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, found in known.items():
        assert found.frontier is not None
        for p in spaced(found.frontier.points, ROWS):
            rows.append(
                (
                    name,
                    amount(p.flops),
                    whole(p.mean_recurrence.value) if p.supported else "not supported",
                    span(*p.near_best) if p.supported else "–",
                    tokens(p.tokens.value),
                    estimate(p.loss, 4),
                    estimate(p.continuous_recurrence),
                    estimate(p.gain_percent, 2),
                )
            )
    return Table(
        name="frontier",
        columns=(
            "model",
            "budget",
            "advised",
            "within 0.1 %",
            "tokens",
            "loss (nats)",
            "continuous",
            "gain (%)",
        ),
        rows=tuple(rows),
        caption=(
            "The frontier: the advised whole recurrence, all that come within 0.1 % of its loss, trained or "
            "not, tokens, loss, the continuous optimum, and the gain on no loop, with 95 % intervals."
        ),
    )


def equivalence_chapter(findings: FittedStudy) -> Chapter | str:
    """phi of each architecture."""
    known = [one for one in findings.equivalence if math.isfinite(one.joint.phi.value)]
    if not known:
        why = [f"{one.joint.status}, {one.joint.message}" for one in findings.equivalence]
        return f"what a recurrence is worth ({why[0] if why else NO_PHI})"
    blocks: list[Block] = [
        "In $r$ recurrences the recurrent block counts as $r^phi$ unique blocks: $phi = 1$ if a "
        "recurrence is worth as much as a block of its own, 0 if it is worth nothing. Schwethelm et al. "
        "measured 0.46 in 116 runs.",
        Equation(formula=EQUIVALENCE.equation),
    ]
    rows: list[tuple[Cell, ...]] = []
    for one in known:
        fits = {"all sizes": one.joint, **one.sizes} if one.sizes else {"all runs": one.joint}
        for size, fit in fits.items():
            if math.isfinite(fit.phi.value):
                names = ("E", "alpha", "beta")
                rows.append(
                    (
                        one.architecture,
                        size,
                        estimate(fit.phi),
                        *(estimate(fit.intervals[n]) for n in names),
                        fit.status.value,
                    )
                )
        if one.baselines == 0:
            blocks.append(
                f"No run without a loop is among the {counted(one.looped, 'looped run')} "
                f"({one.architecture}), so $phi$ rests on how the loss moves between recurrences alone."
            )
        if one.joint.status is not FitStatus.CONVERGED:
            blocks.append(sentence(f"{one.architecture}: {one.joint.status}, {one.joint.message}"))
        best = one.forms[0]
        if best.form != EQUIVALENCE.name:
            words = f"On these runs Akaike's criterion prefers the {best.form.replace('_', '-')} law"
            own = next((form for form in one.forms if form.form == EQUIVALENCE.name), None)
            if own is not None and math.isfinite(own.aicc):
                words += f", {digits_of(own.aicc, 2)} ahead of this one"
            blocks.append(words + ": read $phi$ with that in mind.")
    blocks.append(
        Table(
            name="equivalence",
            columns=("architecture", "runs of", "$phi$", "$E$", "$alpha$", "$beta$", "status"),
            rows=tuple(rows),
            caption="What a recurrence is worth, with 95 % intervals.",
        )
    )
    return Chapter(title="What is a recurrence worth?", blocks=tuple(blocks))
