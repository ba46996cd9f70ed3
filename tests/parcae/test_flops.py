"""The analytic count against torch's own, which counts the products of a real forward and backward pass.

On the meta device, where the published sizes take no memory. torch counts attention as two full products of
every token with every other, as the analytic count does; kernels that skip the upper triangle spend less.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from parcae.config import DepthSampling, Injection, ModelConfig, default_backward_depth
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.flops import Convention, batch_flops, counted_parameters, flops_per_token
from parcae.model.transformer import LoopedTransformer
from parcae.presets import PRESETS
from parcae.training import run as run_module
from parcae.training.depth import expected_recurrences, realised_flops, sample_depths
from tests.parcae.models import FAMILIES, TINY, shape, training

SEQUENCES = 2
ODD = shape(
    width=64,
    heads=4,
    state_width=96,
    key_value_heads=2,
    recurrent_mlp_width=80,
    value_gates=(3,),
    tied_embeddings=False,
    gated_mlp=True,
)


class Untracked(nullcontext[None]):
    """In place of the counter's tally by module, whose hooks fail on a slice taken without gradient."""

    parents = frozenset({"Global"})


def counted(config: ModelConfig, depths: list[int], backward_depth: int) -> tuple[int, int]:
    """(forward, forward and backward) FLOPs of one pass over sequences of these depths, as torch counts."""
    with torch.device("meta"):
        model = LoopedTransformer(config)
        tokens = torch.zeros(len(depths), config.context, dtype=torch.long)
        state = torch.zeros(len(depths), config.context, config.loop_width)
        model.rotation = torch.empty_like(model.rotation)
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = Untracked()
        with counter:
            y, _, _ = model(tokens, state, depths, backward_depth)
            logits = model.logits(y)
            forward = counter.get_total_flops()
            logits.sum().backward()
    return forward, counter.get_total_flops()


def is_quick(name: str, config: ModelConfig) -> bool:
    """Sizes of many layers stand for themselves; their baselines are those of the smaller sizes."""
    return config.layers <= 6 or name.removesuffix("-fixed").count("-") < 2


CASES = [(name, preset.model) for name, preset in PRESETS.items() if is_quick(name, preset.model)]
CASES += [*FAMILIES.items(), ("odd", ODD)]


@pytest.mark.parametrize(("name", "config"), CASES, ids=[name for name, _ in CASES])
def test_forward_and_backward_are_what_torch_counts(name: str, config: ModelConfig) -> None:
    for recurrences, backward_depth in ((4, 2),) if config.layers > 6 else ((1, 1), (4, 2), (7, 7)):
        counts = counted(config, [recurrences] * SEQUENCES, backward_depth)
        forward, both = (count / (SEQUENCES * config.context) for count in counts)
        analytic = flops_per_token(config, mean_recurrence=recurrences, backward_depth=backward_depth)
        # `concat` alone is not exact: the first recurrence with gradient sends none through W1 to its state.
        assert both == pytest.approx(analytic, rel=1e-2 if config.injection is Injection.CONCAT else 1e-12)
        without = flops_per_token(config, mean_recurrence=recurrences, backward_depth=0)
        once = flops_per_token(config, mean_recurrence=0, backward_depth=0) if config.has_loop else without
        assert forward == pytest.approx(without - once * 2 / 3 if config.has_loop else without / 3, rel=1e-12)


def test_conventions_differ_in_what_they_say_they_do() -> None:
    config = PRESETS["small-140m"].model
    tables = 3 * 32_768 * 768  # two of them once, one in the recurrent block
    once, recurrent = counted_parameters(config)
    official = counted_parameters(config, Convention.OFFICIAL)
    assert official == (once - 32_768 * 768 + tables * 2 // 3, recurrent + tables // 3)
    full = flops_per_token(config, mean_recurrence=8, backward_depth=8)
    unrolled = flops_per_token(config, mean_recurrence=8, backward_depth=4, convention=Convention.UNROLLED)
    assert unrolled - full == 6 * (tables * 2 // 3 + 8 * tables // 3)


@pytest.mark.parametrize(("name", "config"), [*FAMILIES.items(), ("odd", ODD)])
def test_a_batch_costs_what_torch_counts_of_its_active_sequences(name: str, config: ModelConfig) -> None:
    for depths, backward_depth in (([6, 3, 1], 2), ([3, 1], 3)):
        spent = batch_flops(config, depths, backward_depth)
        # `concat` alone is not exact: the first recurrence with gradient sends none through W1 to its state.
        tolerance = 3e-2 if config.injection is Injection.CONCAT else 1e-12
        assert counted(config, depths, backward_depth)[1] == pytest.approx(spent, rel=tolerance)


@pytest.mark.parametrize("convention", Convention)
def test_a_batch_of_equal_depths_costs_what_its_tokens_do(convention: Convention) -> None:
    config = PRESETS["small-140m"].model
    a_token = flops_per_token(config, mean_recurrence=6, backward_depth=3, convention=convention)
    assert batch_flops(config, [6] * 5, 3, convention) == pytest.approx(5 * 2_048 * a_token, rel=1e-12)
    fixed = PRESETS["small-140m-fixed"].model
    a_token = flops_per_token(fixed, mean_recurrence=1, backward_depth=1, convention=convention)
    assert batch_flops(fixed, [6, 1], 3, convention) == pytest.approx(2 * 2_048 * a_token, rel=1e-12)


@pytest.mark.parametrize("sampling", ["per-sequence", "per-batch", "huginn"])
def test_a_result_has_the_flops_of_the_recurrences_that_ran(
    sampling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recurrences are counted as the loop runs; the FLOPs of one are written out."""
    ran = {True: 0, False: 0}
    recur, evaluate = LoopedTransformer.recur, run_module.evaluate

    def counting(self: LoopedTransformer, h: torch.Tensor, *rest: Any) -> torch.Tensor:
        ran[torch.is_grad_enabled()] += len(h)
        return recur(self, h, *rest)

    def evaluating(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(LoopedTransformer, "recur", recur)  # which is no training
        return evaluate(*arguments, **options)

    monkeypatch.setattr(LoopedTransformer, "recur", counting)
    monkeypatch.setattr(run_module, "evaluate", evaluating)
    run = training(
        steps=6, batch_sequences=5, mean_recurrence=5, backward_depth=3, sampling=DepthSampling(sampling)
    )
    result = run_module.train(TINY, run, load_corpus(EMBEDDED), tmp_path)
    once, recurrent = counted_parameters(TINY, Convention.PAPER)
    attention = 4 * TINY.width * TINY.context
    forward = 2 * recurrent + attention * TINY.recurrent_layers
    others = 2 * once + attention * (TINY.prelude_layers + TINY.coda_layers)
    expected = TINY.context * (3 * others * 6 * 5 + 3 * forward * ran[True] + forward * ran[False])
    assert result.realised_flops == pytest.approx(expected, rel=1e-12)
    assert ran[False] > 0


def test_a_run_costs_its_batches() -> None:
    run = training(steps=30, batch_sequences=6, mean_recurrence=5, backward_depth=3, seed=4)
    batches = [batch_flops(TINY, sample_depths(run, step).tolist(), 3) for step in range(30)]
    assert realised_flops(TINY, run) == pytest.approx(sum(batches), rel=1e-12)
    assert len(set(batches)) > 5
    early = replace(run, steps=7)  # where a run that diverged has stopped
    assert realised_flops(TINY, early) == pytest.approx(sum(batches[:7]), rel=1e-12)
    other = realised_flops(TINY, run, Convention.UNROLLED)
    assert other == pytest.approx(
        sum(batch_flops(TINY, sample_depths(run, s).tolist(), 3, Convention.UNROLLED) for s in range(30)),
        rel=1e-12,
    )


@pytest.mark.parametrize(
    ("mean", "excess"),  # SCIENCE, section 3, at 140M: at least one recurrence, and truncation
    [(1, 0.0), (2, 0.010), (4, -0.009), (12, -0.002)],
)
def test_depths_of_at_least_one_cost_otherwise_than_planned(mean: int, excess: float) -> None:
    config = PRESETS["small-140m"].model
    run = training(mean_recurrence=mean, backward_depth=default_backward_depth(mean), batch_sequences=256)
    planned = flops_per_token(config, mean_recurrence=mean, backward_depth=run.backward_depth)
    without, with_gradient = expected_recurrences(run)
    expected = flops_per_token(config, mean_recurrence=without + with_gradient, backward_depth=with_gradient)
    assert expected / planned - 1 == pytest.approx(excess, abs=6e-4)
    run = replace(run, steps=1_000)
    assert realised_flops(config, run) / (run.tokens(2_048) * expected) == pytest.approx(1, abs=2e-3)
