"""What a notebook imports: every public name, and how little comes with it."""

import subprocess
import sys

import pytest

HEAVY = ("typer", "rich", "matplotlib", "torch", "pandas", "duckdb", "submitit")


@pytest.mark.parametrize(
    "name",
    ["fit_training_law", "fit_coupled_law", "fit_saturation", "fit_unified_law", "fit_isoflop", "predict"],
)
def test_a_fit_is_one_light_import_away(name: str) -> None:
    script = f"""
import sys
from analysis import {name}
assert callable({name})
print(*(module for module in {HEAVY} if module in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not done.stdout.split()
