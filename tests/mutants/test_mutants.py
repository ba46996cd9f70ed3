"""The faults keep up with the code: each can be planted, and each is one."""

import ast
from pathlib import Path

from tests.mutants.blind import blind_mutants
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.named import FAULTS, named_mutants
from tests.mutants.parts import PARTS, place_of
from tests.mutants.run import report


def same(text: str, file: str) -> bool:
    return ast.dump(ast.parse(text)) == ast.dump(ast.parse((ROOT / file).read_text()))


def test_every_fault_can_be_planted_and_has_tests() -> None:
    named, blind = list(named_mutants()), list(blind_mutants(seed=1, each=3))
    assert len(named) == len(FAULTS)
    assert {mutant.part for mutant in blind} == set(PARTS)
    for mutant in named + blind:
        assert not same(mutant.text, mutant.file), mutant
        for test in place_of(mutant.part, mutant.file).tests:
            assert (ROOT / test).exists(), test


def test_the_draw_is_that_of_its_seed() -> None:
    first, again, other = (list(blind_mutants(seed=seed, each=2)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_report_counts_and_names_what_survived() -> None:
    one, other = (Mutant(part=p, file=f"{p}.py", text="", what="a  ->  b") for p in ("rows", "JSON"))
    outcomes = [("named", one, True), ("rows", one, True), ("rows", one, False), ("JSON", other, True)]
    text = report(outcomes, 120.0, 7)
    lines = [line.split() for line in text.splitlines()]
    assert ["named", "1", "1", "100", "%"] in lines
    assert ["rows", "2", "1", "50", "%"] in lines
    assert ["all", "blind", "3", "2", "67", "%"] in lines
    assert text.count("rows.py: a  ->  b") == 1
    assert "seed 7" in text
    assert Path(ROOT / "Makefile").read_text().count("\nmutants:") == 1
