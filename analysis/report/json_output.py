"""Results as JSON-ready dictionaries. Their keys are a promise to scripts: add, never rename.

A number that is missing is None.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.checks.held_out import FormResult
from analysis.checks.robustness import Robustness
from analysis.checks.two_routes import Routes
from analysis.data.points import Study
from analysis.engine.intervals import NOTHING, Interval
from analysis.fits.equivalence import ArchitectureEquivalence, EquivalenceFit
from analysis.fits.forms import FormFit
from analysis.fits.isoflop.fit import Corrected, IsoflopFit
from analysis.fits.isoflop.power_law import PowerLaw
from analysis.fits.training import ModelTrainingLaw
from analysis.prediction.frontier import Frontier, FrontierPoint
from analysis.prediction.predict import Prediction
from analysis.report.fitted_study import FittedModel, FittedTestTime


def finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def plain_interval(value: Interval) -> dict[str, float | None]:
    return {"value": finite(value.value), "low": finite(value.low), "high": finite(value.high)}


def _power_law(law: PowerLaw) -> dict[str, Any]:
    return {
        **plain_interval(law.exponent),
        "k": finite(law.k),
        "status": law.status.value,
        "message": law.message,
        "budgets": list(law.budgets),
    }


def plain_isoflop(fit: IsoflopFit, routes: Routes | None = None) -> dict[str, Any]:
    """One model's optima and exponents; with `routes`, the law's own exponents and the warnings."""
    value: dict[str, Any] = {
        "axis": fit.axis.words,
        "optima": [
            {
                "flops": o.flops,
                "mean_recurrence": finite(o.mean_recurrence),
                "parameters": finite(o.parameters),
                "tokens": finite(o.tokens),
                "tokens_extrapolated": o.tokens_extrapolated,
                "tokens_tied": finite(o.tokens_tied),
                "loss": finite(o.loss),
                "interior": o.interior,
                "verdict": o.verdict.value,
                "message": o.message,
                "warnings": list(o.warnings),
                "runs": o.points,
            }
            for o in fit.optima
        ],
        "gamma_mean_recurrence": _power_law(fit.gamma_mean_recurrence),
        "gamma_parameters": _power_law(fit.gamma_parameters),
        "gamma_tokens": _power_law(fit.gamma_tokens),
        "gamma_tokens_tied": _power_law(fit.gamma_tokens_tied),
        "corrected": None if fit.corrected is None else _corrected(fit, fit.corrected),
    }
    if routes is not None:
        value["training_law"] = {
            "gamma_mean_recurrence": plain_interval(routes.mean_recurrence.law),
            "gamma_tokens": plain_interval(routes.tokens.law),
        }
        value["believed"] = [r.believed for r in (routes.mean_recurrence, routes.tokens) if r.believed]
        value["warnings"] = list(routes.warnings)
    return value


def _corrected(fit: IsoflopFit, found: Corrected) -> dict[str, Any]:
    """Optima and exponents with the parabolas' bias taken off; tokens are what the budget buys there."""
    return {
        "forms": dict(found.forms),
        "optima": [
            {
                "flops": o.flops,
                fit.axis.column: plain_interval(o.on_axis),
                "tokens": plain_interval(o.tokens),
                "used": o.used,
            }
            for o in found.optima
        ],
        f"gamma_{fit.axis.column}": _power_law(found.gamma_axis),
        "gamma_tokens": _power_law(found.gamma_tokens),
        "bias": finite(found.bias),
    }


def plain_chosen(found: FittedModel) -> dict[str, Any] | None:
    """The form of the law that a model's runs support, and the forms that can't be told from it."""
    form, along = found.forms.chosen, found.frontier
    if form is None:
        return None
    return {
        "form": form.law.name,
        "equation": form.law.equation,
        **{name: finite(value.value) for name, value in form.intervals.items()},
        "intervals": {name: plain_interval(value) for name, value in form.intervals.items()},
        "gamma_mean_recurrence": plain_interval(along.gamma_mean_recurrence if along else NOTHING),
        "gamma_tokens": plain_interval(along.gamma_tokens if along else NOTHING),
        "budgets": list(along.slope_flops) if along else [],
        "held_out_error_percent": finite(form.held_out_error_percent),
        "rolling_error_percent": finite(form.rolling_error_percent),
        "status": form.fit.status.value,
        "message": form.fit.message,
        "lack_of_fit": plain_fitness(form),
        "alike": [other.law.name for other in found.forms.alike[1:]],
    }


def plain_forms(found: FittedModel) -> list[dict[str, Any]]:
    """Every form of the law on one model."""
    return [
        {
            "form": form.law.name,
            "equation": form.law.equation,
            "source": form.law.source,
            "status": form.fit.status.value,
            "message": form.fit.message,
            "huber": finite(form.fit.huber),
            "aicc": finite(form.uncertainty.aicc) if form.uncertainty else None,
            "weight": finite(form.weight),
            "rolling_error_percent": finite(form.rolling_error_percent),
            "held_out_error_percent": finite(form.held_out_error_percent),
            "behind_percent": {**plain_interval(form.behind), "standard_error": finite(form.behind_error)},
            "lack_of_fit": plain_fitness(form),
        }
        for form in found.forms.forms.values()
    ]


def plain_fitness(form: FormFit) -> dict[str, Any]:
    test = form.lack_of_fit
    return {"verdict": test.verdict.value, "message": test.message, "p_values": dict(test.p_values)}


def _plain_point(point: FrontierPoint) -> dict[str, Any]:
    return {
        "flops": point.flops,
        "mean_recurrence": plain_interval(point.mean_recurrence),
        "tokens": plain_interval(point.tokens),
        "loss": plain_interval(point.loss),
        "loss_without_loop": finite(point.loss_without_loop),
        "gain_percent": plain_interval(point.gain_percent),
        "interior": point.interior,
        "continuous": {
            "mean_recurrence": plain_interval(point.continuous_recurrence),
            "tokens": plain_interval(point.continuous_tokens),
        },
        "within_0.1_percent": [finite(end) for end in point.near_best],
        "best_beyond_trained": finite(point.beyond_trained),
    }


def plain_training(
    study: ModelTrainingLaw, frontier: Frontier | None, panel: Robustness, found: FittedModel | None = None
) -> dict[str, Any]:
    """One model's training law with intervals, the chosen form's frontier and the robustness panel."""
    law = study.law
    beside = {"chosen_law": plain_chosen(found), "forms": plain_forms(found)} if found else {}
    return {
        **{name: finite(getattr(law, name)) for name in ("E", "X", "x", "Y", "y")},
        "huber": finite(law.huber),
        "status": law.status.value,
        "message": law.message,
        "points": law.points,
        "intervals": {name: plain_interval(value) for name, value in study.intervals.items()},
        "frontier": [_plain_point(point) for point in (frontier.points if frontier else ())],
        "frontier_form": frontier.form if frontier else None,
        "robustness": [
            {
                "setting": v.setting,
                "status": v.status.value,
                **{
                    column: finite(getattr(v, column))
                    for column in ("E", "x", "y", "gamma_mean_recurrence", "gamma_parabolas")
                },
            }
            for v in panel.variants
        ],
        **beside,
    }


def plain_saturation(found: FittedTestTime) -> dict[str, Any]:
    """Each run's saturation and the four forms' scores (mean Huber)."""
    return {
        "runs": [
            {
                "run_id": curve.run_id,
                "model": curve.model,
                "mean_recurrence": curve.mean_recurrence,
                "L_inf": finite(fit.L_inf),
                "Z": finite(fit.Z),
                "z": finite(fit.z),
                "huber": finite(fit.huber),
                "points": fit.points,
                "status": fit.status.value,
                "message": fit.message,
                "intervals": {name: plain_interval(value) for name, value in fit.intervals.items()},
                "best_test_recurrence": fit.best_test_recurrence,
                "best_loss": fit.best_loss,
            }
            for curve, fit in found.saturation
        ],
        "forms": {
            score.form: {
                "in_distribution": finite(score.in_distribution),
                "extrapolation": finite(score.extrapolation),
                "runs": score.runs,
            }
            for score in found.forms
        },
    }


def plain_unified(found: FittedTestTime) -> dict[str, Any]:
    """The paper's form for each model, the other forms and the oracle floor beside it."""
    names = ("E", "X", "x", "Y", "y", "Z", "z")
    models: dict[str, Any] = {}
    for model, fits in found.unified.items():
        rows = {
            form: {
                **{name: finite(getattr(fit, name)) for name in (*names, "gamma", "k")},
                "huber": finite(fit.huber),
                "mean_error": finite(fit.mean_error),
                "points": fit.points,
                "status": fit.status.value,
                "message": fit.message,
                "intervals": {name: plain_interval(value) for name, value in fit.intervals.items()},
                "aicc": finite(fit.uncertainty.aicc) if fit.uncertainty else None,
                "noise_shared_in_a_budget": finite(fit.uncertainty.ratio) if fit.uncertainty else None,
            }
            for form, fit in fits.items()
        }
        oracle = found.oracle[model]
        models[model] = {
            **rows["gamma_one"],
            "forms": rows,
            "oracle_floor": {
                **{name: finite(value) for name, value in oracle.values.items()},
                "huber": finite(oracle.huber),
                "mean_error": finite(oracle.mean_error),
                "status": oracle.status.value,
                "message": oracle.message,
            },
        }
    return {"models": models}


def plain_equivalence(found: Sequence[ArchitectureEquivalence]) -> dict[str, Any]:
    """The architecture with the most looped runs, and every one under its name."""
    first = found[0]
    return {
        **_equivalence(first.joint),
        "architecture": first.architecture,
        "architectures": {
            one.architecture: {
                **_equivalence(one.joint),
                "looped": one.looped,
                "baselines": one.baselines,
                "sizes": {size: _equivalence(fit) for size, fit in one.sizes.items()},
                "forms": [
                    {
                        "form": form.form,
                        "equation": form.equation,
                        "aicc": finite(form.aicc),
                        "mean_error": finite(form.mean_error),
                        "status": form.status.value,
                    }
                    for form in one.forms
                ],
            }
            for one in found
        },
    }


def _equivalence(fit: EquivalenceFit) -> dict[str, Any]:
    return {
        "phi": plain_interval(fit.phi),
        **{name: finite(value.value) for name, value in fit.intervals.items() if name != "phi"},
        "intervals": {name: plain_interval(value) for name, value in fit.intervals.items()},
        "huber": finite(fit.huber),
        "status": fit.status.value,
        "message": fit.message,
        "points": fit.points,
    }


def plain_comparison(results: Mapping[str, Iterable[FormResult]]) -> dict[str, Any]:
    """Model -> forms, best held-out error first."""
    return {
        "models": {
            model: [
                {
                    "form": r.form,
                    "equation": r.equation,
                    "status": r.status.value,
                    "message": r.message,
                    "fitted": r.fitted,
                    "train_error_percent": finite(r.train_error_percent),
                    "held_out_error_percent": finite(r.held_out_error_percent),
                    "coverage": finite(r.coverage),
                    "held_out": [
                        {
                            "run_id": h.run_id,
                            "flops": finite(h.flops),
                            "test_recurrence": finite(h.test_recurrence),
                            "loss": h.loss,
                            "predicted": plain_interval(h.predicted),
                            "error_percent": finite(h.error_percent),
                            "covered": h.covered,
                        }
                        for h in r.held_out
                    ],
                }
                for r in forms
            ]
            for model, forms in results.items()
        }
    }


def plain_prediction(prediction: Prediction) -> dict[str, Any]:
    return {
        "model": prediction.model,
        "form": prediction.form,
        "alike": list(prediction.alike),
        "flops": prediction.flops,
        "mean_recurrence": prediction.mean_recurrence.value,
        "tokens": prediction.tokens.value,
        "loss": plain_interval(prediction.loss),
        "intervals": {
            "mean_recurrence": plain_interval(prediction.mean_recurrence),
            "tokens": plain_interval(prediction.tokens),
        },
        "continuous": {
            "mean_recurrence": plain_interval(prediction.continuous_recurrence),
            "tokens": plain_interval(prediction.continuous_tokens),
            "loss": plain_interval(prediction.continuous_loss),
        },
        "within_0.1_percent": [finite(end) for end in prediction.near_best],
        "test_time": [
            {"test_recurrence": t.test_recurrence, "loss": plain_interval(t.loss)}
            for t in prediction.test_time
        ],
        "extrapolated": list(prediction.extrapolated),
        "warnings": list(prediction.warnings),
    }


def plain_study(study: Study) -> dict[str, Any]:
    """Which data: enough to find them again."""
    return {
        "sweep": study.name,
        "runs": study.runs,
        "runs_fitted": study.used,
        "left_out": dict(study.left_out),
        "passed_over": sum(points.passed_over for points in study.models.values()),
        "data_hash": study.data_hash,
    }
