"""Whether a minimum means anything: the verdict on a fit, in a word and a sentence."""

from enum import StrEnum

import numpy as np
from scipy.special import stdtrit

from analysis.engine.solver import Problem
from analysis.engine.validation import NAMES
from analysis.laws import Array, Law, Mask

SINGULAR = 1e-9
"""A normalised Jacobian with a smaller singular value than this is rank-deficient in floating point."""
CONSTANT = 0.05
"""A term that varies by less than this fraction over the points is as good as constant (assumption)."""
NORMAL_LIMIT = 1.96
"""Half width of a normal distribution's 95 % interval, in standard deviations."""


class FitStatus(StrEnum):
    """The verdict on a fit. Only `converged` and `at a bound` carry parameters.

    The last three are verdicts on losses over test recurrences (`analysis.fits.floor`).
    """

    CONVERGED = "converged"
    AT_A_BOUND = "at a bound"
    NOT_IDENTIFIED = "not identified"
    TOO_FEW_POINTS = "too few points"
    TURNS_UP = "turns up"
    NO_FLOOR = "no floor in sight"
    LEVEL = "floor reached, not exponentially"


def verdict(problem: Problem, best: Array, residuals: Array, weights: Array) -> tuple[FitStatus, str, Mask]:
    """FitStatus, sentence, and which parameters (p,) mean something."""
    known, at_bound, falls = _at_bounds(problem, best, weights > 0)
    nothing = np.zeros(len(best), dtype=bool)
    if not falls:
        together = " or ".join(NAMES.get(name, name) for name in problem.law.variables)
        return (
            FitStatus.NOT_IDENTIFIED,
            f"the losses do not fall with {together}, so a constant fits them as well",
            nothing,
        )
    undecided = _undecided(problem, best, residuals, weights, known)
    if undecided:
        together = " and ".join(undecided)
        return (
            FitStatus.NOT_IDENTIFIED,
            f"the points do not decide {together}: other values fit as well",
            nothing,
        )
    if at_bound:
        return FitStatus.AT_A_BOUND, "; ".join(at_bound), known
    return (
        FitStatus.CONVERGED,
        "the minimum is inside all bounds and the points decide every parameter",
        known,
    )


def _at_bounds(problem: Problem, best: Array, used: Mask) -> tuple[Mask, list[str], bool]:
    """Which parameters (p,) keep a meaning, a sentence for each bound reached, and whether any term is left
    that has exponents."""
    law, names = problem.law, problem.law.parameters
    columns = problem.columns(best[None, len(law.coefficients) :])[0][0][:, used]
    varies = np.ptp(columns, axis=1) > CONSTANT * columns.max(axis=1)
    known, sentences, falls = np.ones(len(names), dtype=bool), [], False
    constants = [i for i, term in enumerate(t for t in law.terms if t.free) if not term.exponents]
    index, exponent = 0, len(law.coefficients)
    for term in law.terms:
        mine = list(range(exponent, exponent + len(term.exponents)))
        exponent += len(mine)
        if not term.free:
            continue
        if best[index] <= 0:
            known[mine] = False
            sentences.append(
                f"{term.coefficient} is 0"
                + (f", so nothing is known of {' and '.join(names[i] for i in mine)}" if mine else "")
            )
        else:
            falls = falls or bool(mine)
            for i in mine:
                if not problem.low[i] < best[i] < problem.high[i]:
                    known[[index, *mine]] = False
                    beside = ""
                    if constants and not varies[index]:
                        known[constants] = False
                        beside = f" or of {' and '.join(names[c] for c in constants)}"
                    sentences.append(
                        f"{names[i]} is at its bound {best[i]:g}, so nothing is known of its term{beside}"
                    )
        index += 1
    if law.coupling and known[law.members].all() and not problem.low[-1] < best[-1] < problem.high[-1]:
        sentences.append(f"{names[-1]} is at its bound {best[-1]:g}")
    return known, sentences, falls


def _undecided(problem: Problem, best: Array, residuals: Array, weights: Array, known: Mask) -> list[str]:
    """Names of parameters that other values would serve as well, by the Jacobian at the minimum."""
    law, used = problem.law, weights > 0
    free = known & (best > problem.low) & (best < problem.high)
    names = np.array(law.parameters)[free]
    _, slopes, _ = problem.jacobian(best[None, :], np.zeros(problem.points))
    jacobian = slopes[0][free][:, used]
    lengths = np.linalg.norm(jacobian, axis=1)
    if (lengths == 0).any() or not free.any():
        return list(names[lengths == 0])
    directions, singular, _ = np.linalg.svd(jacobian / lengths[:, None], full_matrices=False)
    if singular[-1] < SINGULAR * singular[0]:
        weak = np.abs(directions[:, -1])
        return list(names[weak > 0.1 * weak.max()])
    variance = ((directions / singular) ** 2).sum(1)
    parameters = int(free.sum())
    freedom = max(int(used.sum()) - parameters, 1)
    spread = noise(residuals[used], parameters) * stdtrit(freedom, 0.975) / NORMAL_LIMIT
    errors = spread * np.sqrt(variance) / lengths
    return [
        name
        for name, error, value in zip(names, errors, best[free], strict=True)
        if name not in law.coefficients and error > _tolerated(law, name, value)
    ]


def _tolerated(law: Law, name: str, value: float) -> float:
    """The largest standard error with which an exponent still means something: its own size.

    An exponent that may be negative or zero (phi, gamma) is compared with 1, the difference between what
    its two extreme readings mean.
    """
    low = next(e.low for e in law.exponents if e.name == name)
    return value if low > 0 else 1.0


def noise(residuals: Array, parameters: int) -> float:
    """Standard deviation of the residuals by their median size, which outliers do not move.

    The smallest residuals, one a parameter, are left out: a fit in the linear zone of Huber's loss passes
    through about as many points as it has parameters.
    """
    return float(1.4826 * np.median(np.sort(np.abs(residuals))[min(parameters, len(residuals) - 1) :]))
