"""Hours against arithmetic by hand, memory against what autograd keeps."""

from dataclasses import replace

import pytest
import torch

from parcae.config import Precision
from parcae.flops import flops_per_token, parameter_count
from parcae.losses.cross_entropy import cross_entropy
from parcae.model.transformer import LoopedTransformer, initial_state
from parcae.presets import PRESETS
from parcae.training.hardware import MEMORY_GIB, PEAK_BF16_FLOPS
from parcae.training.initial_weights import new_model
from parcae.training.optimisers.groups import build_optimisers
from sweeps.plan import cost
from sweeps.plan.cost import GIB, Measured, price, price_here, shape, training_memory
from sweeps.plan.grid import isoflop_grid
from tests.sweeps.studies import TEXT

H100 = "H100 80GB HBM3"


def test_hours_on_a_gpu_are_flops_over_its_peak_or_those_of_a_run_that_was() -> None:
    (spec,) = isoflop_grid("small-140m", [1e19], [8], **TEXT)
    found = price(spec, H100, {})
    model = PRESETS["small-140m"].model
    each = flops_per_token(model, mean_recurrence=8, backward_depth=4)
    assert found.hours == pytest.approx(spec.tokens * each / (989.5e12 * 0.4) / 3600)
    assert found.hours == pytest.approx(7.02, rel=0.01)  # 1e19 / 3.958e14 / 3600
    assert "assumption" in found.hours_from
    assert found.fits
    measured = {shape(spec): Measured(device=f"NVIDIA {H100}", tokens_per_second=2e5)}
    known = price(spec, H100, measured)
    assert known.hours == pytest.approx(spec.tokens / 2e5 / 3600)
    assert "assumption" not in known.hours_from
    assert price(spec, "H200", measured).hours_from == found.hours_from  # another device
    assert price(spec, "Abacus", {}).hours is None
    assert price(spec, "Abacus", {}).fits is None


def test_a_batch_is_halved_until_it_fits() -> None:
    (spec,) = isoflop_grid("xlarge-1.3b", [1e20], [12], **TEXT)
    on_large, on_small = (price(spec, name, {}) for name in ("B200", "GeForce RTX 4090"))
    assert on_large.memory.sequences > on_small.memory.sequences == 1
    assert on_large.fits
    assert not on_small.fits  # weights and moments alone take 18 GiB
    assert on_small.memory.states > 12 * 2**30


def test_a_nano_run_takes_seconds_here_and_the_default_plan_years() -> None:
    (nano,) = isoflop_grid("nano", [1e9], [4], **TEXT)
    (small,) = isoflop_grid("small-140m", [1e19], [8], **TEXT)
    assert price_here(nano, 8 * GIB, {}).hours < 1 / 60
    hours = price_here(small, 8 * GIB, {}).hours
    assert hours > 24 * 365
    assert price_here(nano, 8 * GIB, {shape(nano): Measured(device="cpu", tokens_per_second=100)}).hours == (
        pytest.approx(nano.tokens / 100 / 3600)
    )


def test_every_device_with_a_peak_has_a_memory() -> None:
    assert set(PEAK_BF16_FLOPS) == set(MEMORY_GIB)


@pytest.mark.parametrize("name", ["small-140m", "rdm-100m", "small-140m-concat", "small-140m-fixed"])
@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.BFLOAT16])
def test_memory_is_about_what_autograd_keeps(name: str, precision: Precision) -> None:
    known = PRESETS[name]
    model = replace(
        known.model, width=128, heads=2, mlp_width=known.model.mlp_width * 128 // known.model.width
    )
    model = replace(model, vocabulary=64, context=64)
    network = LoopedTransformer(model)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.02)
    sequences, depth = 4, 3
    tokens = torch.randint(64, (sequences, 64))
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    alive: list[torch.Tensor] = []
    mixed = precision is Precision.BFLOAT16
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=mixed),
    ):
        state = initial_state(model, range(sequences), network.embedding.weight)
        y, _, _ = network(tokens, state, [6] * sequences, depth)
        cross_entropy(y.flatten(0, 1), network.unembedding_weight, tokens.flatten())
    estimate = training_memory(model, depth, precision, known.optimiser, sequences)
    casts = parameter_count(model) * 2 * mixed
    assert estimate.activations == pytest.approx(sum(kept.values()) - casts, rel=0.3)
    assert estimate.weights == 4 * parameter_count(model) + casts


@pytest.mark.parametrize("name", ["small-140m", "rdm-100m-concat", "nano-64"])
def test_states_are_the_gradients_and_what_the_optimisers_hold(name: str) -> None:
    known = PRESETS[name]
    width = 16 * known.model.heads
    model = replace(known.model, width=width, mlp_width=2 * width, vocabulary=300, context=32)
    (spec,) = isoflop_grid(name, [1e19], [2], **TEXT)
    network = new_model(model, 0, torch.device("cpu"), known.initial_weights)
    optimisers = build_optimisers(network, spec.training)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    for optimiser in optimisers:
        optimiser.step()
    held = sum(
        value.nbytes
        for optimiser in optimisers
        for state in optimiser.state.values()
        for key, value in state.items()
        if key != "step"
    )
    gradients = sum(parameter.nbytes for parameter in network.parameters())
    estimate = training_memory(model, 1, Precision.FLOAT32, known.optimiser, 1)
    assert estimate.states == gradients + held


def test_the_logits_at_once_are_those_of_the_loss() -> None:
    from parcae.losses import cross_entropy as loss

    assert cost.LOGITS_AT_ONCE == loss.LOGITS_AT_ONCE
