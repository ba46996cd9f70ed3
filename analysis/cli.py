"""`parcae-fit`: the laws of a sweep, from the command line.

Commands parse, call one function and print. What fits is imported inside them, so that `--help` is quick.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.data.axis import Axis
from analysis.report.output_format import ReportFormat
from parcae.errors import InputError
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption, SweepOption, note, print_json, remark

if TYPE_CHECKING:
    from analysis.data.points import Study
    from sweeps.store.database import StudyTables

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Fit the scaling laws of a sweep.", rich_markup_mode=None
)

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="The model; needed when the sweep has several.", show_default=False),
]


ConventionOption = Annotated[
    str | None,
    typer.Option(
        "--convention",
        help="How the runs' FLOPs were counted, where they contradict their own: paper, official, unrolled, "
        "or own for FLOPs / tokens as they are.",
        show_default=False,
    ),
]


def main() -> None:
    """Entry point of the console script."""
    console.run(app)


WeightsOption = Annotated[
    bool,
    typer.Option(
        "--weights", help="Weigh runs by their budget's noise, where replicate seeds show it to differ."
    ),
]


def _study(db: Path, sweep: str | None, weights: bool = False) -> "Study":
    from analysis.data.study import read_sweep, weighted_study

    study = _built(read_sweep(db, sweep))
    if weights:
        study, remarks = weighted_study(study)
        for sentence in remarks:
            remark(sentence)
    return study


def _built(tables: "StudyTables") -> "Study":
    """The study of a sweep's tables; what it leaves out is said at the end."""
    from analysis.data.study import build_study

    study = build_study(tables.name, tables.kind, tables.runs, tables.losses)
    for reason, count in study.left_out.items():
        remark(f"left out of {study.name}: {count} {reason}")
    return study


@app.command()
def isoflop(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    axis: Annotated[
        Axis | None,
        typer.Option(
            "--axis",
            help="What varies within a budget; mean recurrence where it does, else parameters.",
            show_default=False,
        ),
    ] = None,
    weights: WeightsOption = False,
    convention: ConventionOption = None,
) -> None:
    """Parabolas, optima and the power laws through them, beside the chosen law's own exponents."""
    from analysis.fits.isoflop.optimum import CurveVerdict
    from analysis.report.fitted_study import fit_model
    from analysis.report.json_output import plain_chosen, plain_isoflop, plain_study
    from analysis.report.study_text import isoflop_text, passed_over_text, routes_text

    study = _study(db, sweep, weights)
    study.require_points()
    found = {name: fit_model(points, convention, axis) for name, points in study.models.items()}
    curves = [o for f in found.values() for o in f.isoflop.optima]
    if all(o.verdict is CurveVerdict.TOO_FEW_POINTS for o in curves):
        along = axis.words if axis else "mean recurrence, or parameters and no loop"
        raise InputError(
            f"sweep {study.name!r} has too few runs for an isoFLOP curve: "
            + (curves[0].message if curves else f"no run has both a FLOP budget and {along}")
        )
    if json:
        models = {
            name: {**plain_isoflop(f.isoflop, f.routes), "chosen_law": plain_chosen(f)}
            for name, f in found.items()
        }
        print_json({**plain_study(study), "models": models})
        return
    for name, f in found.items():
        print(f"{name}\n{isoflop_text(f.isoflop)}\n\n{routes_text(f)}")
        print(f"{passed_over_text(f.points.passed_over)}\n" if f.points.passed_over else "")
        for warning in f.routes.warnings:
            note(f"warning: {name}: {warning}")


@app.command("training-law")
def training_law(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    weights: WeightsOption = False,
    convention: ConventionOption = None,
) -> None:
    """L = E + X N^-x + Y D^-y for each model, every other form, the chosen one's frontier, robustness."""
    from analysis.engine.verdict import FitStatus
    from analysis.report.fitted_study import fit_model
    from analysis.report.json_output import plain_study, plain_training
    from analysis.report.law_text import forms_text, frontier_text, training_text
    from analysis.report.study_text import passed_over_text, robustness_text

    study = _study(db, sweep, weights)
    study.require_points()
    found = {name: fit_model(points, convention) for name, points in study.models.items()}
    laws = [f.training.law for f in found.values()]
    if all(law.status is FitStatus.TOO_FEW_POINTS for law in laws):
        raise InputError(f"sweep {study.name!r} has too few runs for a training law: {laws[0].message}")
    if json:
        models = {name: plain_training(f.training, f.frontier, f.robustness, f) for name, f in found.items()}
        print_json({**plain_study(study), "models": models})
        return
    for name, f in found.items():
        print(
            f"{name}\n{training_text(f.training)}\n\n{forms_text(f.forms)}\n\n{frontier_text(f)}\n\n"
            f"{robustness_text(f.robustness)}\n"
        )
        if f.points.passed_over:
            print(f"{passed_over_text(f.points.passed_over)}\n")
        for warning in f.frontier.warnings if f.frontier else ():
            note(f"warning: {name}: {warning}")


@app.command()
def saturation(db: DbOption = DEFAULT_DB, sweep: SweepOption = None, json: JsonOption = False) -> None:
    """L(T) = L_inf + Z exp(-z T) for each run, whether it falls to a floor, and the four forms scored."""
    from analysis.engine.verdict import FitStatus
    from analysis.report.fitted_study import fit_test_time
    from analysis.report.json_output import plain_saturation, plain_study
    from analysis.report.study_text import saturation_text

    study = _study(db, sweep)
    if not study.curves:
        raise InputError(f"sweep {study.name!r} has no finished run with losses at several test recurrences")
    found = fit_test_time(study)
    fits = [fit for _, fit in found.saturation]
    if all(fit.fit.status is FitStatus.TOO_FEW_POINTS for fit in fits):
        raise InputError(f"sweep {study.name!r} has too few losses a run for saturation: {fits[0].message}")
    if json:
        print_json({**plain_study(study), **plain_saturation(found)})
    else:
        print(saturation_text(found))


@app.command()
def unified(db: DbOption = DEFAULT_DB, sweep: SweepOption = None, json: JsonOption = False) -> None:
    """L(T) = E + X N^-x + Y D^-y + Z exp(-z T / mean recurrence), all runs and test recurrences jointly."""
    from analysis.engine.verdict import FitStatus
    from analysis.report.fitted_study import fit_test_time
    from analysis.report.json_output import plain_study, plain_unified
    from analysis.report.study_text import unified_text

    study = _study(db, sweep)
    found = fit_test_time(study)
    if not found.unified:
        raise InputError(
            f"sweep {study.name!r} has no finished run with tokens, parameters and losses at several test "
            "recurrences, which the unified law is fitted to"
        )
    fits = [fit for forms in found.unified.values() for fit in forms.values()]
    if all(fit.status is FitStatus.TOO_FEW_POINTS for fit in fits):
        raise InputError(f"sweep {study.name!r} has too few losses for the unified law: {fits[0].message}")
    if json:
        print_json({**plain_study(study), **plain_unified(found)})
        return
    for model in found.unified:
        print(f"{model}\n{unified_text(found, model)}\n")


@app.command()
def equivalence(db: DbOption = DEFAULT_DB, sweep: SweepOption = None, json: JsonOption = False) -> None:
    """What a recurrence is worth: phi is 1 for a unique block, 0 for nothing."""
    from analysis.engine.verdict import FitStatus
    from analysis.fits.equivalence import study_equivalence
    from analysis.report.json_output import plain_equivalence, plain_study
    from analysis.report.study_text import equivalence_text

    study = _study(db, sweep)
    study.require_points()
    found = study_equivalence(list(study.models.values()))
    if not found:
        raise InputError(
            f"sweep {study.name!r} has too few looped runs for phi: none has tokens, parameters applied once "
            "and per recurrence, and a mean recurrence above 1"
        )
    if all(one.joint.status is FitStatus.TOO_FEW_POINTS for one in found):
        raise InputError(f"sweep {study.name!r} has too few looped runs for phi: {found[0].joint.message}")
    if json:
        print_json({**plain_study(study), **plain_equivalence(found)})
    else:
        print(equivalence_text(found))


@app.command()
def compare(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    top: Annotated[int, typer.Option("--top", help="Hold out this many of the largest budgets.")] = 1,
    hold_out: Annotated[
        list[str] | None, typer.Option("--hold-out", help="Hold out this run instead; repeatable.")
    ] = None,
) -> None:
    """Fit on the smaller budgets, score the rest: forms ranked by held-out error."""
    from analysis.checks.held_out import compare_study
    from analysis.report.json_output import plain_comparison, plain_study
    from analysis.report.study_text import comparison_text

    study = _study(db, sweep)
    results = compare_study(study, top_budgets=top, runs=hold_out or ())
    if json:
        print_json({**plain_study(study), **plain_comparison(results)})
        return
    for model, forms in results.items():
        print(f"{model}\n{comparison_text(forms)}\n")


@app.command()
def predict(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    model: ModelOption = None,
    flops: Annotated[float | None, typer.Option("--flops", help="The training budget C.")] = None,
    tokens: Annotated[float | None, typer.Option("--tokens", help="Training tokens D, instead.")] = None,
    test_recurrence: Annotated[
        list[float] | None, typer.Option("--test-recurrence", help="Predict the loss at this T; repeatable.")
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Answer even beyond what the runs support.")
    ] = False,
    convention: ConventionOption = None,
) -> None:
    """The best mean recurrence and tokens for a budget (or tokens), and the loss to expect."""
    from analysis.prediction.predict import predict as predicted
    from analysis.report.json_output import plain_prediction
    from analysis.report.law_text import prediction_text

    prediction = predicted(
        _study(db, sweep),
        model,
        flops=flops,
        tokens=tokens,
        test_recurrence=test_recurrence or (),
        extrapolate=extrapolate,
        convention=convention,
    )
    if json:
        print_json(plain_prediction(prediction))
        return
    print(prediction_text(prediction))
    for warning in prediction.warnings:
        note(f"warning: {warning}")


@app.command()
def report(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The file to write; SWEEP.FORMAT unless named.", show_default=False),
    ] = None,
    form: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format",
            help="What to write; the ending of --output says it too. [default: pdf]",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            help="A folder for every figure as PDF, SVG and PNG, with what is drawn as CSV.",
            show_default=False,
        ),
    ] = None,
    date: Annotated[
        str | None,
        typer.Option(
            "--date", help="The date on the first page; the last result's unless given.", show_default=False
        ),
    ] = None,
    convention: ConventionOption = None,
) -> None:
    """Everything about a sweep, as a PDF, Markdown, LaTeX or JSON."""
    from analysis.data.study import read_sweep
    from analysis.report.content.study import study_report
    from analysis.report.fitted_study import fit_study
    from analysis.report.headlines import extrapolations, headlines, warnings
    from analysis.report.json_output import plain_study
    from analysis.report.records import records_of
    from analysis.report.write import output_path, write_document

    tables = read_sweep(db, sweep)
    study = _built(tables)
    path, form = output_path(study.name, output, form)
    findings = fit_study(study, convention)
    document = study_report(findings, records_of(tables, db), date)
    path, *others = write_document(document, path, form, figures)
    if json:
        print_json(
            {
                **plain_study(study),
                "report": str(path),
                "files": [str(other) for other in others],
                "findings": headlines(findings),
                "extrapolated": extrapolations(findings),
                "warnings": warnings(findings),
            }
        )
        return
    for sentence in headlines(findings):
        print(sentence)
    for sentence in extrapolations(findings):
        print(f"extrapolated: {sentence}")
    for warning in warnings(findings):
        note(f"warning: {warning}")
    print(f"report: {path}")
    if others:
        print(f"{len(others)} more files, such as {others[0]}")


if __name__ == "__main__":
    main()
