"""CONTRIBUTING.md, followed to the letter in a copy of the code."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STEP = re.compile(
    r"^(?:New file|In) `([^`]+)`(?:, (after|before) `([^`]+)`)?:\n\n```python\n(.*?)```", re.M | re.S
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("parcae", "sweeps", "analysis"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def follow(section: str, copy: Path) -> None:
    """Carries out the steps of one section."""
    text = (ROOT / "CONTRIBUTING.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    steps = STEP.findall(text)
    assert len(steps) == text.count("```python")
    for name, where, anchor, code in steps:
        if not where:
            (copy / name).write_text(code)
            continue
        before = (copy / name).read_text()
        assert before.count(f"{anchor}\n") == 1, anchor
        new = f"{anchor}\n{code}" if where == "after" else f"{code}{anchor}\n"
        (copy / name).write_text(before.replace(f"{anchor}\n", new))


def run(copy: Path, module: str, *arguments: str) -> str:
    """What the command of a package prints, from the copy."""
    script = f"import sys; from {module}.cli import main; sys.argv[0] = 'x'; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_law(copy: Path) -> None:
    follow("A new law", copy)
    compared = json.loads(run(copy, "analysis", "compare", "--sweep", "published", "--json"))
    for forms in compared["models"].values():
        assert "size_only" in {form["form"] for form in forms}
    assert "size_only" in run(copy, "analysis", "compare", "--sweep", "published")


def test_a_new_injection(copy: Path) -> None:
    follow("A new injection", copy)
    plan = ("plan", "--model", "nano-scaled", "--flops", "1e8", "--recurrences", "1,2", "--json")
    planned = json.loads(run(copy, "sweeps", *plan))
    assert [run["model"] for run in planned["runs"]] == ["nano-scaled"] * 2
    run(copy, "sweeps", "submit", "--cluster", "local")
    status = json.loads(run(copy, "sweeps", "status", "--json"))
    assert status["counts"] == {"done": 2}
    script = """
from parcae.flops import parameter_count
from parcae.model.transformer import LoopedTransformer
from parcae.presets import preset
model = preset("nano-scaled").model
assert sum(p.numel() for p in LoopedTransformer(model).parameters()) == parameter_count(model)
"""
    path = {**os.environ, "PYTHONPATH": str(copy)}
    subprocess.run([sys.executable, "-P", "-c", script], check=True, env=path)
    for planned_run in planned["runs"]:
        result = json.loads((copy / "runs" / planned_run["run_id"] / "result.json").read_text())
        assert result["parameters"] == planned_run["parameters"]
        assert result["injection_norm"] == 1
