"""What a run starts from: the paper's normals, or the released code's semi-orthogonal matrices."""

import math

import pytest
import torch
from torch import Tensor

from parcae.config import InitialWeights, ModelConfig
from parcae.training.initial_weights import new_model
from tests.parcae.models import FAMILIES, shape

CPU = torch.device("cpu")
WIDE = shape(width=128, heads=4, mlp_width=256)


def drawn(config: ModelConfig, kind: InitialWeights) -> dict[str, Tensor]:
    model = new_model(config, 0, CPU, kind)
    return {name: parameter.detach().double() for name, parameter in model.named_parameters()}


def test_normal_weights_are_the_papers() -> None:
    for name, weight in drawn(WIDE, InitialWeights.NORMAL).items():
        if name.endswith(".out.weight"):
            assert not weight.any(), name
        elif "norm" in name:
            assert bool((weight == 1).all()), name
        elif name in ("readout.weight", "injection.B.weight"):
            assert torch.equal(weight, torch.eye(128).double()), name
        elif weight.ndim == 2:
            assert float(weight.std()) == pytest.approx(math.sqrt(2 / (5 * 128)), rel=0.3), name


def assert_semi_orthogonal(matrix: Tensor, width: int, name: str) -> None:
    """W W^T or W^T W is the identity times 2 / (5 d) times the longer side."""
    rows, columns = matrix.shape
    gram = matrix @ matrix.T if rows < columns else matrix.T @ matrix
    expected = 2 / (5 * width) * max(rows, columns) * torch.eye(len(gram)).double()
    torch.testing.assert_close(gram, expected, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", [*FAMILIES, "wide", "grouped", "untied"])
def test_released_weights_are_the_released_codes(name: str) -> None:
    others = {
        "wide": WIDE,
        "grouped": shape(width=32, heads=4, key_value_heads=2, value_tables=(), mlp_width=64),
        "untied": shape(tied_embeddings=False),
    }
    config = others[name] if name in others else FAMILIES[name]
    d, heads, keys = config.width, config.heads, config.key_value_heads or config.heads
    for key, weight in drawn(config, InitialWeights.RELEASED).items():
        part = key.split(".")[-2] if "." in key else key
        if part == "out":
            assert not weight.any(), key
        elif "norm" in key or part.startswith("after_"):
            assert bool((weight == 1).all()), key
        elif part == "qkv":
            grouped = keys if not key.startswith("recurrent") else heads
            for matrix in weight.split([d, grouped * d // heads, grouped * d // heads]):
                assert_semi_orthogonal(matrix, d, key)
        elif part in ("inner", "embedding", "unembedding", "readout"):
            assert_semi_orthogonal(weight, d, key)
        elif key.startswith("value_embeddings"):
            assert float(weight.std()) == pytest.approx(1, rel=0.05), key
        elif part == "gate":
            bound = 1 / math.sqrt(min(32, d))
            assert 0.5 * bound < float(weight.abs().max()) <= bound, key
        elif key == "injection.B.weight":
            assert torch.equal(weight, torch.eye(d).double())
        else:
            assert key in ("injection.log_A", "injection.delta_bias", "injection.W"), key


def test_the_readout_is_0632_times_an_orthogonal_matrix() -> None:
    values = torch.linalg.svdvals(drawn(WIDE, InitialWeights.RELEASED)["readout.weight"])
    torch.testing.assert_close(values, torch.full_like(values, math.sqrt(2 / 5)), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", InitialWeights)
def test_the_same_seed_draws_the_same_weights(kind: InitialWeights) -> None:
    one, again = drawn(WIDE, kind), drawn(WIDE, kind)
    assert all(torch.equal(one[name], again[name]) for name in one)
    other = new_model(WIDE, 1, CPU, kind).embedding.weight.double()
    assert not torch.equal(one["embedding.weight"], other)
