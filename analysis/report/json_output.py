"""What `--json` prints of a whole study. Keys are a promise to scripts: add, never rename.

A missing number is None. Each result's own part is its ``to_dict``.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.checks.held_out import FormResult
from analysis.engine.intervals import NOTHING, finite
from analysis.fits.equivalence import ArchitectureEquivalence
from analysis.fits.unified import GAMMA_ONE
from analysis.report.fitted_study import FittedModel, FittedStudy, FittedTestTime
from analysis.report.headlines import extrapolations, headlines, warnings


def isoflop_json(models: Mapping[str, FittedModel]) -> dict[str, Any]:
    """Each model's optima and exponents, the chosen law's own exponents and the warnings."""
    return {
        "models": {
            name: {**found.isoflop.to_dict(), **found.routes.to_dict(), "chosen_law": chosen_json(found)}
            for name, found in models.items()
        }
    }


def chosen_json(found: FittedModel) -> dict[str, Any] | None:
    """The form of the law that a model's runs support, and the forms that cannot be distinguished from it."""
    form, loops, sizes = found.forms.chosen, found.frontier, found.sizes
    if form is None:
        return None
    optima = loops or sizes
    exponents = optima.exponents if optima else None
    return {
        "form": form.law.name,
        "equation": form.law.equation,
        **{name: finite(value.value) for name, value in form.intervals.items()},
        "intervals": {name: value.to_dict() for name, value in form.intervals.items()},
        "gamma_mean_recurrence": (exponents.on_axis if exponents and loops else NOTHING).to_dict(),
        "gamma_parameters": (exponents.on_axis if exponents and not loops else NOTHING).to_dict(),
        "gamma_tokens": (exponents.tokens if exponents else NOTHING).to_dict(),
        "budgets": list(exponents.flops) if exponents else [],
        "held_out_error_percent": finite(form.held_out_error_percent),
        "rolling_error_percent": finite(form.rolling_error_percent),
        "status": form.fit.status.value,
        "message": form.fit.message,
        "lack_of_fit": form.lack_of_fit.to_dict(),
        "alike": [other.law.name for other in found.forms.alike[1:]],
    }


def training_json(models: Mapping[str, FittedModel]) -> dict[str, Any]:
    """Each model's training law, the chosen form's frontier, the robustness panel and every form."""
    return {"models": {name: _model_json(found) for name, found in models.items()}}


def _model_json(found: FittedModel) -> dict[str, Any]:
    frontier = found.frontier
    return {
        **found.training.to_dict(),
        "frontier": [point.to_dict() for point in (frontier.points if frontier else ())],
        "frontier_form": frontier.form if frontier else found.sizes.form if found.sizes else None,
        "size_frontier": found.sizes.to_dict() if found.sizes else [],
        "robustness": found.robustness.to_list(),
        "chosen_law": chosen_json(found),
        "forms": [form.to_dict() for form in found.forms.forms.values()],
    }


def saturation_json(found: FittedTestTime) -> dict[str, Any]:
    """Each run's saturation and the four forms' scores (mean Huber)."""
    return {
        "runs": [
            {
                "run_id": curve.run_id,
                "model": curve.model,
                "mean_recurrence": curve.mean_recurrence,
                **fit.to_dict(),
            }
            for curve, fit in found.saturation
        ],
        "forms": {score.form: score.to_dict() for score in found.forms},
    }


def unified_json(found: FittedTestTime) -> dict[str, Any]:
    """The paper's form for each model, the other forms and the oracle floor beside it."""
    return {
        "models": {
            model: {
                **fits[GAMMA_ONE].to_dict(),
                "forms": {form: fit.to_dict() for form, fit in fits.items()},
                "oracle_floor": found.oracle[model].to_dict(),
            }
            for model, fits in found.unified.items()
        }
    }


def equivalence_json(found: Sequence[ArchitectureEquivalence]) -> dict[str, Any]:
    """The architecture with the most looped runs, and every one under its name."""
    return {
        **found[0].joint.to_dict(),
        "architecture": found[0].architecture,
        "architectures": {one.architecture: one.to_dict() for one in found},
    }


def comparison_json(results: Mapping[str, Iterable[FormResult]]) -> dict[str, Any]:
    """Model -> forms, best held-out error first."""
    return {
        "models": {model: [form.to_dict() for form in forms] for model, forms in results.items()},
    }


def report_json(found: FittedStudy, files: Sequence[Path]) -> dict[str, Any]:
    """What was found, and the `files` written, the report first."""
    return {
        "report": str(files[0]),
        "files": [str(file) for file in files],
        "findings": headlines(found),
        "extrapolated": extrapolations(found),
        "warnings": warnings(found),
    }
