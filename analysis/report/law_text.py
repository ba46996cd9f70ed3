"""The laws of a model as text: parameters, the forms side by side, the frontier, a prediction."""

import math
from collections.abc import Mapping

from analysis.engine.formatting import LIMITS, limits, number, span, spell, table
from analysis.fits.forms import ModelForms
from analysis.report.fitted_study import FittedModel


def isoflop_text(models: Mapping[str, FittedModel]) -> str:
    """Each model's curves, and both routes to the optimum."""
    return "\n".join(
        f"{name}\n{found.isoflop.summary()}\n\n{_routes(found)}{_passed_over(found)}"
        for name, found in models.items()
    )


def training_text(models: Mapping[str, FittedModel]) -> str:
    """Each model's training law, the other forms, the frontier and the robustness panel."""
    return "\n".join(
        f"{name}\n{found.training.summary()}\n\n{forms_text(found.forms)}\n\n{frontier_text(found)}\n\n"
        f"{found.robustness.summary()}\n{_passed_over(found)}"
        for name, found in models.items()
    )


def _routes(found: FittedModel) -> str:
    return f"{found.routes.summary()}\n" if found.routes.rows else ""


def _passed_over(found: FittedModel) -> str:
    return f"{passed_over_text(found.points.passed_over)}\n" if found.points.passed_over else ""


def passed_over_text(passed_over: int) -> str:
    """How many runs a fit to the best of each cell does not use."""
    return f"fitted to the best run of each cell; {passed_over} runs with other hyperparameters were not used"


def forms_text(forms: ModelForms) -> str:
    """Every form of the law: how it does on unseen budgets, what AICc gives it, and whether it fits."""
    rows = [
        (
            form.law.name + " *" * (form is forms.chosen),
            number(form.rolling_error_percent, 3),
            f"{number(form.behind.value, 2)} ± {number(form.behind_error, 2)}",
            number(form.held_out_error_percent, 3),
            number(form.uncertainty.aicc if form.uncertainty else math.nan),
            f"{form.weight:.2f}",
            form.fit.status.value if not form.fit.decided else form.lack_of_fit.verdict.value,
        )
        for form in forms.forms.values()
    ]
    columns = ("form", "rolling error %", "behind", "largest budget %", "AICc", "weight", "fit")
    lines = ["Forms of the law, scored on budgets they have not seen (* chosen):", table(columns, rows)]
    for form in forms.alike:
        lines += ["", f"{form.law.name}: {form.law.equation}", f"{form.fit.status}: {form.fit.message}"]
        lines.append(f"{form.lack_of_fit.verdict}: {form.lack_of_fit.message}")
        values = [(name, *limits(value)) for name, value in form.intervals.items()]
        lines.append(table(LIMITS, values))
    return "\n".join(lines)


def frontier_text(findings: FittedModel) -> str:
    """The chosen form's optimum at each budget, against no loop for the same FLOPs."""
    frontier = findings.frontier
    if findings.sizes is not None:
        return findings.sizes.summary()
    if frontier is None:
        return "No frontier: the runs decide no form that depends on the loop, or its cost is unknown."
    rows = [
        (
            f"{p.flops:.3g}",
            spell(p.mean_recurrence),
            span(*p.near_best),
            number(p.tokens.value, 3),
            spell(p.loss, 4),
            spell(p.continuous_recurrence),
            spell(p.gain_percent, 2) if p.mean_recurrence.value != 1 else "no loop",
        )
        for p in frontier.points
    ]
    low, high = frontier.trained
    lines = [f"Optima of the {frontier.form} law: whole recurrences of the trained {low:g} to {high:g}"]
    if frontier.slope_flops:
        lines += [
            f"exponents of the continuous optimum over {frontier.exponents.over_budgets}: mean recurrence "
            f"{spell(frontier.gamma_mean_recurrence)}, tokens {spell(frontier.gamma_tokens)}"
        ]
    beside = "" if low <= 1 else " (extrapolated)"
    columns = ("FLOPs", "mu_rec*", "within 0.1 %", "D*", "loss*", "continuous", f"gain on no loop, %{beside}")
    return "\n".join([*lines, table(columns, rows)])
