"""`make mutants`: plants each fault of `planted.toml` in a copy of the packages and runs the tests of its file.

A fault that no test notices says that a test is missing. The score is written to bench/results/mutants.txt.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "mutants.txt"
COPIED = ("parcae", "sweeps", "analysis", "tests", "docs", "README.md", "pyproject.toml")
SECONDS = 300
"""A fault that makes the tests take longer than this is noticed."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault: the text `old`, which is in the file exactly once, becomes `new`."""

    area: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, root: Path) -> str:
        """Changes the file below `root`; returns what it was."""
        before = (root / self.file).read_text()
        (root / self.file).write_text(before.replace(self.old, self.new))
        return before

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}: {old}  ->  {new}"


def planted() -> list[Mutant]:
    """The list. Tests are those of the longest path in `tests` that the file's own path begins with."""
    listed = tomllib.loads((Path(__file__).parent / "planted.toml").read_text())
    tests: dict[str, list[str]] = listed["tests"]
    mutants = []
    for area, entries in listed["faults"].items():
        for entry in entries:
            path = max((p for p in tests if entry["file"].startswith(p)), key=len)
            mutants.append(Mutant(area=area, tests=tuple(entry.get("tests", tests[path])), **_texts(entry)))
    return mutants


def _texts(entry: dict[str, str]) -> dict[str, str]:
    return {name: entry[name] for name in ("file", "old", "new")}


def passes(copy: Path, tests: Sequence[str]) -> bool:
    """Whether `tests` pass on the packages in `copy`."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    assert done.returncode in (0, 1, 2), done.stdout.decode() + done.stderr.decode()
    return done.returncode == 0


def report(outcomes: Sequence[tuple[Mutant, bool]], seconds: float) -> str:
    """The score of each area, and every fault that nothing noticed."""
    lines = [f"{'area':<12}{'planted':>8}{'caught':>8}{'score':>8}"]
    for area in [*dict.fromkeys(mutant.area for mutant, _ in outcomes), "all"]:
        found = [caught for mutant, caught in outcomes if area in (mutant.area, "all")]
        lines.append(f"{area:<12}{len(found):>8}{sum(found):>8}{100 * sum(found) / len(found):>6.0f} %")
    survivors = [f"  {mutant}" for mutant, caught in outcomes if not caught]
    noticed = ["", "Not noticed:", *survivors] if survivors else []
    return "\n".join([*lines, *noticed, "", f"{seconds / 60:.0f} minutes on one core", ""])


def main() -> None:
    """Plants all faults, or those whose file or area has one of the words given."""
    words = sys.argv[1:]
    mutants = [m for m in planted() if not words or any(w in f"{m.area} {m}" for w in words)]
    started, outcomes = time.monotonic(), list[tuple[Mutant, bool]]()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        for tests in dict.fromkeys(mutant.tests for mutant in mutants):
            assert passes(copy, tests), f"without any fault these fail: {' '.join(tests)}"
        for mutant in mutants:
            before = mutant.plant(copy)
            caught = not passes(copy, mutant.tests)
            (copy / mutant.file).write_text(before)
            outcomes.append((mutant, caught))
            print("caught  " if caught else "SURVIVED", mutant, flush=True)
    text = report(outcomes, time.monotonic() - started)
    print(text)
    if not words:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
