"""From budgets and recurrences to runs: an isoFLOP grid (paper section 5). Pure arithmetic."""

import re
from collections.abc import Iterable
from math import isfinite

from parcae.config import TrainConfig, default_backward_depth
from parcae.errors import InputError
from parcae.flops import Convention, flops_per_token
from parcae.presets import preset
from sweeps.spec import RunSpec

RECURRENCES = (1, 2, 4, 6, 8, 10, 12)  # the paper's grid, and its baseline without a loop
MOST_TOKENS = 2**53  # counts above this are not exact as float64, and no text is that long


def isoflop_grid(
    model_name: str,
    flops_budgets: Iterable[float],
    mean_recurrences: Iterable[int] | None = None,
    *,
    seeds: Iterable[int] = (0,),
    convention: Convention = Convention.PAPER,
    corpus: str,
    corpus_hash: str,
    tokenizer: str,
    tokenizer_hash: str,
) -> list[RunSpec]:
    """One run for each budget C, mean recurrence and seed, each spending C to the nearest step.

    Without recurrences: the paper's grid, or 1 for a model without a loop.

    Tokens D = C / (FLOPs a token), rounded to whole optimiser steps. Budgets, recurrences and seeds may
    repeat or come in any order; runs come back sorted, each once. ``InputError`` for a budget that is
    not a positive number or too small for one step.
    """
    chosen = preset(model_name)
    if mean_recurrences is None:
        mean_recurrences = RECURRENCES if chosen.model.has_loop else (1,)
    budgets, recurrences, wanted_seeds = set(flops_budgets), set(mean_recurrences), set(seeds)
    for name, values in (("budget", budgets), ("recurrence", recurrences), ("seed", wanted_seeds)):
        if not values:
            raise InputError(f"cannot plan without a {name}; give at least one")
    for flops in budgets:
        if not (isfinite(flops) and flops > 0):
            raise InputError(f"cannot plan a budget of {flops:g} FLOPs; it must be a positive number")
    for recurrence in recurrences:
        if recurrence < 1:
            raise InputError(f"cannot plan a mean recurrence of {recurrence}; it must be at least 1")
        if recurrence > 1 and not chosen.model.has_loop:
            raise InputError(
                f"cannot plan a mean recurrence of {recurrence}: {model_name} has no loop; it takes 1"
            )
    for seed in wanted_seeds:
        if not 0 <= seed < 2**63:
            raise InputError(f"cannot plan with seed {seed}; it must be at least 0 and below 2^63")
    specs = []
    for flops in sorted(budgets):
        for recurrence in sorted(recurrences):
            backward_depth = default_backward_depth(recurrence)
            a_token = flops_per_token(
                chosen.model,
                mean_recurrence=recurrence,
                backward_depth=backward_depth,
                convention=convention,
            )
            flops_per_step = a_token * chosen.batch_sequences * chosen.model.context
            tokens = flops / a_token
            if tokens > MOST_TOKENS:
                raise InputError(
                    f"cannot plan {flops:g} FLOPs for {model_name} at recurrence {recurrence}: that is "
                    f"{tokens:.3g} tokens, and a run has at most {MOST_TOKENS:.3g}; give a smaller budget"
                )
            steps = round(flops / flops_per_step)
            if steps < 1:
                raise InputError(
                    f"cannot plan {flops:g} FLOPs for {model_name} at recurrence {recurrence}: "
                    f"one step costs {flops_per_step:.3g}; give a budget of at least that"
                )
            for seed in sorted(wanted_seeds):
                training = TrainConfig(
                    mean_recurrence=recurrence,
                    backward_depth=backward_depth,
                    steps=steps,
                    batch_sequences=chosen.batch_sequences,
                    optimiser=chosen.optimiser,
                    learning_rate=chosen.learning_rate,
                    adamw_learning_rate=chosen.adamw_learning_rate,
                    weight_decay=chosen.weight_decay,
                    precision=chosen.precision,
                    initial_weights=chosen.initial_weights,
                    seed=seed,
                )
                specs.append(
                    RunSpec(
                        model_name=model_name,
                        model=chosen.model,
                        training=training,
                        flops_budget=flops,
                        convention=convention,
                        corpus=corpus,
                        corpus_hash=corpus_hash,
                        tokenizer=tokenizer,
                        tokenizer_hash=tokenizer_hash,
                    )
                )
    return specs


def default_sweep_name(model_name: str, flops_budgets: Iterable[float]) -> str:
    """A name that the same request gets every time, such as `small-140m-1e19`."""
    lowest, highest = min(budgets := list(flops_budgets)), max(budgets)
    name = f"{model_name}-{lowest:g}" + (f"-to-{highest:g}" if highest != lowest else "")
    return re.sub(r"e\+0?", "e", name)
