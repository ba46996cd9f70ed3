"""Formulas as the laws spell them, typeset."""

import pytest

from analysis.laws import EQUIVALENCE, FORMS, ORACLE_FLOOR, SATURATION, UNIFIED, Law
from analysis.report.formats.typst import typst_prose
from analysis.report.mathematics import LATEX, TYPST, bare, prose, typeset

EVERY = [*FORMS.values(), *SATURATION.values(), *UNIFIED.values(), ORACLE_FLOOR, EQUIVALENCE]


@pytest.mark.parametrize(
    ("formula", "latex", "typst"),
    [
        ("E + X N^-x", "E + X N^{-x}", "E + X N^(-x)"),
        ("(Y D^-y)^(1/k)", "(Y D^{-y})^{1/k}", "(Y D^(-y))^(1\\/k)"),
        ("1.6e19", "1.6\\times 10^{19}", "1.6 times 10^(19)"),
        ("1e-7", "10^{-7}", "10^(-7)"),
        ("mu_rec^* = 4", "\\mu_{\\mathrm{rec}}^{\\ast } = 4", 'mu_("rec")^(*) = 4'),
        ("L_inf exp(-z T)", "L_{\\infty} \\exp(-z T)", "L_(infinity) exp(-z T)"),
        ("Abar < 1", "\\bar{A} < 1", "overline(A) < 1"),
        ("T <= mu", "T \\leq  \\mu", "T <= mu"),
    ],
)
def test_formulas(formula: str, latex: str, typst: str) -> None:
    assert typeset(formula, LATEX) == latex
    assert typeset(formula, TYPST) == typst


@pytest.mark.parametrize("law", EVERY, ids=lambda law: law.name)
def test_every_law_is_set_by_typst(law: Law) -> None:
    import typst

    page = f"$ {typeset(law.equation, TYPST)} $".encode()
    assert isinstance(typst.Compiler(page).compile(format="pdf"), bytes)


def test_marks_after_a_formula_are_kept() -> None:
    assert typst_prose("at $4e18$; `run`(a) [b]") == ('at #box[$4 times 10^(18)$];; #raw("run");(a) \\[b\\]')


def test_prose_hands_on_its_parts() -> None:
    words = prose("at $4e18$ FLOPs `run`, 100 %", str.upper, lambda f: f"<{f}>", lambda c: f"[{c}]")
    assert words == "AT <4e18> FLOPS [run], 100 %"
    assert bare("at $4e18$ `run`") == "at 4e18 run"
