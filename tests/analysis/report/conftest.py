"""One study with everything in it, fitted once: what the texts, tables, figures and JSON must agree with."""

from dataclasses import replace
from functools import cache

import pytest

from analysis.report.content.document import Document
from analysis.report.fitted_study import FittedModel, FittedStudy, FittedTestTime, fit_study

from ..fits.test_unified import curves
from ..points import published_study
from .studies import document_of, published_records

MODEL = "small-140m"


@cache
def fitted_study() -> FittedStudy:
    """The published small model, and 36 runs of it with losses at ten test recurrences."""
    study = published_study()
    named = tuple(replace(curve, model=MODEL) for curve in curves(noise=0.001))
    return fit_study(replace(study, models={MODEL: study.models[MODEL]}, curves=named))


@pytest.fixture(scope="session")
def fitted() -> FittedStudy:
    return fitted_study()


@pytest.fixture(scope="session")
def model(fitted: FittedStudy) -> FittedModel:
    return fitted.models[MODEL]


@pytest.fixture(scope="session")
def test_time(fitted: FittedStudy) -> FittedTestTime:
    return fitted.test_time


@pytest.fixture(scope="session")
def findings() -> FittedStudy:
    """Both published models."""
    return fit_study(published_study())


@pytest.fixture(scope="session")
def document(findings: FittedStudy) -> Document:
    """The report on the published study."""
    return document_of(findings, published_records())
