"""The unified law: truth recovered, forms told apart, refusals in words."""

import numpy as np
import pytest

from analysis import fit_unified_law
from analysis.dataset import TestTimeCurve
from analysis.testtime import fit_oracle_floor, stacked
from analysis.verdict import Status
from parcae.errors import InputError

from .points import grid


def test_unknown_forms_name_the_known_ones() -> None:
    t = np.arange(1.0, 25.0)
    with pytest.raises(InputError, match="gamma_one, learned_gamma"):
        fit_unified_law(t, t, t, t, t, form="logistic")


def curves(noise: float = 0.0, seed: int = 0) -> list[TestTimeCurve]:
    """36 runs at ten test recurrences, decaying as exp(-4 T / mu_rec)."""
    study, t = grid(), np.array([1.0, 2, 4, 6, 8, 10, 12, 16, 20, 24])
    generator = np.random.default_rng(seed)
    return [
        TestTimeCurve(
            run_id=str(i),
            model="m",
            mean_recurrence=study.mean_recurrence[i],
            tokens=study.tokens[i],
            effective_parameters=study.parameters[i],
            test_recurrence=t,
            loss=(study.loss[i] + 1.5 * np.exp(-4 * t / study.mean_recurrence[i]))
            * np.exp(noise * generator.standard_normal(len(t))),
        )
        for i in range(len(study.loss))
    ]


@pytest.mark.parametrize("form", ["gamma_one", "learned_gamma"])
def test_unified_law_recovers_the_truth(form: str) -> None:
    data = stacked(curves())
    fit = fit_unified_law(data["N"], data["D"], data["mu"], data["T"], data["loss"], form=form)
    assert fit.status is Status.CONVERGED
    assert (fit.E, fit.x, fit.y, fit.Z, fit.z, fit.gamma) == pytest.approx(
        (2.67, 0.928, 0.516, 1.5, 4, 1), rel=1e-6
    )
    assert fit.mean_error < 1e-9


def test_unified_forms_are_told_apart_and_the_oracle_knows_the_floor() -> None:
    found = curves(noise=0.001)
    data = stacked(found)
    errors = {
        form: fit_unified_law(
            data["N"], data["D"], data["mu"], data["T"], data["loss"], form=form, starts=200
        ).huber
        for form in ("gamma_one", "learned_gamma", "no_conditioning")
    }
    assert errors["learned_gamma"] <= errors["gamma_one"] * (1 + 1e-9)
    assert errors["no_conditioning"] > 3 * errors["gamma_one"]
    oracle = fit_oracle_floor(found)
    assert oracle.status is Status.CONVERGED
    assert oracle.mean_error < 0.01
