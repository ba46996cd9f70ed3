"""Every finding as text: pure functions, the same words for the terminal and for the PDF."""

import math
from collections.abc import Mapping, Sequence

from analysis.checks.held_out import FormResult
from analysis.data.points import spaced
from analysis.engine.formatting import number, spell, table
from analysis.engine.verdict import FitStatus
from analysis.fits.equivalence import ArchitectureEquivalence, EquivalenceFit
from analysis.fits.unified import GAMMA_ONE, PARAMETERS
from analysis.laws import EQUIVALENCE, SATURATION
from analysis.report.fitted_study import FittedTestTime, limit_error


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


def unified_models_text(found: FittedTestTime) -> str:
    return "\n".join(f"{model}\n{unified_text(found, model)}\n" for model in found.unified)


def unified_text(found: FittedTestTime, model: str) -> str:
    """The forms of the unified law on one model, the oracle floor, and how sure the paper's form is."""
    fits = found.unified[model]
    rows = [
        (
            form,
            *(number(getattr(fit, name)) for name in PARAMETERS),
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
            *(number(oracle.values.get(name, float("nan"))) for name in PARAMETERS),
            number(oracle.huber, 3),
            number(100 * oracle.mean_error, 3),
            oracle.status.value,
        )
    )
    known = {form: fit.uncertainty.aicc for form, fit in fits.items() if fit.uncertainty}
    lines = [table(("form", *PARAMETERS, "Huber", "error %", "status"), rows)]
    best = min(known, key=lambda form: known[form]) if known else None
    for form, fit in fits.items():
        if form in (GAMMA_ONE, best):
            preferred = ["the form that Akaike's criterion prefers"] if form == best else []
            lines += ["", *preferred, fit.summary()]
    return "\n".join(lines)


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
            *fit.lines,
        ]
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


def comparisons_text(results: Mapping[str, Sequence[FormResult]]) -> str:
    return "\n".join(f"{model}\n{comparison_text(forms)}\n" for model, forms in results.items())


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
