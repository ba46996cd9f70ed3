"""Commands in the documents run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from tests.conftest import Command

DOCS = Path(__file__).parents[1] / "docs"
PLANS = re.findall(r"^    (parcae-sweep plan .*)$", (DOCS / "studies.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", PLANS)
def test_plans_in_the_page_on_studies_run(line: str, command: Command, tmp_path: Path) -> None:
    text = (DOCS / "studies.md").read_text()
    (tmp_path / "study.toml").write_text(
        text[text.index("    # study.toml") : text.index("    parcae-sweep")]
    )
    done = command(*shlex.split(line), "--json")
    assert done.code == 0, done.err
    assert len(done.json["runs"]) >= 2
