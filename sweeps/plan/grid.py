"""From budgets, recurrences and other varied settings to runs (paper section 5). Pure arithmetic."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import isfinite
from typing import Any

from parcae.config import RECURRENCES as MOST_RECURRENCES
from parcae.config import (
    DepthSampling,
    Discretisation,
    InitialWeights,
    ModelConfig,
    Optimiser,
    Precision,
    TrainConfig,
    default_backward_depth,
)
from parcae.errors import InputError
from parcae.flops import Convention, flops_per_token
from parcae.presets import Preset, preset
from sweeps.folders.spec import RunSpec

RECURRENCES = (1, 2, 4, 6, 8, 10, 12)  # the paper's grid, and its baseline without a loop
MOST_TOKENS = 2**53  # counts above this are not exact as float64, and no text is that long

_OF_MODEL = frozenset({"context", "discretisation"})
AXES: dict[str, Mapping[str, Any] | type] = {
    "learning_rate": float,
    "adamw_learning_rate": float,
    "weight_decay": float,
    "batch_sequences": int,
    "context": int,
    "backward_depth": int,
    "cooldown": float,
    "sampling": {kind.value: kind for kind in DepthSampling if kind is not DepthSampling.LOG_NORMAL_POISSON},
    "precision": {kind.option: kind for kind in Precision if kind is not Precision.BFLOAT16_WEIGHTS},
    "initial_weights": {kind.value: kind for kind in InitialWeights},
    "discretisation": {kind.value: kind for kind in Discretisation},
}
"""Fields of the model or of its training that a plan may vary, besides budget, recurrence and seed, each with
the type of its values, or its values by name. Other fields are the preset's."""


@dataclass(frozen=True)
class Text:
    """The text that a run reads, and its tokenizer."""

    corpus: str
    corpus_hash: str
    tokenizer: str
    tokenizer_hash: str
    vocabulary: int | None = None
    """The model's; None leaves the preset's."""
    context: int | None = None
    """Tokens of its rows; None where it has none."""


def isoflop_grid(
    model_name: str,
    flops_budgets: Iterable[float],
    mean_recurrences: Iterable[int] | None = None,
    *,
    seeds: Iterable[int] = (0,),
    axes: Mapping[str, Iterable[Any]] | None = None,
    convention: Convention = Convention.PAPER,
    text: Text,
) -> list[RunSpec]:
    """One run per budget C, mean recurrence, seed and value of each of `axes`, spending C to the nearest
    step.

    Default recurrences: the paper's grid, or 1 for a model without a loop.

    Tokens D = C / (FLOPs per token), rounded to whole optimiser steps. Values may repeat and come in any
    order; the returned runs are sorted and distinct. ``InputError`` for a budget that is not a positive
    number or is too small for one step, and for a value that no run can have.
    """
    budgets = _some("budget", flops_budgets, float)
    for flops in budgets:
        if not (isfinite(flops) and flops > 0):
            raise InputError(f"cannot plan a budget of {flops:g} FLOPs; it must be a positive number")
    runs = _Runs(model_name, mean_recurrences, seeds, axes or {}, convention, text)
    return [runs.spending(flops, chosen) for flops in budgets for chosen in runs.cells]


def token_grid(
    model_name: str,
    tokens: Iterable[float],
    mean_recurrences: Iterable[int] | None = None,
    *,
    seeds: Iterable[int] = (0,),
    axes: Mapping[str, Iterable[Any]] | None = None,
    convention: Convention = Convention.PAPER,
    text: Text,
) -> list[RunSpec]:
    """``isoflop_grid`` for fixed training tokens D instead of budgets; C is then their cost in FLOPs."""
    wanted = _some("number of tokens", tokens, float)
    for count in wanted:
        if not (isfinite(count) and 0 < count <= MOST_TOKENS):
            raise InputError(f"cannot plan {count:g} tokens; it must be a positive number up to 2^53")
    runs = _Runs(model_name, mean_recurrences, seeds, axes or {}, convention, text)
    return [runs.reading(count, chosen) for count in wanted for chosen in runs.cells]


@dataclass(frozen=True)
class _Cell:
    """One combination of the varied settings, without the budget."""

    model: ModelConfig
    training: TrainConfig
    """For one step: the budget determines how many."""
    flops_per_token: float

    @property
    def tokens_per_step(self) -> int:
        return self.training.tokens(self.model.context)


class _Runs:
    """The cells of a plan, and the run of each cell at a budget."""

    def __init__(
        self,
        model_name: str,
        mean_recurrences: Iterable[int] | None,
        seeds: Iterable[int],
        axes: Mapping[str, Iterable[Any]],
        convention: Convention,
        text: Text,
    ) -> None:
        chosen = preset(model_name)
        if mean_recurrences is None:
            mean_recurrences = RECURRENCES if chosen.model.has_loop else (1,)
        self.model_name, self.convention, self.text = model_name, convention, text
        recurrences, wanted_seeds = _some("recurrence", mean_recurrences), _some("seed", seeds)
        for recurrence in recurrences:
            if not 1 <= recurrence <= MOST_RECURRENCES:
                raise InputError(
                    f"cannot plan a mean recurrence of {recurrence}; it must be from 1 to {MOST_RECURRENCES}"
                )
            if recurrence > 1 and not chosen.model.has_loop:
                raise InputError(
                    f"cannot plan a mean recurrence of {recurrence}: {model_name} has no loop; it takes 1"
                )
        for seed in wanted_seeds:
            if not 0 <= seed < 2**63:
                raise InputError(f"cannot plan with seed {seed}; it must be at least 0 and below 2^63")
        if unknown := sorted(axes.keys() - AXES.keys()):
            raise InputError(f"cannot vary {unknown[0]}; a plan may vary {', '.join(AXES)}")
        if "adamw_learning_rate" in axes and chosen.optimiser is Optimiser.ADAMW:
            raise InputError(
                f"adamw_learning_rate cannot be chosen for {model_name}, which is trained by AdamW alone; "
                "its rate is the learning rate"
            )
        if not chosen.model.has_loop and {*axes.get("sampling", ())} - {DepthSampling.PER_SEQUENCE}:
            raise InputError(f"sampling cannot be chosen for {model_name}, which has no loop; leave it out")
        cells = (
            self._cell(chosen, recurrence, dict(zip(axes, values, strict=True)), seed)
            for recurrence in recurrences
            for values in product(*(_some(name, axes[name], AXES[name]) for name in axes))
            for seed in wanted_seeds
        )
        self.cells = list(dict.fromkeys(cells))

    def _cell(self, chosen: Preset, recurrence: int, values: Mapping[str, Any], seed: int) -> _Cell:
        of_model = {name: value for name, value in values.items() if name in _OF_MODEL}
        if self.text.vocabulary not in (None, chosen.model.vocabulary):
            of_model["vocabulary"] = self.text.vocabulary
        model = replace(chosen.model, **of_model) if of_model else chosen.model
        if self.text.context is not None and model.context > self.text.context:
            raise InputError(
                f"cannot plan a context of {model.context} on the text {self.text.corpus}, whose rows have "
                f"{self.text.context}; give --context {self.text.context}, or prepare it with --context "
                f"{model.context}"
            )
        recipe = {
            "backward_depth": default_backward_depth(recurrence),
            "batch_sequences": chosen.batch_sequences,
            "learning_rate": chosen.learning_rate,
            "adamw_learning_rate": chosen.adamw_learning_rate,
            "weight_decay": chosen.weight_decay,
            "precision": chosen.precision,
            "initial_weights": chosen.initial_weights,
            "cooldown": chosen.cooldown,
            **{name: value for name, value in values.items() if name not in _OF_MODEL},
        }
        if chosen.optimiser is Optimiser.ADAMW:
            recipe["adamw_learning_rate"] = recipe["learning_rate"]
        if recurrence == 1:  # each step has one recurrence, however they are drawn
            recipe["sampling"] = DepthSampling.PER_SEQUENCE
        training = TrainConfig(
            mean_recurrence=recurrence, steps=1, optimiser=chosen.optimiser, seed=seed, **recipe
        )
        cost = flops_per_token(
            model,
            mean_recurrence=recurrence,
            backward_depth=training.backward_depth,
            convention=self.convention,
        )
        return _Cell(model, training, cost)

    def spending(self, flops: float, cell: _Cell) -> RunSpec:
        tokens = flops / cell.flops_per_token
        steps = round(tokens / cell.tokens_per_step)
        recurrence = cell.training.mean_recurrence
        if tokens > MOST_TOKENS:
            raise InputError(
                f"cannot plan {flops:g} FLOPs for {self.model_name} at recurrence {recurrence}: that is "
                f"{tokens:.3g} tokens, and a run has at most {MOST_TOKENS:.3g}; give a smaller budget"
            )
        if steps < 1:
            a_step = cell.flops_per_token * cell.tokens_per_step
            raise InputError(
                f"cannot plan {flops:g} FLOPs for {self.model_name} at recurrence {recurrence}: "
                f"one step costs {a_step:.3g}; give a budget of at least that"
            )
        return self._spec(cell, steps, flops)

    def reading(self, tokens: float, cell: _Cell) -> RunSpec:
        steps = round(tokens / cell.tokens_per_step)
        if steps < 1:
            raise InputError(
                f"cannot plan {tokens:g} tokens for {self.model_name}: one step reads "
                f"{cell.tokens_per_step:,}; give at least that"
            )
        return self._spec(cell, steps, steps * cell.tokens_per_step * cell.flops_per_token)

    def _spec(self, cell: _Cell, steps: int, flops: float) -> RunSpec:
        return RunSpec(
            model_name=self.model_name,
            model=cell.model,
            training=replace(cell.training, steps=steps),
            flops_budget=flops,
            convention=self.convention,
            corpus=self.text.corpus,
            corpus_hash=self.text.corpus_hash,
            tokenizer=self.text.tokenizer,
            tokenizer_hash=self.text.tokenizer_hash,
        )


def _some(name: str, values: Iterable[Any], kind: object = None) -> Sequence[Any]:
    """Each value once, in ascending order; ``InputError`` if there is none.

    Values of the `kind` float are spelled in one way, for a run's id is a hash of their digits: 1.0, not 1,
    and 0.0, not -0.0.
    """
    if not (found := sorted({float(value) + 0.0 if kind is float else value for value in values})):
        raise InputError(f"cannot plan without a {name}; give at least one")
    return found


def default_sweep_name(model_name: str, amounts: Iterable[float]) -> str:
    """The same name for the same request, such as `small-140m-1e19`; `amounts` are FLOPs or tokens."""
    lowest, highest = min(amounts := list(amounts)), max(amounts)
    name = f"{model_name}-{lowest:g}" + (f"-to-{highest:g}" if highest != lowest else "")
    return re.sub(r"e\+0?", "e", name)
