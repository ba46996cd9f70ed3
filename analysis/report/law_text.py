"""The laws of a model as text: parameters, the forms side by side, the frontier, a prediction."""

import math

from analysis.engine.columns import table
from analysis.engine.lack_of_fit import Fits
from analysis.fits.forms import ModelForms
from analysis.fits.training import ModelTrainingLaw
from analysis.laws import TRAINING
from analysis.prediction.frontier import Frontier
from analysis.prediction.predict import Prediction
from analysis.published import published
from analysis.report.fitted_study import FittedModel
from analysis.report.study_text import limits, number, spell


def training_text(study: ModelTrainingLaw) -> str:
    """One model's training law: the verdict first, then parameters with intervals."""
    law = study.law
    lines = [TRAINING.equation, f"{law.status}: {law.message}"]
    if study.lack_of_fit.verdict is Fits.DOES_NOT_FIT:
        lines.append(f"does not fit: {study.lack_of_fit.message}")
    if law.fit.decided:
        rows = [(name, *limits(study.intervals[name])) for name in ("E", "X", "x", "Y", "y")]
        lines += [
            table(("", "value", "2.5 %", "97.5 %"), rows),
            f"summed Huber {law.huber:.3g}, mean error {100 * law.fit.mean_error:.3f} % on {law.points} runs",
            *_table_11(study.points.model),
            *(f"far off: {run}, predicted {100 * off:+.1f} %" for run, off in study.far_off.items()),
        ]
    return "\n".join(lines)


def _table_11(model: str) -> list[str]:
    """The paper's own fit of a published model, whose convention for N is not known."""
    paper = published("parametric_table11").set_index("model")
    if model not in paper.index:
        return []
    row = paper.loc[model]
    return [
        f"paper (table 11): E {row['E']:g}, x {row['x']:g}, y {row['y']:g}, "
        f"summed Huber {row['huber_sum']:.2g}"
    ]


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
        lines.append(table(("", "value", "2.5 %", "97.5 %"), values))
    return "\n".join(lines)


def frontier_text(findings: FittedModel) -> str:
    """The chosen form's optimum at each budget, against no loop for the same FLOPs."""
    along = findings.frontier
    if along is None:
        return "No frontier: no form that knows the loop is decided, or the cost of the loop is not known."
    rows = [
        (
            f"{p.flops:.3g}",
            spell(p.mean_recurrence),
            span(p.near_best),
            number(p.tokens.value, 3),
            spell(p.loss, 4),
            spell(p.continuous_recurrence),
            spell(p.gain_percent, 2),
        )
        for p in along.points
    ]
    low, high = along.trained
    lines = [f"Optima of the {along.form} law: whole recurrences of the trained {low:g} to {high:g}"]
    if along.slope_flops:
        lines += [
            f"exponents of the continuous optimum over {over_budgets(along)}: mean recurrence "
            f"{spell(along.gamma_mean_recurrence)}, tokens {spell(along.gamma_tokens)}"
        ]
    beside = "" if low <= 1 else " (extrapolated)"
    columns = ("FLOPs", "mu_rec*", "within 0.1 %", "D*", "loss*", "continuous", f"gain on no loop, %{beside}")
    return "\n".join([*lines, table(columns, rows)])


def span(ends: tuple[float, float]) -> str:
    """10 to 18, or one number where both ends are the same."""
    low, high = ends
    return number(low) if low == high or not math.isfinite(low) else f"{low:g} to {high:g}"


def over_budgets(along: Frontier) -> str:
    flops = along.slope_flops
    return f"{len(flops)} budgets, {flops[0]:.3g} to {flops[-1]:.3g} FLOPs"


def prediction_text(prediction: Prediction) -> str:
    beside = f", widened by {' and '.join(prediction.alike)}" if prediction.alike else ""
    lines = [
        f"{prediction.model} at {prediction.flops:.3g} FLOPs, by the {prediction.form} law{beside}",
        f"best mean recurrence  {spell(prediction.mean_recurrence)}; "
        f"{span(prediction.near_best)} within 0.1 % of the best loss",
        f"tokens                {spell(prediction.tokens)}",
        f"loss (nats)           {spell(prediction.loss, 4)}",
        f"continuous optimum    mean recurrence {spell(prediction.continuous_recurrence, 4)}, tokens "
        f"{number(prediction.continuous_tokens.value)}, loss {number(prediction.continuous_loss.value, 6)}",
        *(f"loss at T = {t.test_recurrence:<8g} {spell(t.loss, 4)}" for t in prediction.test_time),
        *(f"extrapolated: {sentence}" for sentence in prediction.extrapolated),
    ]
    return "\n".join(lines)
