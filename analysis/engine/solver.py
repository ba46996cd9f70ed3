"""Many fits of one law at once, as array operations: damped Gauss-Newton with a second-order polish.

A row is one independent minimisation (a start, a bootstrap replicate, a run's curve), and all rows step
together. The objective of a row is sum_i w_i huber(r_i), r = log(prediction) - log(loss), with Huber's delta
(infinite: half the squared error). Gauss-Newton steps use residuals reweighted by min(1, delta/|r|), which
majorises Huber's loss; the polish uses the exact second derivative, without which the last digits of a fit
that is mostly in the linear zone come too slowly. Damping is Levenberg's and Marquardt's, scaled by the
diagonal (Marquardt 1963); bounds are kept by projection (Bertsekas 1982).
Shapes: R rows, n points, p parameters (coefficients, then exponents), K coefficients, q exponents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.laws import Array, Data, Law, Mask, Whole
from analysis.laws.law import Coupled

_TINY = 1e-300
_SMALLEST = 1e-30
"""A coupled term's coefficient, in centred units, is differentiated as if it were no smaller."""
_Part = tuple[int, int, Array, tuple[Array, ...], list[tuple[int, int, Array]]]
"""One term: positions of its coefficient and first exponent, exp(g), and g's derivatives, all centred."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A law on n points, in centred units: at the reference point every term is its own coefficient."""

    law: Law
    data: Data
    """Each variable with n + 1 values, the last one the reference point."""
    delta: float

    @classmethod
    def on(cls, law: Law, data: Data, delta: float) -> "Problem":
        """Centres `data` (n values a variable) at geometric means, test recurrences at their smallest."""
        centred = {}
        for name in law.variables:
            values = np.asarray(data[name], dtype=float)
            if not len(values):
                reference = 1.0
            elif name == "T":
                reference = values.min()
            elif (values > 0).all():
                reference = np.exp(np.log(values).mean())
            else:  # recurrent parameters of a model without a loop
                reference = values.mean()
            centred[name] = np.append(values, reference)
        return cls(law=law, data=centred, delta=delta)

    @property
    def points(self) -> int:
        """n."""
        return len(next(iter(self.data.values()))) - 1

    def at(self, points: Whole) -> "Problem":
        """The same problem, in the same units, on some of its points."""
        kept = np.append(points, self.points)
        data = {name: values[kept] for name, values in self.data.items()}
        return Problem(law=self.law, data=data, delta=self.delta)

    @property
    def low(self) -> Array:
        return np.array([0.0] * len(self.law.coefficients) + [e.low for e in self.law.exponents])

    @property
    def high(self) -> Array:
        return np.array([np.inf] * len(self.law.coefficients) + [e.high for e in self.law.exponents])

    def to_raw(self, parameters: Array) -> Array:
        """Parameters (R, p) in raw units; a coefficient too large for a float becomes infinite."""
        raw = parameters.copy()
        for index, g_reference in self._references(parameters):
            raw[:, index] = np.exp(np.minimum(_log(parameters[:, index]) - g_reference, 709.0))
            raw[:, index][parameters[:, index] == 0] = 0.0
        return raw

    def from_raw(self, parameters: Array) -> Array:
        """The inverse of ``to_raw``."""
        centred = parameters.copy()
        for index, g_reference in self._references(parameters):
            centred[:, index] = np.exp(_log(parameters[:, index]) + g_reference)
        return centred

    def _references(self, parameters: Array) -> list[tuple[int, Array]]:
        reference = {name: values[-1:] for name, values in self.data.items()} or {"1": np.zeros(1)}
        found, index, exponent = [], 0, len(self.law.coefficients)
        for term in self.law.terms:
            theta = parameters[:, exponent : exponent + len(term.exponents)]
            exponent += len(term.exponents)
            if term.free:
                found.append((index, term.g(reference, theta).g[:, 0]))
                index += 1
        return found

    def columns(self, theta: Array) -> tuple[Array, Array]:
        """What multiplies each coefficient, (R, K, n), and the part with no coefficient, (R, n) or 0."""
        columns, fixed, exponent = [], np.zeros((len(theta), 1)), 0
        for term in self.law.terms:
            g = term.g(self.data, theta[:, exponent : exponent + len(term.exponents)]).g
            exponent += len(term.exponents)
            if term.free:
                columns.append(np.exp(g[:, :-1] - g[:, -1:]))
            else:
                fixed = np.exp(g[:, :-1])
        return np.stack(columns, axis=1), fixed

    def residuals(self, parameters: Array, log_loss: Array) -> Array:
        """r (R, n)."""
        count = len(self.law.coefficients)
        columns, fixed = self.columns(parameters[:, count:])
        values = parameters[:, :count, None] * columns
        return _log(self.law.total([values[:, i] for i in range(count)], parameters) + fixed) - log_loss

    def objective(self, residuals: Array, weights: Array) -> Array:
        """Summed Huber loss (R,)."""
        clipped = np.clip(residuals, -self.delta, self.delta)
        return np.asarray((weights * clipped * (residuals - 0.5 * clipped)).sum(-1))

    def jacobian(
        self, parameters: Array, log_loss: Array
    ) -> tuple[Array, Array, list[tuple[int, int, Array]]]:
        """r (R, n), dr/dp (R, p, n), and the non-zero second derivatives of the prediction over it.

        The last are (i, j, values) with i <= j and values (R, n); r's own second derivative is these less
        the outer product of its gradient.
        """
        rows, count = len(parameters), len(self.law.coefficients)
        slopes = np.empty((rows, parameters.shape[1], log_loss.shape[-1]))
        curved: list[tuple[int, int, Array]] = []
        total = np.zeros((rows, 1))
        parts: list[_Part] = []
        index, exponent = 0, count
        for term in self.law.terms:
            width = len(term.exponents)
            g, dg, d2g = term.g(self.data, parameters[:, exponent : exponent + width])
            if not term.free:
                total = total + np.exp(g[:, :-1])
                continue
            phi = np.exp(g[:, :-1] - g[:, -1:])
            centred = tuple(d[:, :-1] - d[:, -1:] for d in dg)
            second = [(i, j, d[:, :-1] - d[:, -1:]) for (i, j), d in d2g.items()]
            parts.append((index, exponent, phi, centred, second))
            index, exponent = index + 1, exponent + width
        members = self.law.members
        values = [parameters[:, i, None] * phi for i, _, phi, _, _ in parts]
        coupled = self.law.couple(values, parameters) if members else None
        lone = [value for i, value in enumerate(values) if i not in members]
        total = total + sum(lone) + (coupled.value if coupled else 0.0)
        total = np.maximum(total, 1e-100)  # every coefficient at zero: keep the arithmetic finite
        for index, exponent, phi, dg, second_list in parts:
            lift, value = phi, values[index]
            if coupled and index in members:
                value = coupled.value * coupled.shares[:, members.index(index)]
                lift = value / np.maximum(parameters[:, index, None], _SMALLEST)
            slopes[:, index] = lift / total
            share = value / total
            pure = {(i, j): d for i, j, d in second_list}
            for i, d_i in enumerate(dg):
                slopes[:, exponent + i] = share * d_i
                curved.append((index, exponent + i, slopes[:, index] * d_i))
                for j in range(i, len(dg)):
                    curved.append((exponent + i, exponent + j, share * (d_i * dg[j] + pure.get((i, j), 0.0))))
        if coupled:
            slopes[:, -1] = coupled.value * coupled.entropy / total
            curved += _coupled_curvature(
                coupled, [parts[i] for i in members], parameters, total, slopes.shape[1] - 1
            )
        return _log(total) - log_loss, slopes, curved


def _coupled_curvature(
    coupled: Coupled, parts: Sequence[_Part], parameters: Array, total: Array, last: int
) -> list[tuple[int, int, Array]]:
    """What coupling adds to a plain sum's second derivatives, over the prediction; k is parameter `last`.

    With l_j the logarithm of term j, d2F / dl_i dl_j = F (p_i p_j (1 - 1/k) + [i = j] p_i / k), of which a
    plain sum has [i = j] F p_i, and d2F / dl_j dk = F p_j (H - (ln p_j + H) / k).
    """
    relative, power, entropy = coupled.value / total, coupled.power, coupled.entropy
    found: list[tuple[int, int, Array]] = []
    slopes_of = []  # of each l_j, by parameter
    for index, exponent, _, dg, _ in parts:
        inverse = 1 / np.maximum(parameters[:, index, None], _SMALLEST)
        slopes_of.append([(index, inverse), *((exponent + i, d) for i, d in enumerate(dg))])
    for i, mine in enumerate(slopes_of):
        p = coupled.shares[:, i]
        for j in range(i, len(slopes_of)):
            weight = relative * p * coupled.shares[:, j] * (1 - 1 / power)
            if i == j:
                weight = weight - relative * p * (1 - 1 / power)
            for a, slope_a in mine:
                for b, slope_b in slopes_of[j]:
                    if i < j or a <= b:
                        found.append((min(a, b), max(a, b), weight * slope_a * slope_b))
        with_power = relative * p * (entropy - (np.log(p) + entropy) / power)
        found += [(a, last, with_power * slope) for a, slope in mine]
    logs = np.log(coupled.shares)
    spread = (coupled.shares * (logs + entropy[:, None]) ** 2).sum(1)
    found.append((last, last, relative * (entropy**2 + spread / power)))
    return found


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Noise of which a part is shared within a group: variance s^2 (1 + ratio^2), covariance s^2 ratio^2.

    Points of a weight have s^2 divided by it. Groups may be made of smaller ones, `inner`, which share a part
    of their own: a budget's runs, each with losses at several test recurrences.
    """

    groups: Whole
    """A group's number for each of n points, from 0."""
    ratios: Array
    """(R,): the shared part's deviation over a point's own."""
    weights: Array
    """(n,): inverse variances, the same within a group."""
    inner: "Shared | None" = None

    def at(self, rows: Whole) -> "Shared":
        inner = self.inner.at(rows) if self.inner else None
        return Shared(groups=self.groups, ratios=self.ratios[rows], weights=self.weights, inner=inner)

    @cached_property
    def _sorted(self) -> tuple[Whole, Whole]:
        """Points by group, and where each group starts among them."""
        order = np.argsort(self.groups, kind="stable")
        return order, np.searchsorted(self.groups[order], np.arange(self.groups.max() + 1))

    def _sums(self, values: Array) -> Array:
        """Sums (..., G) of values (..., n) over each group."""
        order, starts = self._sorted
        return np.asarray(np.add.reduceat(values[..., order], starts, axis=-1))

    @cached_property
    def _common(self) -> Array:
        """What whitening the inner groups makes of a value that all points share, (R, n) or (1, n)."""
        if self.inner is None:
            return np.ones((1, len(self.groups)))
        return np.asarray(1 / np.sqrt(1 + self.inner._stretch[:, self.inner.groups]))

    @cached_property
    def _stretch(self) -> Array:
        """How much the shared part adds to the variance along a group's common direction (R, G)."""
        return np.asarray(self._sums(self._common**2) * self.ratios[:, None] ** 2)

    def whiten(self, values: Array) -> Array:
        """Values (R, ..., n) as uncorrelated ones of deviation s: what a group shares shrinks."""
        values = self.inner.whiten(values) if self.inner else values * np.sqrt(self.weights)
        common = self._common
        shrink = (1 - 1 / np.sqrt(1 + self._stretch)) / self._sums(common**2)
        between = (1,) * (values.ndim - 2)
        common = common.reshape((len(common), *between, -1))
        pull = self._sums(values * common) * shrink.reshape((len(shrink), *between, -1))
        return np.asarray(values - pull[..., self.groups] * common)

    @property
    def log_determinant(self) -> Array:
        """Of the covariance over s^2, (R,)."""
        own = np.asarray(np.log1p(self._stretch).sum(1))
        return own + self.inner.log_determinant if self.inner else own

    @property
    def variances(self) -> Array:
        """A point's variance over s^2 (R,), all shared parts included."""
        return np.asarray(self.ratios**2 + (self.inner.variances if self.inner else 1.0))

    def draw(self, generator: np.random.Generator) -> Array:
        """Noise (R, n) with s = 1."""
        rows, n = len(self.ratios), len(self.groups)
        own = self.inner.draw(generator) if self.inner else generator.standard_normal((rows, n))
        shared = generator.standard_normal((rows, self.groups.max() + 1))[:, self.groups]
        scale = np.sqrt(self.weights)
        return np.asarray((own if self.inner else own / scale) + self.ratios[:, None] * shared / scale)


def _log(values: Array) -> Array:
    return np.log(np.maximum(values, _TINY))


def minimise(
    problem: Problem,
    start: Array,
    log_loss: Array,
    weights: Array,
    *,
    steps: int,
    second_order: bool,
    tolerance: float = 1e-13,
    shared: "Shared | None" = None,
) -> tuple[Array, Array]:
    """At most `steps` damped steps of every row; returns parameters (R, p) and objective (R,).

    `start` (R, p) is in centred units; `log_loss` and `weights` are (n,) or (R, n). A row stops when its
    step promises less than `tolerance` of its objective or no longer improves it. With `shared` noise the
    objective is the generalised squared error; that takes delta infinite and no second order.
    """
    rows, n = len(start), log_loss.shape[-1]
    log_loss = np.broadcast_to(log_loss, (rows, n))
    weights = np.broadcast_to(weights, (rows, n))
    low, high = problem.low, problem.high
    final, final_objective = np.clip(start, low, high), np.empty(rows)
    active = np.arange(rows)
    current, damping = final.copy(), np.full(rows, 1e-3)
    objective, gradient, curvature, scale = expand(problem, current, log_loss, weights, second_order, shared)
    final_objective[:] = objective
    for _ in range(steps):
        pinned = ((current <= low) & (gradient >= 0)) | ((current >= high) & (gradient <= 0))
        step = _damped_step(gradient, curvature, scale, damping, pinned)
        trial = np.clip(current + step, low, high)
        promised = -(gradient * (trial - current)).sum(-1)
        descends = np.isfinite(step).all(-1) & (promised > 0)
        trial[~descends] = current[~descends]
        here = shared.at(active) if shared else None
        new = expand(problem, trial, log_loss[active], weights[active], second_order, here)
        better = descends & (new[0] < objective)
        current[better] = trial[better]
        damping = np.where(better, np.maximum(damping * 0.15, 1e-12), damping * 8.0)
        gain = objective - new[0]
        finished = (better & (promised <= tolerance * objective) & (gain <= tolerance * objective)) | (
            ~better & (damping > 1e9)
        )
        finished |= pinned.all(-1) | (objective <= 0)
        for old, fresh in zip((objective, gradient, curvature, scale), new, strict=True):
            old[better] = fresh[better]
        final[active], final_objective[active] = current, objective
        if finished.any():
            keep = ~finished
            if not keep.any():
                break
            active, current, damping = active[keep], current[keep], damping[keep]
            objective, gradient = objective[keep], gradient[keep]
            curvature, scale = curvature[keep], scale[keep]
    return final, final_objective


def expand(
    problem: Problem,
    parameters: Array,
    log_loss: Array,
    weights: Array,
    second_order: bool,
    shared: "Shared | None" = None,
) -> tuple[Array, Array, Array, Array]:
    """Objective (R,), gradient (R, p), curvature (R, p, p) and the diagonal scale (R, p) of a step."""
    residuals, slopes, curved = problem.jacobian(parameters, log_loss)
    if shared:
        residuals, slopes = shared.whiten(residuals), shared.whiten(slopes)
    pull = weights * np.clip(residuals, -problem.delta, problem.delta)
    objective = problem.objective(residuals, weights)
    gradient = np.matmul(slopes, pull[:, :, None])[:, :, 0]
    size = np.maximum(np.abs(residuals), _TINY)
    majorant = weights * np.minimum(1.0, problem.delta / size)
    if not second_order:
        curvature = np.matmul(slopes * majorant[:, None, :], slopes.transpose(0, 2, 1))
        diagonal = np.einsum("rpp->rp", curvature)
    else:
        diagonal = np.matmul(slopes**2, majorant[:, :, None])[:, :, 0]
        exact = weights * (size <= problem.delta) - pull
        curvature = np.matmul(slopes * exact[:, None, :], slopes.transpose(0, 2, 1))
        for i, j, values in curved:
            added = (pull * values).sum(-1)
            curvature[:, i, j] += added
            if i != j:
                curvature[:, j, i] += added
    scale = np.sqrt(diagonal)
    return objective, gradient, curvature, np.maximum(scale, 1e-10 * scale.max(-1, keepdims=True) + _TINY)


def _damped_step(gradient: Array, curvature: Array, scale: Array, damping: Array, pinned: Mask) -> Array:
    """Solves (S^-1 H S^-1 + damping I) S step = -S^-1 g over the parameters that are free to move."""
    free = ~pinned
    system = curvature / scale[:, :, None] / scale[:, None, :]
    system = np.where(free[:, :, None] & free[:, None, :], system, 0.0)
    diagonal = np.einsum("rpp->rp", system)
    diagonal += np.where(free, damping[:, None], 1.0)
    right = np.where(free, -gradient / scale, 0.0)
    try:
        solved = np.linalg.solve(system, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:  # one singular row would fail all of them
        solved = np.matmul(np.linalg.pinv(system), right[:, :, None])[:, :, 0]
    return solved / scale
