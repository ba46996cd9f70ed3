"""Every parameter of every preset is moved by the optimiser that the paper gives it."""

import pytest
import torch

from parcae.config import Injection, ModelConfig, Optimiser
from parcae.model.transformer import LoopedTransformer
from parcae.presets import PRESETS
from parcae.training.optimisers.groups import build_optimisers, set_rates
from tests.parcae.models import FAMILIES, random_model, shape, training

SHAPES = {
    **FAMILIES,
    **{name: preset.model for name, preset in PRESETS.items()},
    "grouped queries, untied": shape(key_value_heads=1, value_tables=(), tied_embeddings=False),
    "rdm-100m, residual norm": ModelConfig.from_dict(
        {**PRESETS["rdm-100m"].model.to_dict(), "injection": Injection.CONCAT, "residual_norm": True}
    ),
}
MUON = training(
    optimiser=Optimiser.MUON, learning_rate=8e-3, adamw_learning_rate=6e-3, weight_decay=0.2, steps=10
)


@pytest.mark.parametrize("name", SHAPES)
def test_muon_moves_matrices_and_value_gates_and_nothing_else(name: str) -> None:
    with torch.device("meta"):
        model = LoopedTransformer(SHAPES[name])
    muon, adamw = build_optimisers(model, MUON)
    names = {parameter: name for name, parameter in model.named_parameters()}
    moved = {
        kind: {names[parameter]: group for group in optimiser.param_groups for parameter in group["params"]}
        for kind, optimiser in (("muon", muon), ("adamw", adamw))
    }
    assert moved["muon"].keys() | moved["adamw"].keys() == set(names.values())
    assert not moved["muon"].keys() & moved["adamw"].keys()
    matrices = {
        f"{stage}.{index}.{part}.weight"
        for stage in ("prelude", "recurrent", "coda")
        for index in range(len(getattr(model, stage)))
        for part in ("attention.qkv", "attention.out", "mlp.inner", "mlp.out")
    }
    gates = {name for name in names.values() if name.endswith("attention.gate.weight")}
    assert moved["muon"].keys() == matrices | gates
    for name, group in moved["muon"].items():
        d, wide = model.config.width, model.config.mlp_width
        gated = model.config.has_gated_mlp
        grouped = None if name.startswith("recurrent") else model.config.key_value_heads
        keys = (grouped or model.config.heads) * model.config.head_dimension
        rows = {"qkv": (d, keys, keys), "inner": (wide, wide) if gated else (wide,), "out": (d,)}
        rows["gate"] = (model.get_parameter(name).shape[0],)
        assert group["rows"] == rows[name.split(".")[-2]]
        assert sum(group["rows"]) == len(model.get_parameter(name))
    for step, expected in ((0, 1.0), (5, 1.0), (7, 0.6), (9, 0.2)):
        assert set_rates([muon, adamw], MUON, step) == pytest.approx(8e-3 * expected)
        for group in muon.param_groups:
            assert group["weight_decay"] == pytest.approx(0.2 * (1 - step / 10))
            assert group["lr"] == pytest.approx(8e-3 * expected)
            assert group["momentum"] == pytest.approx(0.85 + 0.1 * step / 300)
        (group,) = adamw.param_groups
        assert group["lr"] == pytest.approx(6e-3 * expected)
        assert (group["weight_decay"], group["betas"], group["eps"]) == (0.0, (0.8, 0.95), 1e-10)


def test_under_adamw_alone_the_matrices_decay_and_all_have_one_rate() -> None:
    model = random_model(FAMILIES["parcae"])
    (adamw,) = build_optimisers(model, training(learning_rate=1e-2, weight_decay=0.1))
    set_rates([adamw], training(learning_rate=1e-2), 0)
    matrices, rest = adamw.param_groups
    assert {group["lr"] for group in adamw.param_groups} == {1e-2}
    assert (matrices["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)
    assert len(matrices["params"]) == 16
