"""How far parabolas are off the optimum, measured on laws fitted to the same runs.

A curve of loss along a budget is no parabola, and its vertex no optimum: the bias depends on the grid, and on
the published design it is larger than the noise (an interval that holds noise alone covers 46 to 90 %). So
laws are fitted to the runs; each draw of a law (with `analysis.engine.uncertainty`, laws mixed by their AICc
weight) is a truth whose optimum is known, and parabolas through losses simulated from it on the same runs
miss that optimum by a bias. The distribution of the bias, taken off the measured vertex, is the corrected
optimum. Where the law is wrong only its bias is, which is a small part of the answer.
Shapes: R draws, n runs, k runs of one budget, B budgets, G places along a budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtri, stdtrit

from analysis.data.axis import Axis
from analysis.engine.fit import LawFit, fit_law
from analysis.engine.uncertainty import uncertainty
from analysis.engine.verdict import NORMAL_LIMIT
from analysis.fits.isoflop.curves import Curve, relative_squares
from analysis.fits.isoflop.exchange import Exchange
from analysis.fits.isoflop.parabola import log_vertices, turning_points
from analysis.laws import Array, Law, Whole

STARTS = 24
"""Starts of each law: on the published designs eight end where sixty do."""
TRIES = 4
"""Simulations of a curve, of which the first with an interior vertex counts: only such were measured."""
FURTHEST = 0.5
"""A vertex this far beyond the sampled range, in units of it (in logs), only says that it lies beyond."""
WORSE = 0.01
"""Probability below which a law fits worse than parabolas (assumption)."""
PLACES = 400
BEYOND = 8.0
"""An optimum is looked for this many times beyond the runs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """One law's draws of the truth."""

    fit: LawFit
    draws: Array
    """(R_form, p) in raw units."""
    deviations: Array
    """(R_form,) a run's own noise in log loss."""
    squares: float
    """Summed squares of residuals about their budget's mean."""
    freedom: int


def fitted_forms(
    laws: Sequence[Law],
    data: Mapping[str, Array],
    loss: Array,
    strata: Whole,
    weights: Array,
    *,
    draws: int,
    seed: int,
) -> list[Form]:
    """The laws that the n runs decide, each with its share of `draws` by AICc weight.

    `strata` label the budgets, `weights` are inverse variances of mean 1.
    """
    fits = [fit_law(law, data, loss, starts=STARTS, seed=seed, weights=weights) for law in laws]
    fits = [fit for fit in fits if fit.usable]
    found = [uncertainty(fit, strata, draws=draws, seed=seed) for fit in fits]
    if not found:
        return []
    criteria = np.array([one.aicc for one in found])
    share = np.exp(-(criteria - criteria.min()) / 2) if np.isfinite(criteria).any() else np.ones(len(found))
    counts = np.round(draws * share / share.sum()).astype(int)
    generator = np.random.default_rng(seed)
    forms = []
    for fit, one, count in zip(fits, found, counts, strict=True):
        rows = one.draws[np.isfinite(one.draws).all(axis=1)][:count]
        squares, freedom = _own_squares(fit, strata, weights)
        deviations = np.sqrt(squares / generator.chisquare(freedom, size=len(rows)))
        if len(rows):
            forms.append(Form(fit=fit, draws=rows, deviations=deviations, squares=squares, freedom=freedom))
    return forms


def _own_squares(fit: LawFit, strata: Whole, weights: Array) -> tuple[float, int]:
    """Summed squares of residuals about their budget's mean, and their degrees of freedom.

    What a budget's runs share does not move its vertex. Floor and tokens go with the budget's mean.
    """
    labels = np.unique(strata, return_inverse=True)[1]
    counts = np.bincount(labels)
    own = fit.residuals - (np.bincount(labels, fit.residuals) / counts)[labels]
    return float((weights * own**2).sum()), max(len(own) - len(counts) - (len(fit.law.parameters) - 2), 1)


def worse_than_parabolas(forms: Sequence[Form], curves: Sequence[Curve]) -> bool:
    """Whether even the best law leaves more of the curves unexplained than parabolas do (an F-test): its own
    bias of a parabola is then no guide."""
    squares, freedom = relative_squares(curves)
    best = min(forms, key=lambda form: form.squares / form.freedom)
    if freedom < 1:
        return False
    ratio = best.squares / best.freedom / max(squares / freedom, 1e-300)
    return bool(ratio > fdtri(best.freedom, freedom, 1 - WORSE))


@dataclass(frozen=True, kw_only=True, eq=False)
class Biases:
    """By how much each curve's vertex misses the optimum, in logs."""

    along_axis: Array
    """(R, B); NaN where a draw's parabola opens downward."""
    in_tokens: Array
    """(R, B); NaN throughout where there are no vertices in tokens."""
    optima: Array
    """(B,): the laws' own median optimum along the axis."""
    forms: Mapping[str, float]
    """Share of each law in the draws."""


def biases(
    curves: Sequence[Curve],
    arrays: Mapping[str, Array],
    forms: Sequence[Form],
    prices: Exchange,
    least: Sequence[float],
    *,
    seed: int,
) -> Biases:
    """Simulates every draw's losses on the runs of `curves` and sets parabolas against its own optimum.

    `least` are the curvatures below which the curves measured would have had no optimum: the simulated ones
    are to be such as were measured, for noise is what makes a vertex interior as often as not.
    """
    generator = np.random.default_rng(seed + 1)
    axis, tokens, optima = [], [], []
    for form in forms:
        best = log_optima(form.fit.law, form.draws, prices, [curve.flops for curve in curves])
        optima.append(_on_axis(best, curves, prices))
        columns = [
            _biases_of(curve, arrays, form, prices, best[:, i], least[i], generator)
            for i, curve in enumerate(curves)
        ]
        axis.append(np.stack([column[0] for column in columns], axis=1))
        tokens.append(np.stack([column[1] for column in columns], axis=1))
    total = sum(len(form.draws) for form in forms)
    return Biases(
        along_axis=_widened(np.concatenate(axis), forms),
        in_tokens=_widened(np.concatenate(tokens), forms),
        optima=np.exp(np.median(np.concatenate(optima), axis=0)),
        forms={form.fit.law.name: len(form.draws) / total for form in forms},
    )


def _widened(draws: Array, forms: Sequence[Form]) -> Array:
    """The draws (R, B) spread about their medians as Student's t is wider than a normal distribution.

    Draws of the noise's variance make up for its few degrees of freedom where the answer is linear in the
    noise; a vertex is not (`bench/coverage_isoflop.py`: 85 to 94 % without for 5 budgets x 4 recurrences).
    """
    factor = float(stdtrit(min(form.freedom for form in forms), 0.975)) / NORMAL_LIMIT
    known = np.isfinite(draws).any(axis=0)
    middle = np.nanmedian(np.where(known, draws, 0.0), axis=0)
    return np.asarray(middle + factor * (draws - middle))


def _on_axis(log_best: Array, curves: Sequence[Curve], prices: Exchange) -> Array:
    """ln of the places u (R, B), or of the tokens bought there where those are the axis."""
    if curves[0].axis is not Axis.TOKENS:
        return log_best
    return np.log([curve.flops for curve in curves]) - np.log(prices.flops_per_token(np.exp(log_best)))


def _biases_of(
    curve: Curve,
    arrays: Mapping[str, Array],
    form: Form,
    prices: Exchange,
    log_best: Array,
    least: float,
    generator: np.random.Generator,
) -> tuple[Array, Array]:
    sizes, tokens = arrays["N"][curve.at], arrays["tokens"][curve.at]
    log_tokens = np.log(curve.flops / prices.flops_per_token(np.exp(log_best)))
    smooth = form.fit.law.predict(form.draws, {"N": sizes, "D": tokens})
    spread = form.deviations[:, None] / np.sqrt(arrays["weights"][curve.at])
    low, high = curve.log_v.min(), curve.log_v.max()
    vertices, chosen = np.full(len(smooth), np.nan), smooth
    settled = np.zeros(len(smooth), dtype=bool)
    for attempt in range(TRIES):
        losses = smooth * np.exp(spread * generator.standard_normal(smooth.shape))
        found, curvature = turning_points(curve.log_v, losses, FURTHEST)
        interior = (found >= low) & (found <= high) & (curvature >= least)
        take = ~settled & (interior | (attempt == 0))
        vertices, chosen = np.where(take, found, vertices), np.where(take[:, None], losses, chosen)
        settled |= interior
    if curve.axis is Axis.TOKENS:
        return vertices - log_tokens, np.full(len(vertices), np.nan)
    in_tokens = np.full(len(vertices), np.nan)
    if curve.log_d is not None and len(np.unique(curve.log_d)) >= 3:
        in_tokens = log_vertices(curve.log_d, chosen, FURTHEST) - log_tokens
    return vertices - log_best, in_tokens


def log_optima(law: Law, rows: Array, prices: Exchange, budgets: Sequence[float]) -> Array:
    """ln of the place u (R, B) that minimises the loss of each row at each budget, by a search along u."""
    log_u = np.linspace(np.log(prices.low / BEYOND), np.log(prices.high * BEYOND), PLACES)
    sizes, costs = prices.parameters(np.exp(log_u)), prices.flops_per_token(np.exp(log_u))
    found = np.empty((len(rows), len(budgets)))
    row, step = np.arange(len(rows)), log_u[1] - log_u[0]
    for column, budget in enumerate(budgets):
        losses = law.predict(rows, {"N": sizes, "D": budget / costs})
        lowest = np.clip(losses.argmin(axis=1), 1, PLACES - 2)
        before, at, after = (losses[row, lowest + shift] for shift in (-1, 0, 1))
        bend = before - 2 * at + after
        shift = np.where(bend > 0, (before - after) / (2 * np.where(bend > 0, bend, 1.0)), 0.0)
        found[:, column] = log_u[lowest] + step * np.clip(shift, -1, 1)
    return found
