"""Scaling laws of looped models: fits, intervals, predictions, and the report.

    from analysis import fit_training_law, fit_coupled_law, fit_saturation, fit_unified_law
    from analysis import fit_isoflop, predict

Names are imported on first use, so that the command line starts without numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.dataset import load_study
    from analysis.equivalence import fit_equivalence
    from analysis.isoflop import fit_isoflop
    from analysis.prediction import predict
    from analysis.saturation import fit_saturation
    from analysis.testtime import fit_unified_law
    from analysis.training import fit_coupled_law, fit_training_law

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
    "fit_coupled_law": "training",
    "fit_equivalence": "equivalence",
    "fit_isoflop": "isoflop",
    "fit_saturation": "saturation",
    "fit_training_law": "training",
    "fit_unified_law": "testtime",
    "load_study": "dataset",
    "predict": "prediction",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    value = getattr(import_module(f"analysis.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
