from pathlib import Path

import pytest

from sweeps.folders.paths import Study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study in an empty folder."""
    return Study(tmp_path / "results.duckdb")
