"""Findings as JSON-ready dictionaries. Their keys are a promise to scripts: add, never rename.

A number that is missing is None.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.compare import FormResult
from analysis.dataset import Study
from analysis.equivalence import EquivalenceFit
from analysis.findings import TestTimeFindings
from analysis.frontier import Frontier
from analysis.intervals import Interval
from analysis.isoflop import IsoflopFit
from analysis.powerlaw import PowerLaw
from analysis.prediction import Prediction
from analysis.robustness import Robustness
from analysis.routes import Routes
from analysis.training import TrainingStudy


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
    }


def plain_isoflop(fit: IsoflopFit, routes: Routes | None = None) -> dict[str, Any]:
    """One model's optima and exponents; with `routes`, the law's own exponents and the warnings."""
    value: dict[str, Any] = {
        "optima": [
            {
                "flops": o.flops,
                "mean_recurrence": finite(o.mean_recurrence),
                "tokens": finite(o.tokens),
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
        "gamma_tokens": _power_law(fit.gamma_tokens),
    }
    if routes is not None:
        value["training_law"] = {
            "gamma_mean_recurrence": plain_interval(routes.mean_recurrence.law),
            "gamma_tokens": plain_interval(routes.tokens.law),
        }
        value["warnings"] = list(routes.warnings)
    return value


def plain_training(study: TrainingStudy, frontier: Frontier | None, panel: Robustness) -> dict[str, Any]:
    """One model's training law with intervals, its frontier and the robustness panel."""
    law = study.law
    return {
        **{name: finite(getattr(law, name)) for name in ("E", "X", "x", "Y", "y")},
        "huber": finite(law.huber),
        "status": law.status.value,
        "message": law.message,
        "points": law.points,
        "intervals": {name: plain_interval(value) for name, value in study.intervals.items()},
        "frontier": [
            {
                "flops": p.flops,
                "mean_recurrence": plain_interval(p.mean_recurrence),
                "tokens": plain_interval(p.tokens),
                "loss": plain_interval(p.loss),
                "loss_without_loop": finite(p.loss_without_loop),
                "interior": p.interior,
            }
            for p in (frontier.points if frontier else ())
        ],
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
    }


def plain_saturation(found: TestTimeFindings) -> dict[str, Any]:
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


def plain_unified(found: TestTimeFindings) -> dict[str, Any]:
    """The paper's form for each model, the other forms and the oracle floor beside it."""
    names = ("E", "X", "x", "Y", "y", "Z", "z")
    models: dict[str, Any] = {}
    for model, fits in found.unified.items():
        rows = {
            form: {
                **{name: finite(getattr(fit, name)) for name in (*names, "gamma")},
                "huber": finite(fit.huber),
                "mean_error": finite(fit.mean_error),
                "points": fit.points,
                "status": fit.status.value,
                "message": fit.message,
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


def plain_equivalence(fit: EquivalenceFit) -> dict[str, Any]:
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
        "flops": prediction.flops,
        "mean_recurrence": prediction.mean_recurrence.value,
        "tokens": prediction.tokens.value,
        "loss": plain_interval(prediction.loss),
        "intervals": {
            "mean_recurrence": plain_interval(prediction.mean_recurrence),
            "tokens": plain_interval(prediction.tokens),
        },
        "test_time": [
            {"test_recurrence": t.test_recurrence, "loss": plain_interval(t.loss)}
            for t in prediction.test_time
        ],
        "warnings": list(prediction.warnings),
    }


def plain_study(study: Study) -> dict[str, Any]:
    """Which data: enough to find them again."""
    return {
        "sweep": study.name,
        "runs": study.runs,
        "runs_fitted": study.used,
        "left_out": dict(study.left_out),
        "data_hash": study.data_hash,
    }
