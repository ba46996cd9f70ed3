"""The parts of the code that faults are planted in, and the tests that are to notice them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.mutants.mutant import ROOT

STORE = "tests/sweeps/store"
ROWS = (f"{STORE}/test_rows.py", f"{STORE}/test_rows_by_hand.py")
COLLECT = (*ROWS, f"{STORE}/test_collect.py")
REPORT = "tests/analysis/report"
FITS = "tests/analysis/fits"
JSON = r"^(to_dict|to_list|finite)$"
TABLES = r"^(summary|lines|accuracy|believed|over_budgets|_power_law_text|_corrected_cells|_table_11)$"


@dataclass(frozen=True)
class Place:
    """Functions whose name matches `functions` in the files that match the glob `files`."""

    files: str
    tests: tuple[str, ...]
    functions: str = ""
    shown: bool = False
    """Whether the functions show what was fitted, so that a fault in them changes no fit."""

    def paths(self) -> Iterator[str]:
        for path in sorted(ROOT.glob(self.files)):
            yield str(path.relative_to(ROOT))

    def has(self, function: str) -> bool:
        return bool(re.search(self.functions, function))


def _shown(files: str, test: str, functions: str = "") -> Place:
    return Place(files, (f"{REPORT}/{test}.py",), functions, shown=True)


def _fits(files: str, *tests: str, functions: str = "") -> Place:
    return Place(files, tests, functions)


PARTS: dict[str, tuple[Place, ...]] = {
    "rows": (Place("sweeps/store/rows.py", ROWS),),
    "store": (Place("sweeps/store/tables.py", COLLECT), Place("sweeps/store/database.py", COLLECT)),
    "collect": (Place("sweeps/store/collect.py", COLLECT),),
    "import": (
        Place(
            "sweeps/store/importing/*.py", (f"{STORE}/test_import.py", f"{STORE}/test_plausibility.py", *ROWS)
        ),
    ),
    "JSON": (
        _shown("analysis/report/json_output.py", "test_json"),
        _shown("analysis/[!r]*/**/*.py", "test_json", JSON),
    ),
    "tables": (
        _shown("analysis/report/*_text.py", "test_tables"),
        _shown("analysis/report/headlines.py", "test_tables"),
        _shown("analysis/engine/formatting.py", "test_tables"),
        _shown("analysis/[!r]*/**/*.py", "test_tables", TABLES),
    ),
    "figures": (_shown("analysis/report/figures/*.py", "test_figures"),),
    "fits": (
        _fits("analysis/laws/*.py", "tests/analysis/laws", functions="^(?!exponent$|rate$|register$)"),
        _fits("analysis/engine/many_starts.py", f"{FITS}/test_training.py"),
        _fits("analysis/engine/fit.py", f"{FITS}/test_training.py"),
        _fits("analysis/fits/training.py", f"{FITS}/test_training.py"),
        _fits("analysis/fits/isoflop/*.py", f"{FITS}/test_isoflop.py"),
        _fits("analysis/fits/saturation.py", f"{FITS}/test_saturation.py"),
        _fits("analysis/fits/floor.py", f"{FITS}/test_saturation.py"),
        _fits("analysis/fits/unified.py", f"{FITS}/test_unified.py"),
        _fits("analysis/fits/equivalence.py", f"{FITS}/test_equivalence.py"),
        _fits("analysis/fits/forms.py", f"{REPORT}/test_json.py"),
        _fits("analysis/prediction/frontier.py", f"{REPORT}/test_json.py"),
        _fits("analysis/data/*.py", "tests/analysis/data"),
    ),
}


def place_of(part: str, file: str) -> Place:
    """The first place of `part` that `file` is in."""
    return next(place for place in PARTS[part] if file in place.paths())


def package_tests(file: str) -> str:
    """All tests of the package that `file` is in."""
    return f"tests/{file.partition('/')[0]}"
