"""Studies of every kind that a report is written on."""

from dataclasses import replace

import numpy as np

from analysis.data.points import Study
from analysis.published import published_sweep
from analysis.report.content.document import Document
from analysis.report.content.study import study_report
from analysis.report.fitted_study import FittedStudy
from analysis.report.records import Records, records_of, records_of_study

from ..points import published_study


def only(keep: str) -> Study:
    """The published study's small model, cut down to a hard case."""
    study = published_study()
    points = study.models["small-140m"]
    n = len(points)
    cut = {
        "one run": points.select(np.arange(n) == 0),
        "three runs": points.select(np.arange(n) < 3),
        "one budget": points.select(points.flops == 4e18),
        "two budgets": points.select(points.flops <= 2e18),
        "equal losses": replace(points, loss=np.full(n, 3.0)),
        "monotone": replace(points, loss=3.5 - 0.05 * np.log(points.mean_recurrence)),
        "no tokens": replace(points, tokens=np.full(n, np.nan)),
        "no budgets": replace(points, flops=np.full(n, np.nan)),
        "a wild run": replace(points, loss=np.where(np.arange(n) == 9, 30.0, points.loss)),
    }[keep]
    return replace(study, name="mine", models={"small-140m": cut}, curves=())


def published_records() -> Records:
    return records_of(published_sweep(), None)


def document_of(findings: FittedStudy, records: Records | None = None) -> Document:
    return study_report(findings, records or records_of_study(findings.study))
