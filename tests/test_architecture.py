"""Rules of the tree that `lint-imports` cannot check: what starts light, small files, a true README."""

import os
import re
import resource
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest

import parcae
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
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([BIN / command, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.8  # processor time: 0.2 s on a quiet machine; an import of torch takes over 1 s


def test_files_and_folders_stay_small() -> None:
    long = {str(p.relative_to(ROOT)): n for p in MODULES if (n := len(p.read_text().splitlines())) > 400}
    assert not long
    files = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES)
    assert {folder: count for folder, count in files.items() if count > 12} == {}


def test_every_command_that_a_page_names_exists() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(page.read_text() for page in pages)
    for command in ("parcae-sweep", "parcae-fit"):
        described = subprocess.run(
            [BIN / command, "--help"], check=True, capture_output=True, text=True
        ).stdout
        for used in set(re.findall(rf"{command} ([a-z][a-z-]+)", text)):
            assert re.search(rf"^\s+{used}\b", described, re.MULTILINE), f"{command} {used}"
    for target in set(re.findall(r"(?:^    |`)make ([a-z]+)", text, re.MULTILINE)):
        assert f"{target}:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    named = re.findall(r"(?<!New file )`((?:parcae|sweeps|analysis|tests)/[\w./]+)`", text)
    missing = [name for name in (*links, *named) if not (ROOT / name).exists()]
    assert missing == []


def test_the_shell_completes_commands_and_choices() -> None:
    for typed, expected in (("st", ["status"]), ("submit --cluster ", ["auto", "slurm", "local"])):
        words = f"parcae-sweep {typed}"
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        asked["_PARCAE_SWEEP_COMPLETE"] = "complete_bash"
        done = subprocess.run(
            [BIN / "parcae-sweep"], check=True, capture_output=True, text=True, env={**os.environ, **asked}
        )
        assert done.stdout.split() == expected


@pytest.mark.parametrize("command", ["parcae-sweep", "parcae-fit"])
def test_the_version_is_that_of_the_package(command: str) -> None:
    done = subprocess.run([BIN / command, "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"parcae-lab {parcae.__version__}\n"
    assert parcae.__version__ == metadata.version("parcae-lab")
