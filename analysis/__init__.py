"""Scaling laws of looped models: fits, intervals, predictions, and the report.

    from analysis import load_study, predict, write_report
    from analysis import fit_training_law, fit_coupled_law, fit_saturation, fit_unified_law
    from analysis import fit_equivalence, fit_isoflop

Fits take plain arrays or a DataFrame. Results are frozen and have ``summary()`` for people and ``to_dict()``,
which is what ``--json`` prints. The laws are in `analysis.laws`. Names are imported on first use, so that the
command line starts without numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from parcae import __version__ as __version__

if TYPE_CHECKING:
    from analysis.data.points import ModelPoints, Study, TestTimeCurve
    from analysis.data.study import load_study
    from analysis.engine.fit import LawFit
    from analysis.engine.intervals import Interval
    from analysis.engine.verdict import FitStatus
    from analysis.fits.equivalence import EquivalenceFit, fit_equivalence
    from analysis.fits.isoflop.fit import fit_isoflop
    from analysis.fits.isoflop.optimum import Optimum
    from analysis.fits.isoflop.power_law import PowerLaw
    from analysis.fits.isoflop.result import IsoflopFit
    from analysis.fits.saturation import SaturationFit, fit_saturation
    from analysis.fits.training import TrainingFit, fit_coupled_law, fit_training_law
    from analysis.fits.unified import UnifiedFit, fit_unified_law
    from analysis.prediction.predict import Prediction, predict
    from analysis.report.figures import notebook as figures
    from analysis.report.write import write_report

__all__ = [
    "EquivalenceFit",
    "FitStatus",
    "Interval",
    "IsoflopFit",
    "LawFit",
    "ModelPoints",
    "Optimum",
    "PowerLaw",
    "Prediction",
    "SaturationFit",
    "Study",
    "TestTimeCurve",
    "TrainingFit",
    "UnifiedFit",
    "figures",
    "fit_coupled_law",
    "fit_equivalence",
    "fit_isoflop",
    "fit_saturation",
    "fit_training_law",
    "fit_unified_law",
    "load_study",
    "predict",
    "write_report",
]

_HOMES = {
    "EquivalenceFit": "fits.equivalence",
    "FitStatus": "engine.verdict",
    "Interval": "engine.intervals",
    "IsoflopFit": "fits.isoflop.result",
    "LawFit": "engine.fit",
    "ModelPoints": "data.points",
    "Optimum": "fits.isoflop.optimum",
    "PowerLaw": "fits.isoflop.power_law",
    "Prediction": "prediction.predict",
    "SaturationFit": "fits.saturation",
    "Study": "data.points",
    "TestTimeCurve": "data.points",
    "TrainingFit": "fits.training",
    "UnifiedFit": "fits.unified",
    "fit_coupled_law": "fits.training",
    "fit_equivalence": "fits.equivalence",
    "fit_isoflop": "fits.isoflop.fit",
    "fit_saturation": "fits.saturation",
    "fit_training_law": "fits.training",
    "fit_unified_law": "fits.unified",
    "load_study": "data.study",
    "predict": "prediction.predict",
    "write_report": "report.write",
}


def __getattr__(name: str) -> Any:
    if name == "figures":
        return import_module("analysis.report.figures.notebook")
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    value = getattr(import_module(f"analysis.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
