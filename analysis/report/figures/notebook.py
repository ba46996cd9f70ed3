"""The report's figures for a notebook: `from analysis import figures; figures.isoflop(study, ax=ax)`.

Each takes a study (as ``load_study`` gives it, fitted on first use) or what was fitted already, draws on `ax`
or on a new figure, and returns the axes. `model` is needed where the study has several.
"""

from functools import lru_cache

from matplotlib.axes import Axes

from analysis.data.points import Study
from analysis.report.figures import frontier as frontier_figure
from analysis.report.figures import isoflop as isoflop_figure
from analysis.report.figures import law as law_figure
from analysis.report.figures import power_laws as power_law_figure
from analysis.report.figures import routes as routes_figure
from analysis.report.figures import test_time as test_time_figure
from analysis.report.figures.files import write_figure as write_figure
from analysis.report.fitted_study import FittedModel, FittedStudy, fit_study
from parcae.errors import InputError

Fitted = Study | FittedStudy


def isoflop(study: Fitted, model: str | None = None, *, tokens: bool = False, ax: Axes | None = None) -> Axes:
    """A curve for each budget, along what was varied or along `tokens`, with the optima."""
    return isoflop_figure.isoflop_curves(_model(study, model).isoflop, ax, tokens=tokens)


def power_law(study: Fitted, *, tokens: bool = False, ax: Axes | None = None) -> Axes:
    """Every model's optima over its budgets, of what was varied or of `tokens`, with the power laws."""
    fits = {name: found.isoflop for name, found in _fitted(study).models.items()}
    return power_law_figure.optima(fits, ax, tokens=tokens)


def contours(study: Fitted, model: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Lines of equal loss by the fitted law, with the runs and the law's own optimum."""
    return law_figure.contours(_model(study, model), ax)


def residuals(study: Fitted, model: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Predicted over measured loss, in percent."""
    return law_figure.residuals(_model(study, model), ax)


def frontier(study: Fitted, model: str | None = None, *, ax: Axes | None = None) -> Axes:
    """The best loop's loss for each budget against no loop."""
    return frontier_figure.frontier_losses(_model(study, model), ax)


def gain(study: Fitted, *, ax: Axes | None = None) -> Axes:
    """How far each model's best loop lies below no loop, in percent."""
    return frontier_figure.gain(_fitted(study).models, ax)


def exponents(study: Fitted, *, tokens: bool = False, ax: Axes | None = None) -> Axes:
    """Each route to the exponents, with intervals."""
    which = "tokens" if tokens else "mean_recurrence"
    shown = {name: getattr(found.routes, which) for name, found in _fitted(study).models.items()}
    return routes_figure.exponents(shown, ax)


def saturation(study: Fitted, run_id: str | None = None, *, ax: Axes | None = None) -> Axes:
    """One run's losses over test recurrences; the first run unless named."""
    pairs = _fitted(study).test_time.saturation
    for curve, fit in pairs:
        if run_id in (None, curve.run_id):
            return test_time_figure.saturation_curve(curve, fit, ax)
    known = ", ".join(curve.run_id for curve, _ in pairs) or "none"
    raise InputError(f"no run {run_id!r} was measured at several test recurrences; there are {known}")


def _fitted(study: Fitted) -> FittedStudy:
    return study if isinstance(study, FittedStudy) else _fit_once(study)


@lru_cache(maxsize=4)
def _fit_once(study: Study) -> FittedStudy:
    return fit_study(study)


def _model(study: Fitted, model: str | None) -> FittedModel:
    models = _fitted(study).models
    if model is None and len(models) == 1:
        return next(iter(models.values()))
    if model is None or model not in models:
        what = "the study has several models" if model is None else f"there is no model {model!r}"
        raise InputError(f"{what}; name one of {', '.join(models) or 'none'}")
    return models[model]
