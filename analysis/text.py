"""Every finding as text: pure functions, the same words for the terminal and for the PDF."""

import math
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from analysis.axis import Axis
from analysis.compare import FormResult
from analysis.dataset import Study, spaced
from analysis.equivalence import ArchitectureEquivalence, EquivalenceFit
from analysis.findings import Findings, ModelFindings, TestTimeFindings, limit_error
from analysis.forms import ModelForms
from analysis.frontier import Frontier
from analysis.intervals import Interval
from analysis.isoflop import CorrectedOptimum, IsoflopFit
from analysis.lackoffit import Fits
from analysis.laws import EQUIVALENCE, SATURATION, TRAINING, UNIFIED
from analysis.powerlaw import PowerLaw
from analysis.prediction import Prediction
from analysis.published import published
from analysis.robustness import Robustness
from analysis.testtime import GAMMA_ONE, UnifiedFit
from analysis.training import TrainingStudy
from analysis.verdict import Status

PUBLISHED_GAMMAS = {"small-140m": (0.40, 0.77), "medium-370m": (0.38, 0.78)}
"""Exponents of mean recurrence and tokens that the paper reports (figure 5)."""
SYMBOLS = {Axis.MEAN_RECURRENCE: "mu_rec*", Axis.PARAMETERS: "N*", Axis.TOKENS: "D*"}
PACKAGES = ("numpy", "scipy", "pandas", "matplotlib", "duckdb")


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


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns in a fixed-width font."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


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


def training_text(study: TrainingStudy) -> str:
    """One model's training law: the verdict first, then parameters with intervals."""
    law = study.law
    lines = [TRAINING.equation, f"{law.status}: {law.message}"]
    if study.lack_of_fit.verdict is Fits.DOES_NOT_FIT:
        lines.append(f"does not fit: {study.lack_of_fit.message}")
    if law.fit.decided:
        rows = [(name, *_limits(study.intervals[name])) for name in ("E", "X", "x", "Y", "y")]
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


def _limits(value: Interval) -> tuple[str, str, str]:
    return number(value.value), number(value.low), number(value.high)


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
        values = [(name, *_limits(value)) for name, value in form.intervals.items()]
        lines.append(table(("", "value", "2.5 %", "97.5 %"), values))
    return "\n".join(lines)


def frontier_text(findings: ModelFindings) -> str:
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
            f"exponents of the continuous optimum over {_budgets(along)}: mean recurrence "
            f"{spell(along.gamma_mean_recurrence)}, tokens {spell(along.gamma_tokens)}"
        ]
    beside = "" if low <= 1 else " (extrapolated)"
    columns = ("FLOPs", "mu_rec*", "within 0.1 %", "D*", "loss*", "continuous", f"gain on no loop, %{beside}")
    return "\n".join([*lines, table(columns, rows)])


def span(ends: tuple[float, float]) -> str:
    """10 to 18, or one number where both ends are the same."""
    low, high = ends
    return number(low) if low == high or not math.isfinite(low) else f"{low:g} to {high:g}"


def _budgets(along: Frontier) -> str:
    flops = along.slope_flops
    return f"{len(flops)} budgets, {flops[0]:.3g} to {flops[-1]:.3g} FLOPs"


def routes_text(findings: ModelFindings) -> str:
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


def saturation_text(found: TestTimeFindings, most: int | None = None) -> str:
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
    doubts = [f"{curve.run_id}: {fit.message}" for curve, fit in shown if fit.status is not Status.CONVERGED]
    return "\n".join([*lines, *([""] if doubts else []), *doubts])


def unified_text(found: TestTimeFindings, model: str) -> str:
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
    rows = [(name, *_limits(value)) for name, value in fit.intervals.items()]
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
                table(("", "value", "2.5 %", "97.5 %"), [(n, *_limits(fit.intervals[n])) for n in names])
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


def headlines(findings: Findings) -> list[str]:
    """The main findings, a sentence each."""
    sentences = []
    for name, found in findings.models.items():
        gamma_v, gamma_d = found.isoflop.gamma_axis, found.isoflop.gamma_tokens
        if found.points.passed_over:
            sentences.append(f"{name}: {passed_over_text(found.points.passed_over)}.")
        if math.isfinite(gamma_v.exponent.value):
            published = PUBLISHED_GAMMAS.get(name)
            beside = f" (paper: {published[0]:g} and {published[1]:g})" if published else ""
            sentences.append(
                f"{name}: the best {found.isoflop.axis.words} grows as C^{spell(gamma_v.exponent)} and the "
                f"best tokens as C^{spell(gamma_d.exponent)} by isoFLOP parabolas{beside}."
            )
            both = (found.routes.mean_recurrence, found.routes.tokens)
            sentences += [f"{name}: {route.believed}." for route in both if route.believed]
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
        if math.isfinite(phi.value) and one.joint.status is Status.CONVERGED:
            whose = f" of {one.architecture}" if len(findings.equivalence) > 1 else ""
            sentences.append(f"r recurrences{whose} are worth r^phi unique blocks, phi = {spell(phi)}.")
    return sentences


def law_headlines(name: str, found: ModelFindings) -> list[str]:
    """What a model's laws say within what was trained."""
    form, law, along = found.forms.chosen, found.training.law, found.frontier
    if form is None:
        return [f"{name}: no training law, {law.status}: {law.message}."]
    unseen = (
        f", {form.held_out_error_percent:.2f} % on the largest budget when that is held out"
        if math.isfinite(form.held_out_error_percent)
        else ""
    )
    values = ", ".join(f"{key} = {number(value, 3)}" for key, value in form.fit.values.items())
    alike = [other.law.name for other in found.forms.alike[1:]]
    beside = f"; {' and '.join(alike)} can't be told from it" if alike else ""
    sentences = [
        f"{name}: the {form.law.name} law, {form.law.equation}, with {values}: mean error "
        f"{100 * form.fit.mean_error:.2f} % on {len(form.fit.residuals)} runs{unseen}{beside}."
    ]
    if form.fit.status is not Status.CONVERGED:
        sentences.append(f"{name}: the {form.law.name} law is {form.fit.status}: {form.fit.message}.")
    for other in dict.fromkeys((form.law.name, "training")):
        test = found.forms.forms[other].lack_of_fit
        if test.verdict is Fits.DOES_NOT_FIT:
            sentences.append(f"{name}: the {other} law does not fit: {test.message}.")
    if along and math.isfinite(along.gamma_mean_recurrence.value):
        sentences.append(
            f"{name}: by the {along.form} law's own minimum over {_budgets(along)}, the best mean recurrence "
            f"grows as C^{spell(along.gamma_mean_recurrence)} and tokens as C^{spell(along.gamma_tokens)}."
        )
    supported = [p for p in along.points if p.supported] if along else []
    if along and supported:
        last, (low, high) = supported[-1], along.trained
        gain = f", {spell(last.gain_percent, 2)} % below the loss without a loop" if low <= 1 else ""
        sentences.append(
            f"{name}: at {last.flops:.3g} FLOPs the best of the trained mean recurrences ({low:g} to "
            f"{high:g}) is {last.mean_recurrence.value:g}, with a loss of {spell(last.loss, 4)}{gain}; "
            f"{span(last.near_best)} come within 0.1 % of the law's best."
        )
    return sentences


def extrapolations(findings: Findings) -> list[str]:
    """What the laws say beyond what was trained, a sentence each with its own interval."""
    sentences = []
    for name, found in findings.models.items():
        along = found.frontier
        if along is None:
            continue
        low, high = along.trained
        supported = [p for p in along.points if p.supported]
        if low > 1 and supported:
            gains = "; ".join(
                f"{spell(p.gain_percent, 2)} % below it at {p.flops:.3g} FLOPs with mean recurrence "
                f"{p.mean_recurrence.value:g}"
                for p in (supported if len(supported) <= 4 else [*supported[:2], supported[-1]])
            )
            sentences.append(
                f"{name}: mean recurrence 1 was not trained; by the {along.form} law a loop's loss is "
                f"{gains}."
            )
        sentences += [
            f"{name}: at {p.flops:.3g} FLOPs the {along.form} law's best mean recurrence of all is "
            f"{p.beyond_trained:g} (continuous: {spell(p.continuous_recurrence)}), which was not trained "
            f"({low:g} to {high:g} were)."
            for p in supported
            if math.isfinite(p.beyond_trained)
        ]
    return sentences


def warnings(findings: Findings) -> list[str]:
    sentences = []
    for name, found in findings.models.items():
        sentences += [f"{name}: {warning}" for warning in found.routes.warnings]
        sentences += [
            f"{name}: run {run} is far off the training law, which predicts {100 * off:+.1f} %"
            for run, off in found.training.far_off.items()
        ]
    return sentences


def provenance_text(study: Study) -> str:
    """Versions, data, convention, and the runs used and left out."""
    conventions = sorted({c for points in study.models.values() for c in points.conventions})
    rows = [
        ("sweep", f"{study.name} ({study.kind})"),
        ("runs in the sweep", str(study.runs)),
        (
            "runs fitted",
            f"{study.used} (" + ", ".join(f"{m}: {len(p)}" for m, p in study.models.items()) + ")",
        ),
        ("runs with test-time curves", str(len(study.curves))),
        *((f"left out: {reason}", str(count)) for reason, count in study.left_out.items()),
        ("FLOP convention", ", ".join(conventions) or "not recorded"),
        ("corpus hash", ", ".join(study.corpus_hashes) or "not recorded"),
        ("SHA-256 of the fitted data", study.data_hash),
        ("python", platform.python_version()),
        *((package, _version(package)) for package in ("parcae-lab", *PACKAGES)),
    ]
    return "\n".join(f"{name:<28}{value}" for name, value in rows)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "not installed"
