"""The list of faults keeps up with the code, and every fault is one."""

import ast

import pytest

from tests.mutants.run import ROOT, Mutant, planted, report

MUTANTS = planted()


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{m.file}-{i}" for i, m in enumerate(MUTANTS)])
def test_a_fault_can_be_planted(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(text.replace(mutant.old, mutant.new)))
    for test in mutant.tests:
        assert (ROOT / test.split("::")[0]).exists()


def test_the_report_counts_and_names_what_survived() -> None:
    one, other = MUTANTS[0], next(mutant for mutant in MUTANTS if mutant.area != MUTANTS[0].area)
    text = report([(one, True), (one, False), (other, True)], 120.0)
    lines = [line.split() for line in text.splitlines()]
    assert [one.area, "2", "1", "50", "%"] in lines
    assert ["all", "3", "2", "67", "%"] in lines
    assert text.count(one.file) == 1
