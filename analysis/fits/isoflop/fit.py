"""IsoFLOP curves: a parabola for each budget, its vertex, and power laws through the vertices.

Per model and budget, loss is a quadratic in the logarithm of what was varied (mean recurrence, tokens, or the
parameters of models without a loop), and another in ln(tokens); the vertices are mu_rec*(C), N*(C) and D*(C)
(Parcae section 5, figures 4 and 5; approach 2 of Hoffmann et al. arXiv 2203.15556). A vertex is an optimum
only when the curve along the axis, which is what a grid samples, opens upward beyond its noise (pooled over
budgets) and its vertex lies within the sampled range. A vertex in tokens that lies a little outside theirs is
kept, with a warning, in the plain exponent of tokens and in nothing else. Parabolas are biased when a grid is
off-centre (Czech et al. arXiv 2603.22339): `analysis.fits.isoflop.bias` measures by how much, and the plain
exponents' intervals hold it.
Shapes: n runs, k runs of one budget, B budgets, R replicates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.axis import Axis
from analysis.engine.intervals import RESAMPLES, Interval, interval
from analysis.engine.validation import LARGEST_LOSS, Table, columns_of, numbers, positive_numbers, same_length
from analysis.fits.isoflop.bias import FURTHEST, Biases, biases, fitted_forms, worse_than_parabolas
from analysis.fits.isoflop.curves import Curve, curves_of, pooled_noise, variance, without_copies
from analysis.fits.isoflop.exchange import Exchange, exchange
from analysis.fits.isoflop.optimum import Optimum, least_curvature, optimum_of
from analysis.fits.isoflop.parabola import log_vertices, standardised_residuals
from analysis.fits.isoflop.power_law import PowerLaw, no_power_law, power_law, slope
from analysis.fits.isoflop.result import Corrected, CorrectedOptimum, IsoflopFit
from analysis.laws import COUPLED, TRAINING, Array, Law
from parcae.errors import InputError

LAWS = (TRAINING, COUPLED)
"""Laws that the parabolas' bias is measured on."""
NO_BIAS = "its interval holds noise and not the bias of parabolas, because "


def fit_isoflop(
    flops: ArrayLike | Table,
    mean_recurrence: ArrayLike | None = None,
    tokens: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    *,
    parameters: ArrayLike | None = None,
    axis: Axis | str | None = None,
    seeds: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    laws: Sequence[Law] = LAWS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> IsoflopFit:
    """Curves, optima and exponents of one model (Parcae section 5; Hoffmann et al. approach 2).

    For n runs, all (n,): training `flops` C, `mean_recurrence` mu_rec, training `tokens` D, `loss` in nats
    and effective `parameters` N(mu_rec), None for what is unknown; or a DataFrame with the columns `flops`,
    `loss` and what is known. `axis` is what varies within a budget: mean recurrence if that varies, else
    parameters. `seeds` (NaN for an unknown one) tell replicates from copies; `weights` are inverse variances,
    of which a curve takes its runs' mean. `laws` are those that the bias of parabolas is measured on; none:
    intervals that include noise alone.
    ``InputError`` for numbers no curve can hold.
    """
    optional = {
        "mean_recurrence": mean_recurrence,
        "tokens": tokens,
        "parameters": parameters,
        "seeds": seeds,
        "weights": weights,
    }
    arrays = _checked(columns_of({"flops": flops, "loss": loss}, optional))
    chosen = _axis(axis, arrays)
    arrays = without_copies(arrays)
    curves = curves_of(arrays, chosen)
    prices = exchange(arrays, chosen)
    noise = pooled_noise([variance(curve) for curve in curves])
    optima = [optimum_of(curve, noise, prices) for curve in curves]
    kept = [optimum for optimum in optima if optimum.interior]
    found, why_not = None, "no law was given"
    if laws and kept:
        found, why_not = _biases(
            arrays, [o.curve for o in kept], curves, prices, noise, laws, resamples, seed
        )
    fitter = _Exponents(
        kept=kept, axis=chosen, budgets=len(curves), biases=found, resamples=resamples, seed=seed
    )
    plain = {name: fitter.plain(name) for name in ("mean_recurrence", "parameters", "tokens")}
    warnings = []
    if laws and found is None and len(kept) > 2:
        warnings.append(f"the exponent by parabolas: {NO_BIAS}{why_not}")
    return IsoflopFit(
        axis=chosen,
        optima=tuple(optima),
        gamma_mean_recurrence=plain["mean_recurrence"],
        gamma_parameters=plain["parameters"],
        gamma_tokens=plain["tokens"],
        gamma_tokens_tied=fitter.tied(prices),
        corrected=fitter.corrected(prices) if found is not None and prices is not None else None,
        warnings=tuple(warnings),
    )


def _checked(columns: Mapping[str, ArrayLike | None]) -> dict[str, Array]:
    seeds, loss = columns["seeds"], columns["loss"]
    given = {name: values for name, values in columns.items() if name not in ("seeds", "loss")}
    losses = positive_numbers("loss", np.asarray(loss), largest=LARGEST_LOSS)
    arrays = {name: positive_numbers(name, values) for name, values in given.items() if values is not None}
    arrays["seeds"] = np.full(len(losses), np.nan) if seeds is None else numbers("seeds", seeds)
    arrays.setdefault("weights", np.ones(len(losses)))
    for name, values in arrays.items():
        same_length(name, values, losses)
    return {**arrays, "loss": losses}


def _axis(axis: Axis | str | None, arrays: Mapping[str, Array]) -> Axis:
    """The given axis, or the usual one. ``InputError`` if nothing is known along it."""
    if axis is None:
        recurrence = arrays.get("mean_recurrence")
        varies = recurrence is not None and len(np.unique(recurrence)) > 1
        if recurrence is None and "parameters" not in arrays:
            raise InputError(
                "mean_recurrence and parameters are both missing; give what varies within a budget, or "
                "axis='tokens'"
            )
        return Axis.PARAMETERS if "parameters" in arrays and not varies else Axis.MEAN_RECURRENCE
    if axis not in list(Axis):
        raise InputError(f"axis is {axis!r}; it takes {', '.join(Axis)}")
    chosen = Axis(axis)
    if chosen.column not in arrays:
        raise InputError(
            f"there is no isoFLOP curve along {chosen.words}: the runs' {chosen.words} is unknown"
        )
    return chosen


def _biases(
    arrays: Mapping[str, Array],
    kept: Sequence[Curve],
    curves: Sequence[Curve],
    prices: Exchange | None,
    noise: tuple[float, int],
    laws: Sequence[Law],
    draws: int,
    seed: int,
) -> tuple[Biases | None, str]:
    """What the laws fitted to all runs of all curves say of the bias, or why they say nothing."""
    if "tokens" not in arrays:
        return None, "the runs' tokens are unknown, so no law can be fitted"
    if prices is None:
        return None, "the runs do not tell what the axis costs"
    at = np.concatenate([curve.at for curve in curves])
    sizes = arrays["parameters"] if "parameters" in arrays else prices.parameters(arrays["mean_recurrence"])
    given = {**arrays, "N": sizes}
    budgets = np.concatenate([np.full(len(curve.at), curve.flops) for curve in curves])
    forms = fitted_forms(
        laws,
        {"N": sizes[at], "D": arrays["tokens"][at]},
        arrays["loss"][at],
        np.unique(budgets, return_inverse=True)[1],
        arrays["weights"][at],
        draws=draws,
        seed=seed,
    )
    if not forms:
        return None, f"the runs decide no law ({', '.join(law.name for law in laws)})"
    if worse_than_parabolas(forms, curves):
        return None, "the curves are closer to parabolas than to any law"
    return biases(kept, given, forms, prices, [least_curvature(c, noise) for c in kept], seed=seed), ""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Exponents:
    """The power laws through the interior optima, from one set of draws."""

    kept: Sequence[Optimum]
    axis: Axis
    budgets: int
    biases: Biases | None
    resamples: int
    seed: int

    def plain(self, name: str, among: Sequence[int] | None = None) -> PowerLaw:
        """Through the parabolas' own vertices, the paper's method; the interval holds their bias if known.

        `among`: the places of the optima to use, if not all.
        """
        of = name.replace("_", " ")
        on_axis = of == self.axis.words
        if not on_axis and name != "tokens":
            return no_power_law(f"the curves run along {self.axis.words}, not along {of}")
        places = range(len(self.kept)) if among is None else among
        chosen = [i for i in places if np.isfinite(getattr(self.kept[i], name))]
        flops = [self.kept[i].flops for i in chosen]
        values = [float(getattr(self.kept[i], name)) for i in chosen]
        if self.biases is None:
            curves = [self.kept[i].curve for i in chosen]
            logs = [c.log_v if on_axis else c.log_d for c in curves]
            known = [(x, c) for x, c in zip(logs, curves, strict=True) if x is not None]
            draws = _resampled_vertices(known, self.resamples, self.seed)
            return power_law(of, flops, values, draws, self.budgets)
        off = (self.biases.along_axis if on_axis else self.biases.in_tokens)[:, chosen]
        law = power_law(of, flops, values, np.log(values) - off, self.budgets)
        if not law.budgets or not np.isfinite(law.exponent.low):
            return law
        bias = _median(slope(np.log(flops), off)[0])
        held = f"{law.message}; parabolas are {bias:+.3f} off on this grid, which the interval includes"
        return replace(law, message=held)

    def tied(self, prices: Exchange | None) -> PowerLaw:
        """Through what each budget buys at its vertex along the axis, the plain one."""
        values = [optimum.tokens_tied for optimum in self.kept]
        if prices is None or not np.isfinite(values).all():
            return no_power_law("what the axis costs is unknown")
        flops = [optimum.flops for optimum in self.kept]
        draws = np.log(values)[None, :]
        if self.biases is not None:
            draws = self._bought(prices, self._unbiased())
        return power_law("tokens", flops, values, draws, self.budgets)

    def corrected(self, prices: Exchange) -> Corrected:
        """The optima with the median bias taken off, and the exponents through those in the sampled range."""
        assert self.biases is not None
        along = self._unbiased()
        bought = self._bought(prices, along)
        optima = []
        for i, optimum in enumerate(self.kept):
            on_axis, tokens = (_middle(np.exp(draws[:, i])) for draws in (along, bought))
            sampled = np.exp(optimum.curve.log_v)
            inside = sampled.min() <= self.biases.optima[i] <= sampled.max() and np.isfinite(on_axis.low)
            optima.append(
                CorrectedOptimum(
                    flops=optimum.flops,
                    on_axis=on_axis,
                    tokens=tokens,
                    of_laws=float(self.biases.optima[i]),
                    used=bool(inside),
                )
            )
        used = [i for i, optimum in enumerate(optima) if optimum.used]
        flops = [optima[i].flops for i in used]
        logs = np.log([optimum.flops for optimum in self.kept])
        return Corrected(
            forms=self.biases.forms,
            optima=tuple(optima),
            gamma_axis=power_law(
                self.axis.words, flops, [optima[i].on_axis.value for i in used], along[:, used], self.budgets
            ),
            gamma_tokens=power_law(
                "tokens", flops, [optima[i].tokens.value for i in used], bought[:, used], self.budgets
            ),
            plain_axis=self.plain(self.axis.column, used),
            plain_tokens=self.plain("tokens", used),
            bias=_median(slope(logs, self.biases.along_axis)[0]),
        )

    def _unbiased(self) -> Array:
        assert self.biases is not None
        return np.log([optimum.on_axis for optimum in self.kept]) - self.biases.along_axis

    def _bought(self, prices: Exchange, along: Array) -> Array:
        """ln tokens (R, B) that each budget buys at places exp(along) on the axis."""
        if self.axis is Axis.TOKENS:
            return along
        return np.log([o.flops for o in self.kept]) - np.log(prices.flops_per_token(np.exp(along)))


def _middle(draws: Array) -> Interval:
    return interval(_median(draws), draws)


def _median(draws: Array) -> float:
    """Of the finite ones; NaN where there are none."""
    return float(np.nanmedian(draws)) if np.isfinite(draws).any() else float("nan")


def _resampled_vertices(curves: Sequence[tuple[Array, Curve]], resamples: int, seed: int) -> Array:
    """ln of the vertex of each curve, along the logs beside it, in each replicate (R, B); NaN where a
    replicate opens downward.

    Residuals of all curves are scaled by their leverage and weight, pooled and redrawn; each replicate is
    scaled by sqrt(freedom / chi-square), because the noise is itself estimated from few points.
    """
    if not curves:
        return np.empty((resamples, 0))
    fits = [standardised_residuals(x, curve.losses) for x, curve in curves]
    scales = [np.sqrt(curve.weight) for _, curve in curves]
    residuals = np.concatenate([pool * scale for (_, pool), scale in zip(fits, scales, strict=True)])
    freedom = sum(len(x) - 3 for x, _ in curves)
    generator = np.random.default_rng(seed)
    inflation = np.sqrt(freedom / generator.chisquare(freedom, size=resamples))[:, None]
    columns = []
    for (x, _), (fitted, _), scale in zip(curves, fits, scales, strict=True):
        redrawn = residuals[generator.integers(len(residuals), size=(resamples, len(fitted)))] / scale
        columns.append(log_vertices(x, fitted + inflation * redrawn, FURTHEST))
    return np.stack(columns, axis=1)
