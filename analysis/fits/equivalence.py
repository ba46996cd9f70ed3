"""What a recurrence is worth: L = E + A (N_once + r^phi N_rec)^-alpha + B D^-beta.

phi is 1 if a recurrence is worth as much as a unique block and 0 if it is worth nothing; Schwethelm et al.
(arXiv 2604.21106) measured 0.46 in 116 runs. phi is fitted to each architecture, to all its sizes
together and to each; runs without a loop belong in every fit, as what a recurrence is measured against.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.data.points import ModelPoints
from analysis.engine.fit import STARTS, LawFit, fit_law
from analysis.engine.formatting import LIMITS, brief, limits, table
from analysis.engine.intervals import RESAMPLES, Interval, finite, parameter_intervals
from analysis.engine.uncertainty import uncertainty
from analysis.engine.validation import Table, columns_of
from analysis.engine.verdict import FitStatus
from analysis.fits.forms import noise_groups
from analysis.laws import EQUIVALENCE, FORMS, Array


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EquivalenceFit:
    """Parameters with intervals, NaN where the status says that the points do not decide them."""

    phi: Interval
    intervals: Mapping[str, Interval]
    """E, A, B, alpha, phi, beta."""
    huber: float
    """Summed Huber loss."""
    status: FitStatus
    message: str
    points: int
    aicc: float
    """Akaike's criterion, corrected for few runs; NaN if nothing was decided."""
    fit: LawFit

    def __repr__(self) -> str:
        return brief(self, "phi", "status", "points")

    def to_dict(self) -> dict[str, Any]:
        """What `parcae-fit equivalence --json` prints of one fit."""
        values = {name: value.to_dict() for name, value in self.intervals.items()}
        return {
            "phi": values["phi"],
            **{name: value["value"] for name, value in values.items() if name != "phi"},
            "intervals": values,
            "huber": finite(self.huber),
            "status": self.status.value,
            "message": self.message,
            "points": self.points,
        }

    def summary(self) -> str:
        """The equation, the verdict, then the parameters with their limits."""
        return "\n".join([EQUIVALENCE.equation, *self.lines])

    @property
    def lines(self) -> list[str]:
        names = ("E", "A", "alpha", "B", "beta", "phi")
        rows = [(name, *limits(self.intervals[name])) for name in names]
        decided = [table(LIMITS, rows)] if self.fit.decided else []
        return [f"{self.status}: {self.message}", *decided]


@dataclass(frozen=True, kw_only=True)
class JointForm:
    """A form of the law on the same runs, all sizes together."""

    form: str
    equation: str
    aicc: float
    """Less the best form's; NaN where the runs do not decide the form or are too few for the criterion."""
    mean_error: float
    """Mean of |prediction / loss - 1|, a fraction."""
    status: FitStatus

    def to_dict(self) -> dict[str, Any]:
        return {
            "form": self.form,
            "equation": self.equation,
            "aicc": finite(self.aicc),
            "mean_error": finite(self.mean_error),
            "status": self.status.value,
        }


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ArchitectureEquivalence:
    """One architecture's phi."""

    architecture: str
    joint: EquivalenceFit
    """All sizes and all runs without a loop."""
    sizes: Mapping[str, EquivalenceFit]
    """Each size with all runs without a loop; empty if there is one size."""
    forms: tuple[JointForm, ...]
    """The forms of the law on all sizes together, best first."""
    looped: int
    baselines: int
    """Runs fitted that have no loop or a mean recurrence of 1."""

    def __repr__(self) -> str:
        return f"ArchitectureEquivalence({self.architecture}: {self.joint!r})"

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.joint.to_dict(),
            "looped": self.looped,
            "baselines": self.baselines,
            "sizes": {size: fit.to_dict() for size, fit in self.sizes.items()},
            "forms": [form.to_dict() for form in self.forms],
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runs:
    """n runs in the law's variables; a run without a loop has all its parameters in `once`."""

    once: Array
    recurrent: Array
    mean_recurrence: Array
    tokens: Array
    loss: Array
    noise: Array
    """A label for each run, alike for runs that may share noise."""

    @classmethod
    def of(cls, points: ModelPoints) -> "_Runs":
        points = points.select(points.sized)
        loop = np.isfinite(points.mean_recurrence) & (points.recurrent_parameters > 0)
        split = ~loop | np.isfinite(points.once_parameters)
        points, loop = points.select(split), loop[split]
        groups = np.array([f"{points.model} {label:.17g}" for label in noise_groups(points)], dtype=object)
        return cls(
            once=np.where(loop, points.once_parameters, points.effective_parameters),
            recurrent=np.where(loop, points.recurrent_parameters, 0.0),
            mean_recurrence=np.where(loop, points.mean_recurrence, 1.0),
            tokens=points.tokens,
            loss=points.loss,
            noise=groups,
        )

    @classmethod
    def joined(cls, parts: "Sequence[_Runs]") -> "_Runs":
        names = cls.__dataclass_fields__
        return cls(
            **{name: np.concatenate([np.empty(0), *(getattr(p, name) for p in parts)]) for name in names}
        )

    @property
    def looped(self) -> int:
        return int(((self.mean_recurrence > 1) & (self.recurrent > 0)).sum())

    def __len__(self) -> int:
        return len(self.loss)


def fit_equivalence(
    once_parameters: ArrayLike | Table,
    recurrent_parameters: ArrayLike | None = None,
    mean_recurrence: ArrayLike | None = None,
    tokens: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    starts: int = 2 * STARTS,  # one exponent more to search than the training law has
    seed: int = 0,
) -> EquivalenceFit:
    """What a recurrence is worth, phi in L = E + A (N_once + r^phi N_rec)^-alpha + B D^-beta.

    For n runs: `once_parameters` N_once, `recurrent_parameters` N_rec, `mean_recurrence` r, training `tokens`
    D and `loss` in nats, all (n,); or a DataFrame with these columns, and `strata` if it has them. Either
    kind of parameters may be 0, but not both of a run. `strata` (n labels) are alike for runs that may share
    noise, such as those of one budget; without them each run has its own. Source: Schwethelm et al., arXiv
    2604.21106. ``InputError`` for numbers that are not positive and finite.
    """
    given = columns_of(
        {
            "once_parameters": once_parameters,
            "recurrent_parameters": recurrent_parameters,
            "mean_recurrence": mean_recurrence,
            "tokens": tokens,
            "loss": loss,
        },
        {"strata": strata},
    )
    data = {
        "once": given["once_parameters"],
        "recurrent": given["recurrent_parameters"],
        "mu": given["mean_recurrence"],
        "D": given["tokens"],
    }
    fit = fit_law(EQUIVALENCE, data, given["loss"], starts=starts, seed=seed)
    strata = given["strata"]
    labels = np.arange(len(fit.residuals)) if strata is None else np.asarray(strata)
    spread = uncertainty(fit, labels, draws=resamples, seed=seed) if fit.usable else None
    draws = np.full((1, len(EQUIVALENCE.parameters)), np.nan) if spread is None else spread.draws
    intervals = parameter_intervals(fit, draws)
    return EquivalenceFit(
        phi=intervals["phi"],
        intervals=intervals,
        huber=fit.huber,
        status=fit.status,
        message=fit.message,
        points=len(fit.residuals),
        aicc=float("nan") if spread is None else spread.aicc,
        fit=fit,
    )


def study_equivalence(models: Sequence[ModelPoints], *, seed: int = 0) -> tuple[ArchitectureEquivalence, ...]:
    """Each looped architecture of a study, the one with the most looped runs first."""
    runs = {points.model: _Runs.of(points) for points in models}
    apart: dict[str, list[str]] = {}
    for points in models:
        if runs[points.model].looped:
            apart.setdefault(points.architecture, []).append(points.model)
    flat = [found for found in runs.values() if not found.looped]
    found = [
        _architecture(name, {size: runs[size] for size in sizes}, flat, seed) for name, sizes in apart.items()
    ]
    return tuple(sorted(found, key=lambda one: -one.looped))


def _architecture(
    name: str, sizes: Mapping[str, _Runs], flat: Sequence[_Runs], seed: int
) -> ArchitectureEquivalence:
    together = _Runs.joined([*sizes.values(), *flat])
    joint = _fit(together, seed)
    apart = {size: _fit(_Runs.joined([own, *flat]), seed) for size, own in sizes.items()}
    return ArchitectureEquivalence(
        architecture=name,
        joint=joint,
        sizes=apart if len(sizes) > 1 else {},
        forms=_ranked(together, joint, seed),
        looped=together.looped,
        baselines=len(together) - together.looped,
    )


def _fit(runs: _Runs, seed: int) -> EquivalenceFit:
    return fit_equivalence(
        runs.once,
        runs.recurrent,
        runs.mean_recurrence,
        runs.tokens,
        runs.loss,
        strata=runs.noise,
        seed=seed,
    )


def _ranked(runs: _Runs, equivalence: EquivalenceFit, seed: int) -> tuple[JointForm, ...]:
    """The registered forms of the law on all sizes, by Akaike's criterion."""
    data = {
        "N": runs.once + runs.mean_recurrence * runs.recurrent,
        "D": runs.tokens,
        "mu": runs.mean_recurrence,
        "once": runs.once,
        "recurrent": runs.recurrent,
    }
    fits = {EQUIVALENCE: (equivalence.fit, equivalence.aicc)}
    for law in (law for law in FORMS.values() if law is not EQUIVALENCE):
        fit = fit_law(law, {name: data[name] for name in law.variables}, runs.loss, seed=seed)
        known = uncertainty(fit, runs.noise, draws=1, seed=seed).aicc if fit.usable else float("nan")
        fits[law] = fit, known
    best = min((aicc for _, aicc in fits.values() if np.isfinite(aicc)), default=float("nan"))
    forms = [
        JointForm(
            form=law.name,
            equation=law.equation,
            aicc=aicc - best if np.isfinite(aicc) else float("nan"),
            mean_error=fit.mean_error,
            status=fit.status,
        )
        for law, (fit, aicc) in fits.items()
    ]
    return tuple(sorted(forms, key=lambda form: (np.isnan(form.aicc), form.aicc)))
