"""What `train` does with precision, initial weights and optimiser, read from the checkpoint it leaves."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from parcae.config import InitialWeights, ModelConfig, Optimiser, Precision, TrainConfig
from parcae.data.batches import Batches
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.randomness import Stream, torch_seeds
from parcae.errors import InputError
from parcae.model.transformer import initial_state
from parcae.training.depth import sample_depths
from parcae.training.initial_weights import new_model
from parcae.training.optimisers.muon import POLAR_EXPRESS
from parcae.training.run import train
from tests.parcae.models import TINY, shape, training

CORPUS = load_corpus(EMBEDDED)


def checkpoint_after(config: ModelConfig, recipe: TrainConfig, steps: int, folder: Path) -> dict[str, Any]:
    asked = iter([False] * (steps - 1) + [True])
    train(config, recipe, CORPUS, folder, stop=lambda: next(asked))
    file = max((folder / "checkpoint").glob("step-*.pt"))
    values: dict[str, Any] = torch.load(file, weights_only=True)
    assert values["step"] == steps
    return values


def tensors(values: object) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from tensors(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors(value)


@pytest.mark.parametrize("optimiser", Optimiser)
def test_mixed_precision_keeps_weights_and_optimiser_states_in_float32(
    tmp_path: Path, optimiser: Optimiser
) -> None:
    recipe = training(optimiser=optimiser, precision=Precision.BFLOAT16)
    values = checkpoint_after(TINY, recipe, 3, tmp_path)
    assert {tensor.dtype for tensor in tensors(values["model"])} == {torch.float32}
    states = list(tensors([optimiser["state"] for optimiser in values["optimisers"]]))
    assert len(states) > len(values["model"])
    assert {tensor.dtype for tensor in states} == {torch.float32}


def test_the_residual_stream_stays_in_float32(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from parcae.model.layers import Layer

    seen = []
    forward = Layer.forward

    def watched(self: Layer, x: Tensor, *rest: object) -> Tensor:
        y = forward(self, x, *rest)
        seen.append((x.dtype, y.dtype))
        return y

    monkeypatch.setattr(Layer, "forward", watched)
    checkpoint_after(TINY, training(precision=Precision.BFLOAT16), 2, tmp_path)
    assert set(seen) == {(torch.float32, torch.float32)}


def test_a_norms_weight_moves_as_in_float32(tmp_path: Path) -> None:
    """In bfloat16 weights a step of 2e-3 from 1 is rounded away: the weight never moves."""
    moved = {}
    for precision in (Precision.FLOAT32, Precision.BFLOAT16):
        recipe = training(steps=40, learning_rate=2e-3, adamw_learning_rate=2e-3, precision=precision)
        values = checkpoint_after(TINY, recipe, 20, tmp_path / precision)
        moved[precision] = values["model"]["final_norm.weight"] - 1
    assert float(moved[Precision.FLOAT32].abs().max()) > 0.01
    torch.testing.assert_close(moved[Precision.BFLOAT16], moved[Precision.FLOAT32], rtol=0, atol=1e-3)


def test_a_run_planned_with_bfloat16_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float32 weights"):
        train(TINY, training(precision=Precision.BFLOAT16_WEIGHTS), CORPUS, tmp_path)


def orthogonal(matrix: Tensor) -> Tensor:
    """The released five steps, on the singular values."""
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    values = values / (1.02 * values.square().sum().sqrt() + 1e-6)
    for a, b, c in POLAR_EXPRESS:
        values = a * values + b * values**3 + c * values**5
    return u @ torch.diag(values) @ v


def test_steps_equal_the_released_rule_written_again(tmp_path: Path) -> None:
    """Momentum rises from 0.85, the first step is left out, gates are Muon's, Adam counts from the second,
    decay falls over the whole run; norms, embeddings, injection and C_out are AdamW's, without decay."""
    config = shape(width=16, heads=2, prelude_layers=1, recurrent_layers=1, coda_layers=1)
    recipe = training(
        steps=8,
        optimiser=Optimiser.MUON,
        learning_rate=8e-3,
        adamw_learning_rate=6e-3,
        weight_decay=0.2,
        precision=Precision.FLOAT64,
        initial_weights=InitialWeights.RELEASED,
    )
    taken = 6
    found = checkpoint_after(config, recipe, taken, tmp_path)["model"]

    model = new_model(config, recipe.seed, torch.device("cpu"), InitialWeights.RELEASED).double()
    batches = Batches(
        CORPUS, context=config.context, batch_sequences=recipe.batch_sequences, seed=recipe.seed
    )
    momenta = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    squares = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
    for step in range(taken):
        tokens, targets = batches.batch(step)
        depths = sample_depths(recipe, step)
        order = sorted(range(len(depths)), key=lambda i: -depths[i])
        seeds = torch_seeds(recipe.seed, Stream.STATE, step, len(depths))
        h0 = initial_state(config, [seeds[i] for i in order], model.embedding.weight)
        model.zero_grad()
        y, _, _ = model(
            torch.from_numpy(tokens[order]), h0, [int(depths[i]) for i in order], recipe.backward_depth
        )
        logits = model.logits(y).flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets[order]).flatten()).backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values() if g is not None))
        clip = min(1.0, 1.0 / (norm + 1e-6))
        if step == 0:
            continue
        fall = min(1.0, (8 - step) / 4)
        mu = 0.85 + 0.1 * step / 300
        with torch.no_grad():
            for name, weight in model.named_parameters():
                assert gradients[name] is not None
                g = clip * gradients[name]
                if any(part in name for part in ("attention.qkv", "attention.out", "gate", "mlp.")):
                    momenta[name] = mu * momenta[name] + (1 - mu) * g
                    nesterov = mu * momenta[name] + (1 - mu) * g
                    pieces = nesterov.split(16) if "qkv" in name else [nesterov]
                    update = torch.cat([orthogonal(piece) for piece in pieces])
                    rows, columns = pieces[0].shape
                    rate = 8e-3 * fall * max(1, rows / columns) ** 0.5
                    decay = 0.2 * (1 - step / 8)
                    weight -= rate * (update + decay * weight * (update * weight >= 0))
                else:
                    momenta[name] = 0.8 * momenta[name] + 0.2 * g
                    squares[name] = 0.95 * squares[name] + 0.05 * g**2
                    first, second = 1 - 0.8**step, 1 - 0.95**step  # counted from the step left out
                    size = (squares[name] / second).sqrt() + 1e-10
                    weight -= 6e-3 * fall * momenta[name] / first / size
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(found[name], weight.detach(), rtol=1e-6, atol=1e-6, msg=name)
