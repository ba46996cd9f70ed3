"""Scaling laws of looped models: fits, intervals, predictions, and the report.

    from analysis import fit_training_law, fit_coupled_law, fit_saturation, fit_unified_law
    from analysis import fit_isoflop, predict

Names are imported on first use, so that the command line starts without numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from parcae import __version__ as __version__

if TYPE_CHECKING:
    from analysis.data.study import load_study
    from analysis.fits.equivalence import fit_equivalence
    from analysis.fits.isoflop.fit import fit_isoflop
    from analysis.fits.saturation import fit_saturation
    from analysis.fits.training import fit_coupled_law, fit_training_law
    from analysis.fits.unified import fit_unified_law
    from analysis.prediction.predict import predict

__all__ = [
    "fit_coupled_law",
    "fit_equivalence",
    "fit_isoflop",
    "fit_saturation",
    "fit_training_law",
    "fit_unified_law",
    "load_study",
    "predict",
]

_HOMES = {
    "fit_coupled_law": "fits.training",
    "fit_equivalence": "fits.equivalence",
    "fit_isoflop": "fits.isoflop.fit",
    "fit_saturation": "fits.saturation",
    "fit_training_law": "fits.training",
    "fit_unified_law": "fits.unified",
    "load_study": "data.study",
    "predict": "prediction.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    value = getattr(import_module(f"analysis.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
