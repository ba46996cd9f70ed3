"""`make mutants`: plants one fault after another and runs the tests of the part that it is in.

A fault that no test notices says that a test is missing. The score is written to bench/results/mutants.txt.
Each fault is planted in the functions of a forked process, so no file changes and nothing is imported twice.
Arguments choose among the faults: those whose part or text holds one of the words. `--seed` draws others.
"""

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import CodeType, FunctionType

from tests.mutants.blind import blind_mutants
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.named import named_mutants
from tests.mutants.parts import Place, package_tests, place_of

RESULTS = ROOT / "bench" / "results" / "mutants.txt"
EACH = 7
"""Blind faults of a part."""
SECONDS = 120
"""A test that a fault makes longer than this is one that fails."""
NOT_PLANTED = 99


def plant(mutant: Mutant) -> bool:
    """Gives every function of the mutant's file the code that it has there; whether any changed."""
    path = str(ROOT / mutant.file)
    codes = dict(_codes(compile(mutant.text, path, "exec")))
    changed = False
    for function in gc.get_objects():
        if not isinstance(function, FunctionType) or function.__code__.co_filename != path:
            continue
        code = codes.get(function.__code__.co_qualname)
        if code is not None and code.co_freevars == function.__code__.co_freevars:
            changed |= _differ(function.__code__, code)
            function.__code__ = code
    return changed


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            yield from _codes(constant)


def _differ(one: CodeType, other: CodeType) -> bool:
    """Whether two versions of a function do anything differently; lines and names of files do not count."""
    plain = [[c for c in code.co_consts if not isinstance(c, CodeType)] for code in (one, other)]
    inner = zip(_codes(one), _codes(other), strict=False)
    return (
        one.co_code != other.co_code
        or repr(plain[0]) != repr(plain[1])
        or one.co_names != other.co_names
        or any(_differ(a, b) for (_, a), (_, b) in inner)
    )


def passes(place: Place, tests: tuple[str, ...], mutant: Mutant | None = None) -> bool:
    """Whether `tests` pass, with a fault planted in `place`, in a process of their own."""
    process = os.fork()
    if not process:
        os._exit(_tested(place, tests, mutant))
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code != NOT_PLANTED, f"no function has changed: {mutant}"
    return code == 0


def _tested(place: Place, tests: tuple[str, ...], mutant: Mutant | None) -> int:
    import pytest

    from tests.analysis.report.conftest import fitted_study

    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    if mutant is not None and not plant(mutant):
        return NOT_PLANTED
    if not place.shown:
        fitted_study.cache_clear()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", f"timeout={SECONDS}"]
    return int(pytest.main([*options, *tests]))


def noticed(mutant: Mutant, sound: set[tuple[str, ...]]) -> bool:
    """Whether the tests of its place notice the fault, or else those of its package. `sound` ones pass."""
    place = place_of(mutant.part, mutant.file)
    for tests in (place.tests, (package_tests(mutant.file),)):
        if tests not in sound:
            assert passes(place, tests), f"without any fault these fail: {' '.join(tests)}"
            sound.add(tests)
        if not passes(place, tests, mutant):
            return True
    return False


def prepare(mutants: Sequence[Mutant]) -> None:
    """Loads what the faults are in, and fits the study that is shown, once for all."""
    from tests.analysis.report.conftest import MODEL, fitted_study

    for file in {mutant.file for mutant in mutants}:
        import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    if any(place_of(mutant.part, mutant.file).shown for mutant in mutants):
        fitted = fitted_study()
        assert fitted.models[MODEL].robustness.variants
        curves = fitted.test_time
        assert all((curves.saturation, curves.forms, curves.unified, curves.oracle))


def report(outcomes: Sequence[tuple[str, Mutant, bool]], seconds: float, seed: int) -> str:
    """The score of the named faults and of each part's blind ones, and every fault that nothing noticed."""
    lines = [f"Faults planted one at a time; blind ones drawn with seed {seed}.", ""]
    lines.append(f"{'faults':<16}{'planted':>8}{'caught':>8}{'score':>8}")
    groups = [group for group, _, _ in outcomes]
    for group in [*dict.fromkeys(groups), "all blind"]:
        found = [c for g, _, c in outcomes if g == group or (group == "all blind" and g != "named")]
        if found:
            lines.append(f"{group:<16}{len(found):>8}{sum(found):>8}{100 * sum(found) / len(found):>6.0f} %")
    survivors = [f"  {mutant}" for _, mutant, caught in outcomes if not caught]
    if survivors:
        lines += ["", "Not noticed:", *survivors]
    return "\n".join([*lines, "", f"{seconds / 60:.0f} minutes, one process", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=EACH)
    given = parser.parse_args()
    mutants = [("named", mutant) for mutant in named_mutants()]
    mutants += [(mutant.part, mutant) for mutant in blind_mutants(given.seed, given.each)]
    mutants = [(g, m) for g, m in mutants if not given.words or any(w in f"{g} {m}" for w in given.words)]
    sys.dont_write_bytecode = True
    started, outcomes = time.monotonic(), list[tuple[str, Mutant, bool]]()
    prepare([mutant for _, mutant in mutants])
    sound: set[tuple[str, ...]] = set()
    for group, mutant in mutants:
        caught = noticed(mutant, sound)
        outcomes.append((group, mutant, caught))
        print("caught  " if caught else "SURVIVED", group, mutant, flush=True)
        text = report(outcomes, time.monotonic() - started, given.seed)
        if not given.words:
            RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    main()
