"""Rules of the tree: dependencies point one way, the commands start light, the README tells the truth."""

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import BIN

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "parcae": {"parcae"},
    "sweeps": {"parcae", "sweeps"},
    "analysis": {"parcae", "sweeps", "analysis"},
}
ABOVE_ALL = "sweeps/cli/"  # the command modules, which also ask analysis
MODULES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dependencies_point_one_way(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    package = path.relative_to(ROOT).parts[0]
    ours = {module.split(".")[0] for module in imports(path)} & MAY_IMPORT.keys()
    assert name.startswith(ABOVE_ALL) or ours <= MAY_IMPORT[package]
    assert package != "analysis" or "torch" not in {module.split(".")[0] for module in imports(path)}


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


def test_files_stay_small() -> None:
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 600}
    assert not long


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
