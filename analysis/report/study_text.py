"""Every finding as text: pure functions, the same words for the terminal and for the PDF."""

import math
from collections.abc import Sequence

from analysis.checks.held_out import FormResult
from analysis.checks.robustness import Robustness
from analysis.data.axis import Axis
from analysis.data.points import spaced
from analysis.engine.columns import table
from analysis.engine.intervals import Interval
from analysis.engine.verdict import FitStatus
from analysis.fits.equivalence import ArchitectureEquivalence, EquivalenceFit
from analysis.fits.isoflop.fit import CorrectedOptimum, IsoflopFit
from analysis.fits.isoflop.power_law import PowerLaw
from analysis.fits.unified import GAMMA_ONE, UnifiedFit
from analysis.laws import EQUIVALENCE, SATURATION, UNIFIED
from analysis.report.fitted_study import FittedModel, FittedTestTime, limit_error

PUBLISHED_GAMMAS = {"small-140m": (0.40, 0.77), "medium-370m": (0.38, 0.78)}
"""Exponents of mean recurrence and tokens that the paper reports (figure 5)."""
SYMBOLS = {Axis.MEAN_RECURRENCE: "mu_rec*", Axis.PARAMETERS: "N*", Axis.TOKENS: "D*"}


def number(value: float, digits: int = 4) -> str:
    """A number for people; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


def spell(value: Interval, digits: int = 3) -> str:
    """0.401 (0.319 to 0.753); a dash where there is no estimate."""
    if not math.isfinite(value.value):
        return "–"
    if not math.isfinite(value.low):
        return f"{number(value.value, digits)} (no interval)"
    return f"{number(value.value, digits)} ({number(value.low, digits)} to {number(value.high, digits)})"


def isoflop_text(fit: IsoflopFit) -> str:
    """One model's optima and exponents, plain and corrected."""
    symbol = SYMBOLS[fit.axis]
    laws = [(symbol, fit.gamma_axis), ("D*", fit.gamma_tokens)][: 1 if fit.axis is Axis.TOKENS else 2]
    lines = [_power_law_text(f"{name} = k C^gamma", law) for name, law in laws]
    far = [f"{o.flops:.3g}" for o in fit.interior if o.tokens_extrapolated]
    if far:
        lines.append(f"D* at {', '.join(far)} FLOPs is extrapolated and enters this plain exponent alone")
    found = fit.corrected
    fixed = {} if found is None else {o.flops: o for o in found.optima}
    if found is not None:
        forms = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.forms.items())
        lines.append(f"corrected for the bias of parabolas, as measured on the laws ({forms}):")
        lines.append("  " + _power_law_text(f"{symbol} corrected", found.gamma_axis))
        if fit.axis is not Axis.TOKENS:
            lines.append(
                "  " + _power_law_text(f"D*, the budget over the cost at {symbol}", found.gamma_tokens)
            )
    rows = [
        (
            f"{o.flops:.3g}",
            str(o.points),
            number(o.on_axis, 3),
            *([] if fit.axis is Axis.TOKENS else [number(o.tokens, 3)]),
            *(_corrected_cells(fixed.get(o.flops), fit.axis) if found else []),
            number(o.loss),
            o.verdict.value,
        )
        for o in fit.optima
    ]
    tokens = [] if fit.axis is Axis.TOKENS else ["D*"]
    beside = [f"{symbol} corrected", *(f"{name} corrected" for name in tokens)] if found else []
    columns = ("FLOPs", "runs", symbol, *tokens, *beside, "loss*", "verdict")
    lines += ["", table(columns, rows)]
    if any(not o.used for o in fixed.values()):
        lines.append("a star marks what lies outside the sampled range: in no corrected exponent")
    return "\n".join(lines)


def _power_law_text(name: str, law: PowerLaw) -> str:
    return f"{name}: gamma = {spell(law.exponent)}, k = {number(law.k, 3)}; {law.message}"


def _corrected_cells(optimum: CorrectedOptimum | None, axis: Axis) -> list[str]:
    if optimum is None:
        return ["–"] * (1 if axis is Axis.TOKENS else 2)
    mark = "" if optimum.used else "*"
    cells = [optimum.on_axis] if axis is Axis.TOKENS else [optimum.on_axis, optimum.tokens]
    return [number(value.value, 3) + mark for value in cells]


def passed_over_text(passed_over: int) -> str:
    """What a fit to the best of each cell left aside."""
    return f"fitted to the best run of each cell; {passed_over} of other hyperparameters were passed over"


def limits(value: Interval) -> tuple[str, str, str]:
    return number(value.value), number(value.low), number(value.high)


def routes_text(findings: FittedModel) -> str:
    rows = [
        (
            route.quantity,
            spell(route.parabolas),
            spell(route.corrected),
            spell(route.law),
            number(route.parabolas_of_law, 3),
        )
        for route in (findings.routes.mean_recurrence, findings.routes.tokens)
    ]
    both = (findings.routes.mean_recurrence, findings.routes.tokens)
    columns = ("exponent of", "parabolas", "corrected", "law's minimum", "parabolas of the law")
    return "\n".join([table(columns, rows), *(route.believed for route in both if route.believed)])


def robustness_text(panel: Robustness) -> str:
    columns = ("E", "x", "y", "gamma_mean_recurrence", "gamma_parabolas")
    rows = [
        (v.setting, v.status.value, *(number(getattr(v, column)) for column in columns))
        for v in panel.variants
    ]
    spreads = [panel.spread(column) for column in columns]
    spread = (
        "spread",
        "",
        *(f"{low:.3g} to {high:.3g}" if math.isfinite(low) else "–" for low, high in spreads),
    )
    return table(("setting", "status", "E", "x", "y", "gamma, law", "gamma, parabolas"), [spread, *rows])


def saturation_text(found: FittedTestTime, most: int | None = None) -> str:
    """The four forms, each run's saturation (or `most` of them), and why a run's claims no floor."""
    if not found.saturation:
        return "No run has losses at several test recurrences."
    shown = found.saturation if most is None else spaced(found.saturation, most)
    rows = [
        (
            curve.run_id,
            f"{curve.mean_recurrence:g}",
            str(fit.points),
            spell(fit.intervals["L_inf"], 4),
            number(fit.Z, 3),
            number(fit.z, 3),
            number(fit.best_test_recurrence),
            fit.status.value,
        )
        for curve, fit in shown
    ]
    columns = ("run", "mu_rec", "points", "L_inf", "Z", "z", "best T", "status")
    lines = []
    runs = found.forms[0].runs
    if runs:
        scores = [
            (score.form, number(score.in_distribution, 3), number(score.extrapolation, 3))
            for score in found.forms
        ]
        lines += [f"Mean Huber loss over {runs} run{'s' * (runs != 1)}, fitted to T <= mu_rec:"]
        lines += [table(("form", "in distribution", "extrapolated"), scores), ""]
    off = [100 * limit_error(curve, fit) for curve, fit in found.saturation]
    known = [error for error in off if math.isfinite(error)]
    if len(known) > 1:
        lines.append(
            f"L_inf against the measured loss at T = mu_rec over {len(known)} runs: "
            f"{sum(known) / len(known):.2g} % off on average, {max(known):.2g} % at most"
        )
    lines.append(SATURATION["exponential"].equation)
    if len(rows) < len(found.saturation):
        lines.append(f"{len(rows)} of {len(found.saturation)} runs; `parcae-fit saturation` prints them all.")
    lines.append(table(columns, rows))
    doubts = [
        f"{curve.run_id}: {fit.message}" for curve, fit in shown if fit.status is not FitStatus.CONVERGED
    ]
    return "\n".join([*lines, *([""] if doubts else []), *doubts])


def unified_text(found: FittedTestTime, model: str) -> str:
    """The forms of the unified law on one model, the oracle floor, and how sure the paper's form is."""
    fits = found.unified[model]
    names = ("E", "X", "x", "Y", "y", "Z", "z", "gamma", "k")
    rows = [
        (
            form,
            *(number(getattr(fit, name)) for name in names),
            number(fit.huber, 3),
            number(100 * fit.mean_error, 3),
            fit.status.value,
        )
        for form, fit in fits.items()
    ]
    oracle = found.oracle[model]
    rows.append(
        (
            oracle.law.name,
            *(number(oracle.values.get(name, float("nan"))) for name in names),
            number(oracle.huber, 3),
            number(100 * oracle.mean_error, 3),
            oracle.status.value,
        )
    )
    known = {form: fit.uncertainty.aicc for form, fit in fits.items() if fit.uncertainty}
    lines = [table(("form", *names, "Huber", "error %", "status"), rows)]
    best = min(known, key=lambda form: known[form]) if known else None
    for form, fit in fits.items():
        if form in (GAMMA_ONE, best):
            lines += ["", UNIFIED[form].equation, *_unified_limits(fit, form == best)]
    return "\n".join(lines)


def _unified_limits(fit: UnifiedFit, best: bool) -> list[str]:
    """One form's parameters with their limits, or why there are none."""
    if not fit.intervals or fit.uncertainty is None:
        return [f"{fit.status}: {fit.message}"]
    rows = [(name, *limits(value)) for name, value in fit.intervals.items()]
    return [
        *(["the form that Akaike's criterion prefers"] if best else []),
        table(("", "value", "2.5 %", "97.5 %"), rows),
        f"noise shared in a budget: {fit.uncertainty.ratio:.2g} of a run's own; whole runs are drawn",
    ]


def equivalence_text(found: Sequence[ArchitectureEquivalence]) -> str:
    """Each architecture's phi, of all sizes together and of each, and the forms ranked on all sizes."""
    if not found:
        return "No looped run has tokens and parameters."
    lines = [EQUIVALENCE.equation]
    for one in found:
        fit = one.joint
        lines += [
            "",
            f"{one.architecture}: {one.looped} looped runs, {one.baselines} without a loop or at r = 1",
            f"{fit.status}: {fit.message}",
        ]
        if fit.fit.decided:
            names = ("E", "A", "alpha", "B", "beta", "phi")
            lines.append(
                table(("", "value", "2.5 %", "97.5 %"), [(n, *limits(fit.intervals[n])) for n in names])
            )
        lines += [f"phi of {size}: {_phi(own)}" for size, own in one.sizes.items()]
        rows = [
            (form.form, number(form.aicc, 3), number(100 * form.mean_error, 3), form.status.value)
            for form in one.forms
        ]
        lines += ["", table(("form, all sizes", "AICc behind", "error %", "status"), rows)]
    return "\n".join(
        [
            *lines,
            "",
            "phi is 1 if a recurrence is worth as much as a unique block, 0 if it is worth nothing;",
            "Schwethelm et al. (arXiv 2604.21106) measured 0.46 in 116 runs.",
        ]
    )


def _phi(fit: EquivalenceFit) -> str:
    return spell(fit.phi) if math.isfinite(fit.phi.value) else f"{fit.status}: {fit.message}"


def comparison_text(forms: Sequence[FormResult]) -> str:
    """Forms ranked by held-out error, and the best one's error on every unseen loss."""
    rows = [
        (
            form.form,
            str(form.fitted),
            number(form.train_error_percent, 3),
            number(form.held_out_error_percent, 3),
            number(100 * form.coverage, 3),
            form.status.value,
        )
        for form in forms
    ]
    columns = ("form", "fitted", "error seen %", "error unseen %", "in interval %", "status")
    lines = [table(columns, rows)]
    best = forms[0]
    if best.held_out:
        unseen = [
            (
                held.run_id,
                number(held.flops, 3),
                number(held.test_recurrence, 3),
                f"{held.loss:.4f}",
                spell(held.predicted, 4),
                f"{held.error_percent:+.2f}",
            )
            for held in best.held_out
        ]
        lines += ["", f"{best.form}: {best.equation}"]
        lines.append(table(("unseen run", "FLOPs", "T", "loss", "predicted", "error %"), unseen))
    return "\n".join(lines)
