"""Texts say what the results say: every column of every table holds the numbers of its own name."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.checks.held_out import compare_training, holdout
from analysis.checks.robustness import Robustness
from analysis.engine.formatting import brief, limits, number, span, spell, table
from analysis.engine.intervals import Interval
from analysis.fits.unified import PARAMETERS
from analysis.report.fitted_study import FittedModel, FittedStudy, FittedTestTime, limit_error
from analysis.report.headlines import extrapolations, headlines, page_1_text, warnings
from analysis.report.law_text import forms_text, frontier_text, isoflop_text, training_text
from analysis.report.study_text import comparison_text, equivalence_text, saturation_text, unified_text

from .conftest import MODEL


def rows(text: str, *columns: str) -> list[dict[str, str]]:
    """The rows of the table in `text` whose header has these columns, which are two spaces apart."""
    lines = text.split("\n")
    at = [re.split(r"  +", line) for line in lines].index(list(columns))
    found = []
    for line in lines[at + 1 :]:
        cells = re.split(r"  +", line)
        if len(cells) != len(columns):
            break
        found.append(dict(zip(columns, cells, strict=True)))
    return found


def test_numbers_and_tables_for_people() -> None:
    nothing = float("nan")
    assert (number(1234.5678), number(0.5, 2), number(nothing)) == ("1235", "0.5", "–")
    assert (span(10.0, 18.0), span(4.0, 4.0), span(nothing, nothing)) == ("10 to 18", "4", "–")
    known = Interval(value=0.4012, low=0.319, high=0.7531)
    assert spell(known) == "0.401 (0.319 to 0.753)"
    assert spell(known, 2) == "0.4 (0.32 to 0.75)"
    assert spell(Interval(value=0.4, low=nothing, high=nothing)) == "0.4 (no interval)"
    assert spell(Interval(value=nothing, low=nothing, high=nothing)) == "–"
    assert limits(known) == ("0.4012", "0.319", "0.7531")
    assert table(("name", "x"), [("a", "1.5"), ("bb", "10")]) == "name    x\na     1.5\nbb     10"
    some = Interval(value=nothing, low=1.0, high=2.5)
    assert brief(some, "value", "low", "high") == "Interval(low=1, high=2.5)"
    assert brief(Robustness(variants=()), "variants") == "Robustness(variants=())"


def test_isoflop(model: FittedModel) -> None:
    text, fit = isoflop_text({MODEL: model}), model.isoflop
    columns = ("FLOPs", "runs", "mu_rec*", "D*", "mu_rec* corrected", "D* corrected", "loss*", "verdict")
    found = rows(text, *columns)
    assert fit.corrected is not None
    corrected = {optimum.flops: optimum for optimum in fit.corrected.optima}
    assert len(found) == len(fit.optima)
    for row, optimum in zip(found, fit.optima, strict=True):
        assert row["FLOPs"] == f"{optimum.flops:.3g}"
        assert row["runs"] == str(optimum.points)
        assert row["mu_rec*"] == number(optimum.mean_recurrence, 3)
        assert row["D*"] == number(optimum.tokens, 3)
        assert row["loss*"] == number(optimum.loss)
        assert row["verdict"] == optimum.verdict
        beside = corrected[optimum.flops]
        star = "" if beside.used else "*"
        assert row["mu_rec* corrected"] == number(beside.on_axis.value, 3) + star
        assert row["D* corrected"] == number(beside.tokens.value, 3) + star
    assert f"mu_rec* = k C^gamma: gamma = {spell(fit.gamma_mean_recurrence.exponent)}" in text
    assert f"k = {number(fit.gamma_mean_recurrence.k, 3)}; {fit.gamma_mean_recurrence.message}" in text
    assert f"D* = k C^gamma: gamma = {spell(fit.gamma_tokens.exponent)}" in text
    assert f"mu_rec* corrected: gamma = {spell(fit.corrected.gamma_axis.exponent)}" in text
    tokens = spell(fit.corrected.gamma_tokens.exponent)
    assert f"D*, the budget over the cost at mu_rec*: gamma = {tokens}" in text
    columns = ("parabolas", "corrected", "law's minimum", "parabolas of the law")
    routes = rows(text, "exponent of", "over budgets", *columns)
    assert len(routes) == len(model.routes.rows) == 4
    for row, route in zip(routes, model.routes.rows, strict=True):
        assert row["exponent of"] == route.quantity
        assert (
            row["over budgets"] == f"{len(route.budgets)}: {route.budgets[0]:.3g} to {route.budgets[-1]:.3g}"
        )
        assert row["parabolas"] == spell(route.parabolas)
        assert row["corrected"] == spell(route.corrected)
        assert row["law's minimum"] == spell(route.law)
        assert row["parabolas of the law"] == number(route.parabolas_of_law, 3)


def shows_limits(text: str, intervals: Mapping[str, Interval]) -> None:
    """Each parameter has a line with its value and limits."""
    lines = {tuple(re.split(r"  +", line)) for line in text.split("\n")}
    for name, value in intervals.items():
        assert (name, number(value.value), number(value.low), number(value.high)) in lines, name


def test_training_law(model: FittedModel) -> None:
    text, law = model.training.summary(), model.training.law
    assert text.split("\n")[:2] == ["L = E + X N^-x + Y D^-y", f"{law.status}: {law.message}"]
    shows_limits(text, model.training.intervals)
    mean = sum(abs(p / q - 1) for p, q in zip(law_losses(model), model.points.loss, strict=True)) / 36
    assert f"summed Huber {law.huber:.3g}, mean error {100 * mean:.3f} % on 36 runs" in text
    assert "paper (table 11): E 2.662, x 0.771, y 0.525" in text


def law_losses(model: FittedModel) -> list[float]:
    points = model.training.points
    return model.training.law.predict(points.effective_parameters, points.tokens).tolist()


def test_forms(model: FittedModel) -> None:
    text = forms_text(model.forms)
    columns = ("form", "rolling error %", "behind", "largest budget %", "AICc", "weight", "fit")
    for row, form in zip(rows(text, *columns), model.forms.forms.values(), strict=True):
        assert row["form"] == form.law.name + (" *" if form is model.forms.chosen else "")
        assert row["rolling error %"] == number(form.rolling_error_percent, 3)
        assert row["behind"] == f"{number(form.behind.value, 2)} ± {number(form.behind_error, 2)}"
        assert row["largest budget %"] == number(form.held_out_error_percent, 3)
        assert row["AICc"] == number(form.uncertainty.aicc if form.uncertainty else float("nan"))
        assert row["weight"] == f"{form.weight:.2f}"
        assert row["fit"] == (form.lack_of_fit.verdict if form.fit.decided else form.fit.status)
    for form in model.forms.alike:
        shows_limits(text, form.intervals)


def test_frontier(model: FittedModel) -> None:
    text, along = frontier_text(model), model.frontier
    assert along is not None
    beside = "" if along.trained[0] <= 1 else " (extrapolated)"
    columns = ("FLOPs", "mu_rec*", "within 0.1 %", "D*", "loss*", "continuous", f"gain on no loop, %{beside}")
    for row, point in zip(rows(text, *columns), along.points, strict=True):
        assert row["FLOPs"] == f"{point.flops:.3g}"
        assert row["mu_rec*"] == spell(point.mean_recurrence)
        assert row["within 0.1 %"] == span(*point.near_best)
        assert row["D*"] == number(point.tokens.value, 3)
        assert row["loss*"] == spell(point.loss, 4)
        assert row["continuous"] == spell(point.continuous_recurrence)
        gain = 100 * (1 - point.loss.value / point.loss_without_loop)
        assert row[columns[-1]].split(" ")[0] == number(gain, 2)
    flops = along.slope_flops
    slopes = f"over {len(flops)} budgets, {flops[0]:.3g} to {flops[-1]:.3g} FLOPs: mean recurrence "
    assert slopes + f"{spell(along.gamma_mean_recurrence)}, tokens {spell(along.gamma_tokens)}" in text


def test_robustness(model: FittedModel) -> None:
    text, panel = training_text({MODEL: model}), model.robustness
    columns = ("setting", "status", "E", "x", "y", "gamma, law", "gamma, parabolas")
    found = [row for row in rows(text.replace("spread ", "spread  –", 1), *columns) if row["status"] != "–"]
    for row, variant in zip(found[-len(panel.variants) :], panel.variants, strict=True):
        assert (row["setting"], row["status"]) == (variant.setting, variant.status)
        values = (variant.E, variant.x, variant.y, variant.gamma_mean_recurrence, variant.gamma_parabolas)
        assert [row[column] for column in columns[2:]] == [number(value) for value in values]
    low, high = panel.spread("E")
    assert low == min(variant.E for variant in panel.variants)
    assert high == max(variant.E for variant in panel.variants)
    assert f"{low:.3g} to {high:.3g}" in text


def test_saturation(test_time: FittedTestTime) -> None:
    text = saturation_text(test_time)
    columns = ("run", "mu_rec", "points", "L_inf", "Z", "z", "best T", "status")
    for row, (curve, fit) in zip(rows(text, *columns), test_time.saturation, strict=True):
        assert (row["run"], row["mu_rec"]) == (curve.run_id, f"{curve.mean_recurrence:g}")
        assert row["points"] == str(len(curve.loss))
        assert row["L_inf"] == spell(fit.intervals["L_inf"], 4)
        assert (row["Z"], row["z"]) == (number(fit.Z, 3), number(fit.z, 3))
        assert row["best T"] == f"{curve.test_recurrence[curve.loss.argmin()]:g}"
        assert row["status"] == fit.status
    for row, score in zip(
        rows(text, "form", "in distribution", "extrapolated"), test_time.forms, strict=True
    ):
        assert row["form"] == score.form
        assert row["in distribution"] == number(score.in_distribution, 3)
        assert row["extrapolated"] == number(score.extrapolation, 3)
    off = [limit_error(curve, fit) for curve, fit in test_time.saturation]
    known = [100 * error for error in off if error == error]
    if len(known) > 1:
        assert f"{sum(known) / len(known):.2g} % off on average, {max(known):.2g} % at most" in text
    few = saturation_text(test_time, 5)
    assert len(rows(few, *columns)) == 5
    assert f"5 of {len(test_time.saturation)} runs" in few


def test_unified(test_time: FittedTestTime) -> None:
    text, fits, oracle = unified_text(test_time, MODEL), test_time.unified[MODEL], test_time.oracle[MODEL]
    found = rows(text, "form", *PARAMETERS, "Huber", "error %", "status")
    for row, (form, fit) in zip(found, fits.items(), strict=False):
        assert row["form"] == form
        for name in PARAMETERS:
            assert row[name] == number(getattr(fit, name)), (form, name)
        assert row["Huber"] == number(fit.huber, 3)
        assert row["error %"] == number(100 * fit.mean_error, 3)
        assert row["status"] == fit.status
    last = found[-1]
    assert (last["form"], last["Z"], last["z"]) == (
        "oracle_floor",
        number(oracle.values["Z"]),
        number(oracle.values["z"]),
    )
    assert last["error %"] == number(100 * oracle.mean_error, 3)
    best = min((f for f, fit in fits.items() if fit.uncertainty), key=lambda f: fits[f].to_dict()["aicc"])
    assert f"the form that Akaike's criterion prefers\n{fits[best].fit.law.equation}" in text
    shows_limits(text, fits["gamma_one"].intervals)


def test_equivalence(fitted: FittedStudy) -> None:
    text, one = equivalence_text(fitted.equivalence), fitted.equivalence[0]
    assert f"{one.architecture}: {one.looped} looped runs, {one.baselines} without a loop" in text
    assert one.looped + one.baselines == 36
    assert f"{one.joint.status}: {one.joint.message}" in text
    if one.joint.fit.decided:
        shows_limits(text, one.joint.intervals)
    for row, form in zip(
        rows(text, "form, all sizes", "AICc behind", "error %", "status"), one.forms, strict=True
    ):
        assert row["form, all sizes"] == form.form
        assert row["AICc behind"] == number(form.aicc, 3)
        assert row["error %"] == number(100 * form.mean_error, 3)
        assert row["status"] == form.status
    behind = [form.aicc for form in one.forms if form.aicc == form.aicc]
    assert behind == sorted(behind)
    assert behind[0] == 0


def test_comparison(model: FittedModel) -> None:
    results = compare_training(model.points, holdout(model.points))
    text = comparison_text(results)
    columns = ("form", "fitted", "error seen %", "error unseen %", "in interval %", "status")
    for row, result in zip(rows(text, *columns), results, strict=True):
        assert (row["form"], row["fitted"]) == (result.form, "30")
        assert row["error seen %"] == number(result.train_error_percent, 3)
        if not result.held_out:
            assert not result.status.startswith("converged")
            continue
        errors = [abs(held.predicted.value / held.loss - 1) for held in result.held_out]
        assert row["error unseen %"] == number(100 * sum(errors) / len(errors), 3)
        covered = [held.predicted.low <= held.loss <= held.predicted.high for held in result.held_out]
        assert row["in interval %"] == number(100 * sum(covered) / len(covered), 3)
    unseen = rows(text, "unseen run", "FLOPs", "T", "loss", "predicted", "error %")
    for row, held in zip(unseen, results[0].held_out, strict=True):
        assert (row["unseen run"], row["FLOPs"], row["T"]) == (held.run_id, f"{held.flops:.3g}", "–")
        assert row["loss"] == f"{held.loss:.4f}"
        assert row["predicted"] == spell(held.predicted, 4)
        assert row["error %"] == f"{100 * (held.predicted.value / held.loss - 1):+.2f}"


def test_headlines_say_the_numbers_of_the_fits(fitted: FittedStudy, model: FittedModel) -> None:
    told = " ".join(headlines(fitted))
    isoflop, form, along = model.isoflop, model.forms.chosen, model.frontier
    assert form is not None
    assert along is not None
    gamma_mu = spell(isoflop.gamma_mean_recurrence.exponent)
    gamma_d = spell(isoflop.gamma_tokens.exponent)
    assert f"best mean recurrence grows as C^{gamma_mu} and the best tokens as C^{gamma_d}" in told
    assert "(paper: 0.4 and 0.77)" in told
    assert f"mean error {100 * form.fit.mean_error:.2f} % on 36 runs" in told
    assert f", {form.held_out_error_percent:.2f} % on the largest budget when that is held out" in told
    for name, value in form.fit.values.items():
        assert f"{name} = {number(value, 3)}" in told
    assert f"recurrence grows as C^{spell(along.within.on_axis)} and tokens as C^" in told
    assert "over 4 budgets, 2e+18 to 1.6e+19 FLOPs" in told
    beyond = " ".join(extrapolations(fitted))
    assert f"recurrence grows as C^{spell(along.gamma_mean_recurrence)} and tokens as C^" in beyond
    assert "at 2 of them the optimum lies outside the trained 2 to 12" in beyond
    assert f"tokens as C^{spell(along.within.tokens)}." in told
    last = [point for point in along.points if point.supported][-1]
    assert f"at {last.flops:.3g} FLOPs the best of the trained mean recurrences (2 to 12)" in told
    assert f"is {last.mean_recurrence.value:g}, with a loss of {spell(last.loss, 4)}" in told
    unified = fitted.test_time.unified[MODEL]["gamma_one"]
    assert (
        f"mean error of {100 * unified.mean_error:.2f} % on 360 losses (z = {number(unified.z, 3)})" in told
    )


def test_page_1_says_which_route_is_trusted(fitted: FittedStudy, model: FittedModel) -> None:
    elsewhere = replace(model.routes.tokens.compared, corrected=Interval(value=2.0, low=1.9, high=2.1))
    routes = replace(model.routes, tokens=elsewhere)
    findings = replace(fitted, models={MODEL: replace(model, routes=routes)})
    assert "over 4 budgets, 2e+18 to 1.6e+19 FLOPs trust the corrected parabolas" in elsewhere.believed
    assert "parabolas, 2.000 (1.900 to 2.100): the law's own" in elsewhere.believed
    assert f"{MODEL}: {elsewhere.believed}." in headlines(findings)
    assert elsewhere.believed in findings.models[MODEL].routes.summary()


def test_page_1_warns_of_a_run_far_off_the_law(fitted: FittedStudy, model: FittedModel) -> None:
    residuals = model.training.law.fit.residuals.copy()
    residuals[3] = np.log(1.25)
    law = replace(model.training.law, fit=replace(model.training.law.fit, residuals=residuals))
    far = replace(model, training=replace(model.training, law=law))
    run = model.training.points.run_ids[3]
    expected = f"{MODEL}: run {run} is far off the training law, which predicts +25.0 %"
    assert expected in warnings(replace(fitted, models={MODEL: far}))
    assert f"far off: {run}, predicted +25.0 %" in far.training.summary()
    assert not any("far off the training law" in warning for warning in warnings(fitted))


def test_gains_without_a_trained_loop_are_extrapolated(fitted: FittedStudy, model: FittedModel) -> None:
    """A positive gain is a loss below that without a loop."""
    told, along = " ".join(extrapolations(fitted)), model.frontier
    assert along is not None
    last = [point for point in along.points if point.supported][-1]
    gain = 100 * (last.loss_without_loop - last.loss.value) / last.loss_without_loop
    assert gain > 0
    assert f"{number(gain, 2)} (" in told
    below = rf"{number(gain, 2)} \([^)]*\) % below it at {last.flops:.3g} FLOPs with mean recurrence 12"
    assert re.search(below.replace("+", r"\+"), told)


def test_page_1_has_every_sentence(fitted: FittedStudy, tmp_path: Path) -> None:
    lines = page_1_text(fitted, [tmp_path / "a.pdf"]).split("\n")
    assert lines[: len(headlines(fitted))] == headlines(fitted)
    assert [line for line in lines if line.startswith("extrapolated: ")] == [
        f"extrapolated: {sentence}" for sentence in extrapolations(fitted)
    ]
    assert lines[-1] == f"report: {tmp_path / 'a.pdf'}"
    more = page_1_text(fitted, [tmp_path / "a.md", *(tmp_path / "figures" / f"{i}.svg" for i in range(3))])
    assert more.split("\n")[-1] == f"and 3 files in {tmp_path / 'figures'}"
