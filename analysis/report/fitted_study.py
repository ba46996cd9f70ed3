"""Everything the laws say about one study, fitted once: what the report prints and draws."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.checks.robustness import Robustness, robustness
from analysis.checks.two_routes import Routes, two_routes
from analysis.data.axis import Axis
from analysis.data.points import ModelPoints, Study, TestTimeCurve, known
from analysis.engine.fit import LawFit
from analysis.engine.verdict import FitStatus
from analysis.fits.equivalence import ArchitectureEquivalence, study_equivalence
from analysis.fits.forms import ModelForms, fit_forms
from analysis.fits.isoflop.fit import fit_isoflop
from analysis.fits.isoflop.optimum import CurveVerdict
from analysis.fits.isoflop.result import IsoflopFit
from analysis.fits.saturation import FormScore, SaturationFit, fit_curves, score_forms
from analysis.fits.training import ModelTrainingLaw, model_training_law
from analysis.fits.unified import UnifiedFit, fit_oracle_floor, fit_unified_forms
from analysis.prediction.frontier import Frontier, frontier
from analysis.prediction.shape import Shape, shape_of
from analysis.prediction.sizes import SizeFrontier, size_frontier
from parcae.errors import InputError
from sweeps.store.rows import NO_LOOP

THREADS = 2
"""Fits at once: their arithmetic is on arrays, which numpy works through without holding up others."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FittedModel:
    """Every fit to the runs of one model."""

    points: ModelPoints
    shape: Shape | None
    isoflop: IsoflopFit
    training: ModelTrainingLaw
    forms: ModelForms
    """Every form of the law, and which is chosen."""
    frontier: Frontier | None
    sizes: SizeFrontier | None
    """The best size for each budget, of models without a loop."""
    routes: Routes

    def __repr__(self) -> str:
        return f"FittedModel({self.points!r}, {self.forms!r})"

    @cached_property
    def robustness(self) -> Robustness:
        """Many refits, made on first use."""
        return robustness(self.points, self.shape)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FittedTestTime:
    """Every fit to losses over test recurrences, made on first use."""

    curves: tuple[TestTimeCurve, ...]

    def __repr__(self) -> str:
        return f"FittedTestTime({len(self.curves)} runs)"

    @cached_property
    def saturation(self) -> tuple[tuple[TestTimeCurve, SaturationFit], ...]:
        """Each run with its own curve."""
        fits = fit_curves([(curve.test_recurrence, curve.loss) for curve in self.curves])
        return tuple(zip(self.curves, fits, strict=True))

    @cached_property
    def forms(self) -> tuple[FormScore, ...]:
        """The four forms of saturation, scored."""
        return score_forms(self.curves)

    @cached_property
    def unified(self) -> Mapping[str, Mapping[str, UnifiedFit]]:
        """Model -> form -> fit, for models whose runs have parameters and tokens."""
        fits = {model: fit_unified_forms(curves) for model, curves in self._by_model.items()}
        return {model: forms for model, forms in fits.items() if forms}

    @cached_property
    def oracle(self) -> Mapping[str, LawFit]:
        """Model -> the law above each run's measured floor, for the same models."""
        return {model: fit_oracle_floor(self._by_model[model]) for model in self.unified}

    @property
    def _by_model(self) -> Mapping[str, list[TestTimeCurve]]:
        names = dict.fromkeys(curve.model for curve in self.curves)
        return {name: [curve for curve in self.curves if curve.model == name] for name in names}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FittedStudy:
    """Every fit to one study."""

    study: Study
    models: Mapping[str, FittedModel]
    test_time: FittedTestTime
    equivalence: tuple[ArchitectureEquivalence, ...]
    """Of each looped architecture."""

    def __repr__(self) -> str:
        return f"FittedStudy({self.study!r})"


def fit_study(study: Study, convention: str | None = None) -> FittedStudy:
    """Fits every law to `study`; a fit that the data cannot decide says so in its status."""
    models = study.models
    with ThreadPoolExecutor(THREADS) as threads:
        fitted = [threads.submit(fit_model, points, convention) for points in models.values()]
        equivalence = threads.submit(study_equivalence, list(models.values()))
        return FittedStudy(
            study=study,
            models=dict(zip(models, [one.result() for one in fitted], strict=True)),
            test_time=FittedTestTime(curves=study.curves),
            equivalence=equivalence.result(),
        )


def fit_models(
    study: Study, convention: str | None = None, axis: Axis | None = None
) -> Mapping[str, FittedModel]:
    """Each model of `study`. ``InputError`` if no run can be fitted."""
    study.require_points()
    return {name: fit_model(points, convention, axis) for name, points in study.models.items()}


def require_enough(
    study: Study, what: str, verdicts: Iterable[tuple[FitStatus | CurveVerdict, str]], otherwise: str = ""
) -> None:
    """``InputError`` if every fit has too few points, or `otherwise` if there is none.

    `verdicts` are each fit's verdict and sentence.
    """
    messages = []
    for verdict, message in verdicts:
        if verdict not in (FitStatus.TOO_FEW_POINTS, CurveVerdict.TOO_FEW_POINTS):
            return
        messages.append(message)
    raise InputError(f"sweep {study.name!r} has too few {what}: {messages[0] if messages else otherwise}")


def why_no_curve(study: Study, axis: Axis | None) -> str:
    """What runs lack that cannot lie on any isoFLOP curve."""
    models = study.models.values()
    if not any(np.isfinite(points.flops).any() for points in models):
        return (
            "no run has a FLOP budget; import each run's training FLOPs as the column flops (where they are "
            "unknown, three sizes that share 6 N D make a budget)"
        )
    if axis is Axis.MEAN_RECURRENCE and all(points.architecture == NO_LOOP for points in models):
        return f"no run has a loop; give --axis {Axis.PARAMETERS} or {Axis.TOKENS}"
    where = axis.words if axis else "mean recurrence, or parameters and no loop"
    return f"no run has both a FLOP budget and {where}"


def isoflop_of(points: ModelPoints, axis: Axis | None = None) -> IsoflopFit:
    """The curves of one model's runs that have a budget and a place on `axis` (default: the usual one)."""
    chosen = axis or points.usual_axis
    grid = points.select(points.along(chosen))
    return fit_isoflop(
        grid.spent,
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
    law_frontier = frontier(forms.mixture, points, shape, points.budgets, vertices) if shape else None
    sizes = size_frontier(forms.mixture, points)
    return FittedModel(
        points=points,
        shape=shape,
        isoflop=isoflop,
        training=training,
        forms=forms,
        frontier=law_frontier,
        sizes=sizes,
        routes=two_routes(points, isoflop, forms.chosen.fit if forms.chosen else None, law_frontier or sizes),
    )


def limit_error(curve: TestTimeCurve, fit: SaturationFit) -> float:
    """L_inf against the measured loss at T = mu_rec, relative (table 13); NaN where either is missing."""
    at = curve.test_recurrence == curve.mean_recurrence
    return float(abs(fit.L_inf / curve.loss[at][0] - 1)) if at.any() else float(np.nan)
