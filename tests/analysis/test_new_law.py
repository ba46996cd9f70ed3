"""The recipe of docs/science.md, followed word for word: a law in one file takes part everywhere."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from analysis.laws import FORMS
from analysis.report.content.study import study_report
from analysis.report.fitted_study import FittedStudy, fit_study
from analysis.report.json_output import equivalence_json
from analysis.report.records import records_of_study

from .points import published_study

PAGE = (Path(__file__).parents[2] / "docs" / "science.md").read_text()
RECIPE = PAGE[PAGE.index("## Adding a law") : PAGE.index("## Sources")]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the recipe, alone in a folder."""
    file = tmp_path_factory.mktemp("law") / "size_only.py"
    file.write_text(dedent(RECIPE[RECIPE.index('    """') : RECIPE.index("Saved as")]))
    return file


@pytest.fixture(scope="module")
def findings(file: Path) -> Iterator[FittedStudy]:
    """The published small model, fitted after the file was imported."""
    spec = spec_from_file_location("size_only", file)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module_from_spec(spec))
    study = published_study()
    yield fit_study(replace(study, models={"small-140m": study.models["small-140m"]}, curves=()))
    FORMS.pop("size_only")


def run(file: Path, command: str) -> Any:
    """The JSON that a command of the recipe prints of the small model."""
    assert re.search(rf"^    python {file.name} {command} --sweep published", RECIPE, re.MULTILINE)
    arguments = [file.name, command, "--sweep", "published", "--json"]
    done = subprocess.run([sys.executable, *arguments], cwd=file.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["models"]["small-140m"]


def test_it_is_compared(file: Path) -> None:
    rows = {row["form"]: row for row in run(file, "compare")}
    assert rows["size_only"]["equation"] == "L = E + X N^-x"
    assert rows["size_only"]["fitted"] == rows["training"]["fitted"] == 30


def test_it_is_in_json(file: Path) -> None:
    forms = {row["form"]: row for row in run(file, "training-law")["forms"]}
    assert forms["size_only"]["source"] == "Kaplan et al. arXiv 2001.08361"
    assert forms["size_only"]["weight"] == 0


def test_it_is_in_the_report(findings: FittedStudy) -> None:
    document = study_report(findings, records_of_study(findings.study))
    (forms_table,) = (table for table in document.tables if table.name == "forms")
    assert "size-only" in [row[1] for row in forms_table.rows]
    forms = equivalence_json(findings.equivalence)["architectures"]["diagonal"]["forms"]
    assert "size_only" in [form["form"] for form in forms]
