"""Every number of the paper's tables beside ours, from the same data where they are published.

Source: arXiv 2604.12946, tables 5, 6, 8 and 11 to 14, figures 4 and 5. Ours come from the digitised points of
figure 4 and the perplexities of table 8, which are all the losses that the paper gives.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.data.points import ModelPoints, Study, known
from analysis.engine.formatting import number, table
from analysis.engine.intervals import finite
from analysis.fits.forms import ModelForms, fit_forms
from analysis.fits.isoflop.fit import fit_isoflop
from analysis.fits.saturation import fit_saturation
from analysis.published import EXPONENTS, published
from parcae.config import ModelConfig
from parcae.flops import Convention, counted_parameters, flops_per_token, parameter_count
from parcae.presets import preset

_QUALITY = {
    "parameters": "parameters are counted from the model that is built",
    "val_perplexity": "ours is foretold by the chosen law of figure 4 at recurrence 8 and these tokens",
}
_SCORES = ("core_looped", "core_extended_looped", "core_fixed_depth", "core_extended_fixed_depth")
_BEST = "ours is the trained recurrence of the lowest loss in figure 4"
_POINTS = "ours is the chosen law at the digitised point"
_LAW = (
    "ours is fitted to the digitised points with N by convention paper; the paper does not say how it counts "
    "N, on which X and x depend"
)
_NO_MODELS = "no ours: the models that were scored are not published"
_NO_CURVES = "no ours: the losses at T = 1 to 24 are not published"
_FOUR_POINTS = "ours is the saturation law, three parameters through four points"
_PARABOLA = (
    "ours is the vertex of a parabola; tokens by convention paper, which alone gives the paper's exponents"
)
_UNROLLED = (
    "unrolled: the budget over the cost of a token with full backpropagation, near which the paper's D* lie"
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One published number, and ours or the reason why there is none."""

    table: str
    model: str
    setting: str
    """The rest of the row: budget, recurrence, architecture."""
    quantity: str
    paper: float
    ours: float = math.nan
    note: str
    """How ours was made, or why it cannot be."""

    @property
    def difference_percent(self) -> float:
        return 100 * (self.ours / self.paper - 1)

    def to_dict(self) -> dict[str, Any]:
        names = ("table", "model", "setting", "quantity", "paper")
        return {
            **{name: getattr(self, name) for name in names},
            "ours": finite(self.ours),
            "difference_percent": finite(self.difference_percent),
            "note": self.note,
        }


def beside_the_paper(study: Study) -> tuple[Comparison, ...]:
    """All of them, for the published study."""
    forms = {model: fit_forms(study.models[model]) for model in EXPONENTS}
    return (
        *_quality(forms),
        *_scores(study),
        *_test_time(),
        *(row for model in EXPONENTS for row in _law(model, forms[model])),
        *_never_published("Table 12: forms of saturation, mean Huber", "testtime_forms_table12"),
        *_never_published("Table 13: L_inf against L(T = mean recurrence), %", "limit_table13"),
        *_never_published("Table 14: forms of the unified law, Huber", "unified_forms_table14"),
        *(row for model in EXPONENTS for row in _points(forms[model])),
        *(row for model in EXPONENTS for row in _optima(study.models[model])),
    )


def comparisons_text(rows: tuple[Comparison, ...]) -> str:
    """A block for each table: its notes, then its numbers."""
    blocks = []
    for name in dict.fromkeys(row.table for row in rows):
        own = [row for row in rows if row.table == name]
        notes = dict.fromkeys(row.note for row in own)
        cells = [
            (
                f"{row.model} {row.setting}".strip(),
                row.quantity,
                number(row.paper, 10),
                number(row.ours),
                f"{row.difference_percent:+.2f}" if math.isfinite(row.ours) else number(math.nan),
            )
            for row in own
        ]
        blocks.append("\n".join([name, *notes, table(("", "quantity", "paper", "ours", "off, %"), cells)]))
    return "\n\n".join(blocks)


def comparisons_json(rows: tuple[Comparison, ...]) -> dict[str, Any]:
    """What `parcae-fit published --json` prints."""
    return {"comparisons": [row.to_dict() for row in rows]}


def _quality(forms: Mapping[str, ModelForms]) -> Iterator[Comparison]:
    sizes = {"140M": "small-140m", "370M": "medium-370m", "770M": "large-770m", "1.3B": "xlarge-1.3b"}
    for row in published("quality_table5").to_dict("records"):
        looped, name = row["architecture"] == "parcae", sizes[str(row["scale"])]
        tokens, recurrence = float(row["training_tokens"]), float(row["test_recurrence"])
        model = preset(name if looped else f"{name}-fixed").model
        setting = f"{row['architecture']}, D {tokens:.3g}"
        foretold = math.nan
        if looped and name in forms:
            foretold = math.exp(_foretold(forms[name], model, recurrence, tokens))
        ours = {"parameters": parameter_count(model), "val_perplexity": foretold}
        for column in ("parameters", "val_perplexity", "lambada_perplexity", "core", "core_extended"):
            value = float(ours.get(column, math.nan))
            yield Comparison(
                table="Table 5: quality",
                model=str(row["scale"]),
                setting=setting,
                quantity=_spoken(column),
                paper=float(row[column]),
                ours=value,
                note=_NO_MODELS if math.isnan(value) else _QUALITY[column],
            )


def _foretold(forms: ModelForms, model: ModelConfig, mean_recurrence: float, tokens: float) -> float:
    """The chosen law's loss, nats, of a run that it was not fitted to."""
    assert forms.chosen is not None
    once, recurrent = counted_parameters(model)
    data = {"N": np.array([once + mean_recurrence * recurrent]), "D": np.array([tokens])}
    return float(forms.chosen.fit.law.predict(forms.chosen.fit.vector, data)[0][0])


def _scores(study: Study) -> Iterator[Comparison]:
    for row in published("core_isoflop_table6").to_dict("records"):
        points = study.models[str(row["model"])]
        flops = float(row["flops"])
        at = np.isclose(points.flops, flops, rtol=1e-3)
        best = points.mean_recurrence[at][np.argmin(points.loss[at])]
        for column in ("optimal_mean_recurrence", *_SCORES):
            is_optimum = column not in _SCORES
            yield Comparison(
                table="Table 6: CORE at equal FLOPs",
                model=points.model,
                setting=f"{flops:.3g} FLOPs",
                quantity=_spoken(column),
                paper=float(row[column]),
                ours=float(best) if is_optimum else math.nan,
                note=_BEST if is_optimum else _NO_MODELS,
            )


def _test_time() -> Iterator[Comparison]:
    for (model, sampling), curve in published("testtime_table8").groupby(["model", "sampling"], sort=False):
        fit = fit_saturation(curve["test_recurrence"], np.log(curve["val_perplexity"]))
        ours = np.exp(fit.predict(curve["test_recurrence"]))
        for at, paper, value in zip(curve["test_recurrence"], curve["val_perplexity"], ours, strict=True):
            yield Comparison(
                table="Table 8: depth sampling",
                model=str(model),
                setting=f"{sampling}, T = {at}",
                quantity="perplexity",
                paper=float(paper),
                ours=float(value),
                note=_FOUR_POINTS,
            )


def _law(model: str, forms: ModelForms) -> Iterator[Comparison]:
    row = published("parametric_table11").set_index("model").to_dict("index")[model]
    fit = forms.forms["training"].fit
    for name, ours in {**fit.values, "huber_sum": fit.huber}.items():
        yield Comparison(
            table="Table 11: training law",
            model=model,
            setting="",
            quantity=_spoken(name),
            paper=float(row[name]),
            ours=ours,
            note=_LAW,
        )


def _never_published(name: str, file: str) -> Iterator[Comparison]:
    for row in published(file).to_dict("records"):
        for column in [name for name in row if name not in ("model", "split")]:
            yield Comparison(
                table=name,
                model=str(row["model"]),
                setting=_spoken(str(row.get("split", ""))),
                quantity=_spoken(str(column)),
                paper=float(row[column]),
                note=_NO_CURVES,
            )


def _spoken(column: str) -> str:
    return column.replace("_", " ")


def _points(forms: ModelForms) -> Iterator[Comparison]:
    assert forms.chosen is not None
    points = forms.points
    for i, (loss, residual) in enumerate(zip(points.loss, forms.chosen.fit.residuals, strict=True)):
        yield Comparison(
            table="Figure 4: losses, as digitised",
            model=points.model,
            setting=f"{points.flops[i]:.3g} FLOPs, recurrence {points.mean_recurrence[i]:g}",
            quantity="loss",
            paper=float(loss),
            ours=float(loss * np.exp(residual)),
            note=_POINTS,
        )


def _optima(points: ModelPoints) -> Iterator[Comparison]:
    found = fit_isoflop(
        points.flops, known(points.mean_recurrence), points.tokens, points.loss, laws=(), resamples=1
    )
    paper = published("optima_figure5").query("model == @points.model").sort_values("flops")
    table, unrolled = "Figure 5: optima and their power laws", []
    for optimum, row in zip(found.optima, paper.to_dict("records"), strict=True):
        unrolled.append(optimum.flops / _unrolled_cost(points.model, optimum.mean_recurrence))
        for quantity, column, ours, note in (
            ("mean recurrence", "optimal_mean_recurrence", optimum.mean_recurrence, _PARABOLA),
            ("tokens, paper", "optimal_tokens", optimum.tokens, _PARABOLA),
            ("tokens, unrolled", "optimal_tokens", unrolled[-1], _UNROLLED),
        ):
            yield Comparison(
                table=table,
                model=points.model,
                setting=f"{optimum.flops:.3g} FLOPs",
                quantity=quantity,
                paper=float(row[column]),
                ours=ours,
                note=note,
            )
    steepness = np.polyfit(np.log(paper["flops"].to_numpy(float)), np.log(unrolled), 1)[0]
    for quantity, value, ours, note in (
        ("gamma_mu", 0, found.gamma_mean_recurrence.exponent.value, _PARABOLA),
        ("gamma_D, paper", 1, found.gamma_tokens.exponent.value, _PARABOLA),
        ("gamma_D, unrolled", 1, float(steepness), _UNROLLED),
    ):
        yield Comparison(
            table=table,
            model=points.model,
            setting="",
            quantity=quantity,
            paper=EXPONENTS[points.model][value],
            ours=ours,
            note=note,
        )


def _unrolled_cost(model: str, mean_recurrence: float) -> float:
    return flops_per_token(
        preset(model).model,
        mean_recurrence=mean_recurrence,
        backward_depth=mean_recurrence,
        convention=Convention.UNROLLED,
    )
