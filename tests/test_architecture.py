"""Rules of the tree that `lint-imports` cannot check: what starts light, small files, a true README."""

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import BIN

ROOT = Path(__file__).parent.parent
PACKAGES = ("parcae", "sweeps", "analysis")
MODULES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("command", ["parcae-sweep", "parcae-fit"])
def test_help_is_light_and_quick(command: str) -> None:
    module = {"parcae-sweep": "sweeps.cli", "parcae-fit": "analysis.cli"}[command]
    heavy = ["torch", "scipy", "matplotlib", "pandas", "numpy", "duckdb", "submitit"]
    script = f"""
import sys
from {module} import main
sys.argv = [{command!r}, "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code
loaded = [name for name in {heavy} if name in sys.modules]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([BIN / command, "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.5  # 0.1 s alone on a quiet machine; an import of torch alone takes more than this


def test_files_and_folders_stay_small() -> None:
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 400}
    assert not long
    files = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES)
    assert {folder: count for folder, count in files.items() if count > 12} == {}


def test_every_command_of_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in ("parcae-sweep", "parcae-fit"):
        described = subprocess.run(
            [BIN / command, "--help"], check=True, capture_output=True, text=True
        ).stdout
        for used in set(re.findall(rf"{command} ([a-z][a-z-]+)", readme)):
            assert re.search(rf"^\s+{used}\b", described, re.MULTILINE), f"{command} {used}"
    for target in set(re.findall(r"\bmake ([a-z]+)", readme)):
        assert f"{target}:" in (ROOT / "Makefile").read_text()


def test_every_file_of_the_readme_exists() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
