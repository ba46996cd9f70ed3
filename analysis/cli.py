"""`parcae-fit`: the laws of a sweep, from the command line.

Commands parse, call one function and print. Fits are imported inside them, so that `--help` is quick.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from analysis.data.axis import Axis
from analysis.data.convention import CountedFlops
from analysis.report.output_format import ReportFormat
from sweeps.cli import console
from sweeps.cli.console import DEFAULT_DB, DbOption, JsonOption, SweepOption, note, print_json, remark
from sweeps.folders.paths import PUBLISHED

if TYPE_CHECKING:
    from analysis.data.points import Study

app = console.new_app("Fit the scaling laws of a sweep.")

Fitted = TypeVar("Fitted")

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="The model; required if the sweep has several.", show_default=False),
]
ConventionOption = Annotated[
    CountedFlops | None,
    typer.Option(
        "--convention",
        help="How the runs' FLOPs were counted, if not by their recorded convention; own: FLOPs / tokens as "
        "they are.",
        show_default=False,
    ),
]
WeightsOption = Annotated[
    bool,
    typer.Option("--weights", help="Weight runs by the noise of their budget, as replicate seeds show it."),
]
AxisOption = Annotated[
    Axis | None,
    typer.Option(
        "--axis",
        help="What varies within a budget; mean recurrence if that varies, else parameters.",
        show_default=False,
    ),
]


def main() -> None:
    """Entry point of the console script."""
    console.run(app)


def _study(db: Path, sweep: str | None, weights: bool = False) -> "Study":
    from analysis.data.study import load_study, weighted_study

    study = load_study(db, sweep)
    if weights:
        study, remarks = weighted_study(study)
        for sentence in remarks:
            remark(sentence)
    return _told(study)


def _told(study: "Study") -> "Study":
    """The study, once it is noted what it leaves out."""
    for reason, count in study.left_out.items():
        remark(f"left out of {study.name}: {count} {reason}")
    return study


def _show(
    study: "Study",
    json: bool,
    fitted: Fitted,
    as_json: Callable[[Fitted], Mapping[str, Any]],
    as_text: Callable[[Fitted], str],
    warnings: Iterable[str] = (),
) -> None:
    if json:
        print_json({**study.to_dict(), **as_json(fitted)})
    else:
        _print_text(lambda: as_text(fitted), warnings)


def _print_text(text: Callable[[], str], warnings: Iterable[str] = ()) -> None:
    from analysis.engine.formatting import within, wrapped

    with within(get_terminal_size().columns if sys.stdout.isatty() else None):
        print(wrapped(text()))
        for warning in warnings:
            note(wrapped(f"warning: {warning}"))


@app.command()
def isoflop(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    axis: AxisOption = None,
    weights: WeightsOption = False,
    convention: ConventionOption = None,
) -> None:
    """Fit a parabola to each budget and power laws to the optima."""
    from analysis.report.fitted_study import fit_models, require_enough, why_no_curve
    from analysis.report.json_output import isoflop_json
    from analysis.report.law_text import isoflop_text

    study = _study(db, sweep, weights)
    models = fit_models(study, convention, axis)
    optima = [optimum for found in models.values() for optimum in found.isoflop.optima]
    require_enough(
        study,
        "runs for an isoFLOP curve",
        [(optimum.verdict, optimum.message) for optimum in optima],
        otherwise=why_no_curve(study, axis),
    )
    warnings = [f"{name}: {w}" for name, found in models.items() for w in found.routes.warnings]
    _show(study, json, models, isoflop_json, isoflop_text, warnings)


@app.command("training-law")
def training_law(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    weights: WeightsOption = False,
    convention: ConventionOption = None,
) -> None:
    """Fit L = E + X N^-x + Y D^-y and the other forms of the law to each model."""
    from analysis.report.fitted_study import fit_models, require_enough
    from analysis.report.json_output import training_json
    from analysis.report.law_text import training_text

    study = _study(db, sweep, weights)
    models = fit_models(study, convention)
    laws = [found.training.law for found in models.values()]
    require_enough(study, "runs for a training law", [(law.status, law.message) for law in laws])
    frontiers = [(name, found.frontier) for name, found in models.items() if found.frontier]
    warnings = [f"{name}: {warning}" for name, frontier in frontiers for warning in frontier.warnings]
    _show(study, json, models, training_json, training_text, warnings)


@app.command()
def saturation(db: DbOption = DEFAULT_DB, sweep: SweepOption = None, json: JsonOption = False) -> None:
    """Fit L(T) = L_inf + Z exp(-z T) to each run, and score the four forms."""
    from analysis.report.fitted_study import FittedTestTime, require_enough
    from analysis.report.json_output import saturation_json
    from analysis.report.study_text import saturation_text

    study = _study(db, sweep)
    found = FittedTestTime(curves=study.curves)
    require_enough(
        study,
        "losses for saturation",
        [(fit.fit.status, fit.message) for _, fit in found.saturation],
        otherwise="there is no finished run with losses at several test recurrences",
    )
    _show(study, json, found, saturation_json, saturation_text)


@app.command()
def unified(db: DbOption = DEFAULT_DB, sweep: SweepOption = None, json: JsonOption = False) -> None:
    """Fit L(T) = E + X N^-x + Y D^-y + Z exp(-z T / mean recurrence) to all runs jointly."""
    from analysis.report.fitted_study import FittedTestTime, require_enough
    from analysis.report.json_output import unified_json
    from analysis.report.study_text import unified_models_text

    study = _study(db, sweep)
    found = FittedTestTime(curves=study.curves)
    require_enough(
        study,
        "losses for the unified law",
        [(fit.status, fit.message) for forms in found.unified.values() for fit in forms.values()],
        otherwise="there is no finished run with tokens, parameters and losses at several test recurrences",
    )
    _show(study, json, found, unified_json, unified_models_text)


@app.command()
def equivalence(db: DbOption = DEFAULT_DB, sweep: SweepOption = None, json: JsonOption = False) -> None:
    """Fit what a recurrence is worth: phi is 1 for a unique block, 0 for nothing."""
    from analysis.fits.equivalence import study_equivalence
    from analysis.report.fitted_study import require_enough
    from analysis.report.json_output import equivalence_json
    from analysis.report.study_text import equivalence_text

    study = _study(db, sweep)
    study.require_points()
    found = study_equivalence(list(study.models.values()))
    require_enough(
        study,
        "looped runs for phi",
        [(one.joint.status, one.joint.message) for one in found],
        otherwise="no run has tokens, once and recurrent parameters, and a mean recurrence above 1",
    )
    _show(study, json, found, equivalence_json, equivalence_text)


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
    """Fit every form to the smaller budgets, and rank them by their error on the rest."""
    from analysis.checks.held_out import compare_study
    from analysis.report.json_output import comparison_json
    from analysis.report.study_text import comparisons_text

    study = _study(db, sweep)
    results = compare_study(study, top_budgets=top, runs=hold_out or ())
    _show(study, json, results, comparison_json, comparisons_text)


@app.command()
def versus(
    a: Annotated[str, typer.Argument(help="A model of the sweep, another sweep, or SWEEP:MODEL.")],
    b: Annotated[str, typer.Argument(help="What it is compared with, named in the same way.")],
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    convention: ConventionOption = None,
) -> None:
    """Compare two recipes at equal compute: is A better than B?"""
    from analysis.checks.versus import side_of
    from analysis.checks.versus import versus as compared
    from analysis.data.study import points_named

    one, other = (side_of(name, points_named(db, sweep, name), convention=convention) for name in (a, b))
    found = compared(one, other)
    if json:
        print_json(found.to_dict())
    else:
        _print_text(found.summary)


@app.command()
def predict(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    model: ModelOption = None,
    flops: Annotated[float | None, typer.Option("--flops", help="The training budget C.")] = None,
    tokens: Annotated[
        float | None, typer.Option("--tokens", help="Training tokens D; give either this or --flops.")
    ] = None,
    test_recurrence: Annotated[
        list[float] | None, typer.Option("--test-recurrence", help="Predict the loss at this T; repeatable.")
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Answer even beyond what the runs support.")
    ] = False,
    convention: ConventionOption = None,
) -> None:
    """Predict the best mean recurrence, tokens and loss for a budget or for given tokens."""
    from analysis.prediction.predict import predict as predicted

    study = _study(db, sweep)
    found = predicted(
        study,
        model,
        flops=flops,
        tokens=tokens,
        test_recurrence=test_recurrence or (),
        extrapolate=extrapolate,
        convention=convention,
    )
    _show(study, json, found, lambda one: one.to_dict(), lambda one: one.summary(), found.warnings)


@app.command()
def scores(db: DbOption = DEFAULT_DB, sweep: SweepOption = None, json: JsonOption = False) -> None:
    """Show the stored scores of looped models beside those of fixed depth, at equal FLOPs and equal tokens.

    The efficiency is the gain over fixed depth, as a share of what the next larger size gains.
    """
    from analysis.checks.scores import compare_scores, scores_json, scores_text
    from analysis.data.study import read_sweep, study_of

    rows = read_sweep(db, sweep)
    _show(study_of(rows), json, compare_scores(rows), scores_json, scores_text)


@app.command()
def published(json: JsonOption = False) -> None:
    """Show every number of the paper's tables beside ours, or why there is none."""
    from analysis.checks.paper import beside_the_paper, comparisons_json, comparisons_text

    study = _study(DEFAULT_DB, PUBLISHED)
    _show(study, json, beside_the_paper(study), comparisons_json, comparisons_text)


@app.command()
def report(
    db: DbOption = DEFAULT_DB,
    sweep: SweepOption = None,
    json: JsonOption = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The file to write; default SWEEP.pdf.", show_default=False),
    ] = None,
    form: Annotated[
        ReportFormat | None,
        typer.Option(
            "--format", help="What to write, if the ending of --output does not say.", show_default=False
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
            "--date", help="The date on the first page; default: of the last result.", show_default=False
        ),
    ] = None,
    convention: ConventionOption = None,
) -> None:
    """Write every finding about a sweep as a PDF, a page for the browser, Markdown, LaTeX or JSON."""
    from analysis.data.study import read_sweep, study_of
    from analysis.report.headlines import page_1_text, warnings
    from analysis.report.json_output import report_json
    from analysis.report.records import records_of
    from analysis.report.write import Plan, fit_and_write

    rows = read_sweep(db, sweep)
    study = _told(study_of(rows))
    plan = Plan(output=output, form=form, figures=figures, date=date, convention=convention)
    findings, files = fit_and_write(study, records_of(rows, db), plan)
    _show(
        study,
        json,
        findings,
        lambda found: report_json(found, files),
        lambda found: page_1_text(found, files),
        warnings(findings),
    )


if __name__ == "__main__":
    main()
