"""Everything the laws say about one study, fitted once: what the report prints and draws."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from analysis.checks.robustness import Robustness, robustness
from analysis.checks.two_routes import Routes, two_routes
from analysis.data.axis import Axis
from analysis.data.points import ModelPoints, Study, TestTimeCurve, known
from analysis.engine.fit import LawFit
from analysis.fits.equivalence import ArchitectureEquivalence, study_equivalence
from analysis.fits.forms import ModelForms, fit_forms
from analysis.fits.isoflop.fit import IsoflopFit, fit_isoflop
from analysis.fits.saturation import FormScore, SaturationFit, fit_curves, score_forms
from analysis.fits.training import ModelTrainingLaw, model_training_law
from analysis.fits.unified import UnifiedFit, fit_oracle_floor, fit_unified_forms
from analysis.prediction.frontier import Frontier, frontier
from analysis.prediction.shape import Shape, shape_of

THREADS = 2
"""Fits at once: their arithmetic is on arrays, which numpy works through without holding up others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedModel:
    points: ModelPoints
    shape: Shape | None
    isoflop: IsoflopFit
    training: ModelTrainingLaw
    forms: ModelForms
    """Every form of the law, and which is chosen."""
    frontier: Frontier | None
    routes: Routes
    robustness: Robustness


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedTestTime:
    __test__ = False

    saturation: tuple[tuple[TestTimeCurve, SaturationFit], ...]
    forms: tuple[FormScore, ...]
    unified: Mapping[str, Mapping[str, UnifiedFit]]
    """Model -> form -> fit, for models whose runs have parameters and tokens."""
    oracle: Mapping[str, LawFit]


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedStudy:
    study: Study
    models: Mapping[str, FittedModel]
    test_time: FittedTestTime
    equivalence: tuple[ArchitectureEquivalence, ...]
    """Each looped architecture's."""


def fit_study(study: Study, convention: str | None = None) -> FittedStudy:
    """Fits every law to `study`; where the data have no answer the fit's status says so."""
    models = study.models
    with ThreadPoolExecutor(THREADS) as threads:
        fitted = [threads.submit(fit_model, points, convention) for points in models.values()]
        equivalence = threads.submit(study_equivalence, list(models.values()))
        test_time = threads.submit(fit_test_time, study)
        return FittedStudy(
            study=study,
            models=dict(zip(models, [one.result() for one in fitted], strict=True)),
            test_time=test_time.result(),
            equivalence=equivalence.result(),
        )


def isoflop_of(points: ModelPoints, axis: Axis | None = None) -> IsoflopFit:
    """The curves of one model's runs that have a budget and a place on `axis` (default: the usual one)."""
    chosen = axis or points.usual_axis
    grid = points.select(points.along(chosen))
    return fit_isoflop(
        grid.flops,
        known(grid.mean_recurrence),
        known(grid.tokens),
        grid.loss,
        parameters=known(grid.effective_parameters),
        axis=chosen,
        seeds=grid.seeds,
        weights=grid.weights,
    )


def fit_model(points: ModelPoints, convention: str | None = None, axis: Axis | None = None) -> FittedModel:
    """Everything about one model; `convention` settles how its FLOPs were counted."""
    isoflop, shape = isoflop_of(points, axis), shape_of(points, convention)
    forms = fit_forms(points)
    training = model_training_law(forms.points, forms.forms["training"])
    vertices = [optimum.flops for optimum in isoflop.interior]
    along = frontier(forms.mixture, points, shape, points.budgets, vertices) if shape else None
    return FittedModel(
        points=points,
        shape=shape,
        isoflop=isoflop,
        training=training,
        forms=forms,
        frontier=along,
        routes=two_routes(points, isoflop, forms.chosen.fit if forms.chosen else None, along),
        robustness=robustness(points, shape),
    )


def fit_test_time(study: Study) -> FittedTestTime:
    saturation = fit_curves([(curve.test_recurrence, curve.loss) for curve in study.curves])
    unified: dict[str, Mapping[str, UnifiedFit]] = {}
    oracle: dict[str, LawFit] = {}
    for model in dict.fromkeys(curve.model for curve in study.curves):
        curves = [curve for curve in study.curves if curve.model == model]
        forms = fit_unified_forms(curves)
        if not forms:
            continue
        unified[model] = forms
        oracle[model] = fit_oracle_floor(curves)
    return FittedTestTime(
        saturation=tuple(zip(study.curves, saturation, strict=True)),
        forms=score_forms(study.curves),
        unified=unified,
        oracle=oracle,
    )


def limit_error(curve: TestTimeCurve, fit: SaturationFit) -> float:
    """L_inf against the measured loss at T = mu_rec, relative (table 13); NaN where either is missing."""
    at = curve.test_recurrence == curve.mean_recurrence
    return float(abs(fit.L_inf / curve.loss[at][0] - 1)) if at.any() else float(np.nan)
