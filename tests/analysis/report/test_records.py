"""What became of a sweep's runs, from their folders to the report."""

import io
import json
from pathlib import Path

import numpy as np
import pypdf
import pytest

from analysis.data.study import read_sweep, study_of
from analysis.report.content.chapters.stability import stability_chapter
from analysis.report.content.chapters.sweep import sweep_chapter
from analysis.report.content.document import Chapter, Table
from analysis.report.content.study import study_report
from analysis.report.fitted_study import fit_study
from analysis.report.formats.typst import pdf
from analysis.report.records import Records, records_of
from sweeps.folders.paths import Study
from sweeps.store.tables import STEPS_READ
from tests.sweeps.studies import finish, plan

DIVERGED = {"step": 37, "loss": None, "state_norm": 180.0, "injection_norm": 1.1}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Four runs: two done, one of which wrote 1,000 lines of metrics, one diverged, one not started."""
    study = Study(tmp_path / "results.duckdb")
    long, short, bad, _ = plan(study)
    for spec in (long, short):
        finish(study, spec, loss=2.5)
    finish(study, bad, status="diverged", val_loss=None, losses={}, diverged_at=DIVERGED, steps=37)
    lines = [{"step": step, "loss": 5 / step, "injection_norm": 0.5} for step in range(1, 1001)]
    study.run(long.run_id).metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return study.db


@pytest.fixture
def records(database: Path) -> Records:
    return records_of(read_sweep(database, "s"), database)


def test_every_run_has_a_state_and_what_its_plan_and_result_say(records: Records) -> None:
    assert records.states == {"done": 2, "diverged": 1, "planned": 1}
    (bad,) = records.where("diverged").to_dict("records")
    assert (bad["diverged_at"], bad["injection"], bad["seconds"]) == (37, "diagonal", 1.0)
    assert np.isfinite(records.runs["learning_rate"]).all()
    assert records.last_result[-4:].isdigit()


def test_long_training_is_thinned_between_its_first_and_last_step(records: Records) -> None:
    by_run = [rows for _, rows in records.telemetry.groupby("run_id")]
    longest = max(by_run, key=len)
    steps = longest["step"].tolist()
    assert (steps[0], steps[-1]) == (1, 1000)
    assert STEPS_READ <= len(steps) <= STEPS_READ + 1
    np.testing.assert_allclose(longest["loss"], 5 / longest["step"])


def test_a_diverged_run_is_told_of_by_rate_and_injection(records: Records) -> None:
    chapter = stability_chapter(records)
    assert isinstance(chapter, Chapter)
    words = chapter.blocks[0]
    assert isinstance(words, str)
    assert words.startswith("1 run of 3 that ended diverged. Run `")
    assert "diagonal injection): diverged at step 37." in words
    (table,) = (block for block in chapter.blocks if isinstance(block, Table))
    assert [row[3:5] for row in table.rows] == [("2", "1")]


def test_the_report_says_what_ran_and_what_did_not(database: Path, records: Records) -> None:
    findings = fit_study(study_of(read_sweep(database, "s")))
    told = sweep_chapter(findings, records).blocks
    assert "4 runs: 2 done, 1 diverged and 1 planned" in str(told[0])
    (lost,) = (block for block in told if isinstance(block, Table) and block.name == "lost")
    assert [row[4] for row in lost.rows] == ["diverged"]
    drawn = pypdf.PdfReader(io.BytesIO(pdf(study_report(findings, records, "1 May 2026"))))
    first = drawn.pages[0].extract_text()
    assert "last result 1 May 2026" in first
