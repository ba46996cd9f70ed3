"""Spikes are counted, norms are those of what the model computes, and asking changes no number."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from parcae.config import ExecutionConfig, Telemetry
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.model.transformer import initial_state
from parcae.training.run import train
from parcae.training.telemetry import SpikeCounter, layer_norms, spectral_norms
from tests.parcae.models import FAMILIES, TINY, random_model, random_tokens, shape, training
from tests.parcae.training.test_run import numbers

CORPUS = load_corpus(EMBEDDED)


def spikes(values: list[float]) -> list[int]:
    """The values that raised the count."""
    counter, found = SpikeCounter(), []
    for index, value in enumerate(values):
        before = counter.spikes
        counter.add(value)
        counter = SpikeCounter(counter.state)  # as across a checkpoint
        found += [index] * (counter.spikes - before)
    return found


def test_leaps_are_spikes_and_falls_noise_and_beginnings_are_not() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 600)
    loss = 2 + 3 * np.exp(-np.arange(600) / 100) + noise
    assert spikes(loss.tolist()) == []
    loss[[100, 300, 301, 500]] += [2.0, 1.0, 1.0, -2.0]
    assert spikes(loss.tolist()) == [100, 300, 301]
    assert spikes([*loss[:50].tolist(), math.nan, math.inf]) == []


def test_a_new_level_is_not_a_spike_for_ever() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 600)
    found = spikes([*noise[:300].tolist(), *(noise[300:] + 1).tolist()])
    assert found[0] == 300
    assert len(found) < 5


@pytest.mark.parametrize("family", FAMILIES)
def test_spectral_norms_are_those_of_the_matrices(family: str) -> None:
    model = random_model(FAMILIES[family])
    norms = spectral_norms(model)
    if model.readout is None:
        assert norms["readout_norm"] is None
    else:
        largest = float(torch.linalg.svdvals(model.readout.weight.detach())[0])
        assert norms["readout_norm"] == pytest.approx(largest)
    if model.injection is None:
        assert norms["injection_norm"] is norms["input_norm"] is None
    else:
        assert norms["input_norm"] == pytest.approx(model.injection.input_norm())


@torch.no_grad()
def test_the_walk_tells_the_norm_after_every_part_of_every_recurrence() -> None:
    config = shape(recurrent_layers=1)
    model = random_model(config)
    tokens, depths = random_tokens(config, 3), [3, 3, 3]
    state = initial_state(config, [1, 2, 3], model.embedding.weight)
    norms = layer_norms(model, lambda: model(tokens, state, depths, 3))
    encoded, h, expected = model.encode(tokens), state, []
    for _ in range(3):
        h = model.recur(h, encoded)
        expected.append(float(h.square().sum(-1).mean().sqrt()))
    assert norms["recurrent.0"] == pytest.approx(expected)
    assert len(norms["recurrent.0.attention"]) == len(norms["recurrent.0.mlp"]) == 3
    assert len(norms["prelude.0"]) == len(norms["coda.0.mlp"]) == len(norms["readout"]) == 1
    assert norms["final_norm"][0] == pytest.approx(
        float(model.finish(h, encoded).square().sum(-1).mean().sqrt())
    )
    assert not any(module._forward_hooks for module in model.modules())


def test_the_extreme_level_writes_its_own_file_and_changes_nothing(tmp_path: Path) -> None:
    train(TINY, training(), CORPUS, tmp_path / "plain")
    extreme = ExecutionConfig(telemetry=Telemetry.EXTREME)
    asked = iter([False] * 4 + [True])
    train(TINY, training(), CORPUS, tmp_path / "extreme", execution=extreme, stop=lambda: next(asked))
    train(TINY, training(), CORPUS, tmp_path / "extreme", execution=extreme)
    assert numbers(tmp_path / "extreme") == numbers(tmp_path / "plain")
    assert not (tmp_path / "plain" / "layers.jsonl").exists()
    lines = [json.loads(line) for line in (tmp_path / "extreme" / "layers.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    depths = {len(line["norms"]["recurrent.1"]) for line in lines}
    assert len(depths) > 1  # the deepest sequence of each step
