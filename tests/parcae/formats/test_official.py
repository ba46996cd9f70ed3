"""Checkpoints of the official code: the same logits, the same file again, and no code of a stranger's."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from parcae.errors import InputError
from parcae.flops import parameter_count
from parcae.formats.pretrained import load_model, load_pretrained, save_model
from tests.parcae import official

LOOPED: dict[str, dict[str, Any]] = {
    "paper": {},
    "one-layer-stages": dict.fromkeys(
        ("n_layers_in_prelude", "n_layers_in_recurrent_block", "n_layers_in_coda"), 1
    ),
    "odd-backward": {"n_layers_in_recurrent_block": 1, "mean_recurrence": 5, "mean_backprop_depth": 3},
    "uneven": {"n_layers_in_prelude": 1, "n_layers_in_recurrent_block": 3, "n_layers_in_coda": 2},
    "linear": {"injection_type": "linear", "prelude_norm": False},
    "add": {"injection_type": "add"},
    "rdm": {
        "mlp_class_name": "GatedMLP",
        "nonlin_name": "SiLU",
        "qk_norm": False,
        "injection_type": "linear",
    },
    "gated-relu2": {"mlp_class_name": "GatedMLP"},
    "plain-silu": {"nonlin_name": "SiLU"},
    "no-norms": {"prelude_norm": False, "qk_norm": False},
    "wide-state": {
        "recurrent_embedding_dimension": 96,
        "recurrent_num_attention_heads": 6,
        "recurrent_intermediation_embedding_dimension": 80,
        "n_layers_in_recurrent_block": 1,
        "mean_recurrence": 4,
        "mean_backprop_depth": 2,
        "n_layers_in_prelude": 1,
        "n_layers_in_coda": 1,
    },
    "narrow-state-linear": {
        "recurrent_embedding_dimension": 32,
        "recurrent_num_attention_heads": 2,
        "injection_type": "linear",
        "n_layers_in_recurrent_block": 1,
        "n_layers_in_prelude": 1,
        "n_layers_in_coda": 1,
    },
    "grouped-query": {
        "num_key_value_heads": 2,
        "n_layers_in_prelude": 1,
        "n_layers_in_recurrent_block": 1,
        "n_layers_in_coda": 1,
    },
    "untied": {"tie_embeddings": False},
    "untied-transposed": {"tie_embeddings": False, "use_fused_head": "full-triton"},
    "epsilon-and-base": {
        "norm_eps": 1e-2,
        "rope_settings": {"use_rope": True, "rope_condense_ratio": 1, "rope_base": 10000},
    },
    "zero-state": {"state_init": "zero"},
}
FIXED: dict[str, dict[str, Any]] = {
    "paper": {},
    "five-layers": {"n_layer": 5},
    "one-layer": {"n_layer": 1},
    "untied": {"tie_embeddings": False},
    "gated": {"mlp_class_name": "GatedMLP", "nonlin_name": "SiLU", "qk_norm": False},
    "grouped-query": {"num_key_value_heads": 1},
    "fused-head": {"use_fused_head": "pytorch"},
}


def saved(folder: Path, config: official.Config, state: Any, name: str = "model.pt") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(state, folder / name)
    return folder


def tokens_and_state(config: official.Config) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(config["padded_vocab_size"], (2, 24), generator=generator)
    width = config.get("recurrent_embedding_dimension", config["n_embd"])
    return tokens, torch.randn(2, 24, width, generator=generator)


@pytest.mark.parametrize("case", LOOPED)
@torch.no_grad()
def test_a_looped_checkpoint_gives_the_official_logits(case: str, tmp_path: Path) -> None:
    config = official.parcae_config(**LOOPED[case])
    weights = official.random_state(config)
    model = load_model(saved(tmp_path / "official", config, weights))
    tokens, h = tokens_and_state(config)
    for recurrences in (1, 4, 8):
        expected = official.logits(config, weights, tokens, h, recurrences)
        assert expected.std() > 0.1
        actual = model.logits_at(tokens, recurrences, h)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)
    own = sum(p.numel() for p in model.parameters())
    tied = 1 if config["tie_embeddings"] else 0
    theirs = sum(w.numel() for name, w in weights.items() if name != "freqs_cis")
    assert own == theirs - tied * weights["lm_head.weight"].numel() == parameter_count(model.config)


@pytest.mark.parametrize("case", FIXED)
@torch.no_grad()
def test_a_fixed_depth_checkpoint_gives_the_official_logits(case: str, tmp_path: Path) -> None:
    config = official.gpt_config(**FIXED[case])
    weights = official.random_state(config)
    model = load_model(saved(tmp_path / "official", config, weights))
    tokens, _ = tokens_and_state(config)
    expected = official.logits(config, weights, tokens, None, 1)
    torch.testing.assert_close(model.logits_at(tokens, 1), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(model.logits_at(tokens, 7), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", [*LOOPED, *(f"fixed-{case}" for case in FIXED)])
def test_there_and_back_again_is_the_same_to_the_bit(case: str, tmp_path: Path) -> None:
    fixed = case.startswith("fixed-")
    config = (
        official.gpt_config(**FIXED[case.removeprefix("fixed-")])
        if fixed
        else official.parcae_config(**LOOPED[case])
    )
    weights = official.random_state(config)
    first = load_pretrained(saved(tmp_path / "official", config, weights))
    save_model(first, tmp_path / "ours")
    second = load_pretrained(tmp_path / "ours")
    assert second.model.config == first.model.config
    assert second.mean_recurrence == first.mean_recurrence == (1 if fixed else config["mean_recurrence"])
    save_model(second, tmp_path / "back", official=True)
    back = torch.load(tmp_path / "back" / "pytorch_model.bin", weights_only=True)
    unused_head = fixed and config["tie_embeddings"]
    for name in weights.keys() - ({"lm_head.weight"} if unused_head else set()):
        if name == "lm_head.weight" and config["use_fused_head"] == "full-triton":
            assert torch.equal(back[name], weights[name].T)
            continue
        assert torch.equal(back[name], weights[name]), name
    assert back.keys() == weights.keys()
    written = json.loads((tmp_path / "back" / "config.json").read_text())
    chosen_here = {"use_fused_head", "init_orthogonal", "recurrent_num_attention_heads", "vocab_size"}
    for key in written.keys() - chosen_here:
        assert written[key] == config[key], key
    tokens, h = tokens_and_state(config)
    again = load_model(tmp_path / "back")
    torch.testing.assert_close(
        again.logits_at(tokens, 4, h if not fixed else None),
        first.model.logits_at(tokens, 4, h if not fixed else None),
        rtol=0,
        atol=0,
    )


def test_wrappings_prefixes_and_file_names_are_seen_through(tmp_path: Path) -> None:
    config = official.parcae_config()
    weights = official.random_state(config)
    tokens, h = tokens_and_state(config)
    expected = load_model(saved(tmp_path / "plain", config, weights)).logits_at(tokens, 4, h)
    wrapped = {
        "ddp": {f"module.{name}": tensor for name, tensor in weights.items()},
        "compiled": {f"_orig_mod.{name}": tensor for name, tensor in weights.items()},
        "both": {f"module._orig_mod.{name}": tensor for name, tensor in weights.items()},
        "trainer": {"model": weights, "step": 12, "optimizer": {"state": {}}},
        "block": {name.replace("lude.0.", "lude.0._orig_mod."): tensor for name, tensor in weights.items()},
        "half": {name: tensor.bfloat16().float() for name, tensor in weights.items()},
    }
    for case, state in wrapped.items():
        folder = saved(tmp_path / case, config, state, "pytorch_model.bin")
        close = 1.0 if case == "half" else 0
        torch.testing.assert_close(load_model(folder).logits_at(tokens, 4, h), expected, rtol=0, atol=close)
    unnamed = {key: value for key, value in config.items() if key != "_class_name"}
    assert load_model(saved(tmp_path / "unnamed", unnamed, weights)).config.has_loop
    (tmp_path / "safe").mkdir()
    (tmp_path / "safe" / "config.json").write_text(json.dumps(config))
    alone = {name: tensor.clone() for name, tensor in weights.items() if name != "lm_head.weight"}
    save_file(alone, tmp_path / "safe" / "model.safetensors")
    torch.testing.assert_close(load_model(tmp_path / "safe").logits_at(tokens, 4, h), expected)


class Hostile:
    """Unpickled by a careless reader, it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_a_hostile_pickle_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    config = official.parcae_config()
    state = official.random_state(config) | {"transformer.ln_f.weight": Hostile(marker)}
    with pytest.raises(InputError, match="never executed"):
        load_model(saved(tmp_path / "hostile", config, state, name))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"block_class_name": "SandwichBlock"}, "block_class_name 'SandwichBlock'"),
        ({"norm_class_name": "LayerNorm"}, "norm_class_name 'LayerNorm'"),
        ({"nonlin_name": "GELU"}, "nonlin_name 'GELU'"),
        ({"injection_type": "gate"}, "injection_type 'gate'"),
        ({"logit_softcap": 15.0}, "logit_softcap 15.0"),
        ({"bias": True}, "bias True"),
        ({"init_strategy": "takase"}, "init_strategy 'takase'"),
        ({"rope_settings": {"use_rope": False}}, "use_rope False"),
        ({"rope_settings": {"rope_base": 10000}}, "rope_base 10000"),
        ({"_class_name": "EQLMConfig"}, "_class_name 'EQLMConfig'"),
        ({"n_embd": "64"}, "n_embd '64'"),
        ({"n_embd": 2**40}, "n_embd 1099511627776"),
        ({"num_attention_heads": 0}, "heads is 0"),
        ({"norm_eps": 10**400}, "norm_eps 1000"),
        ({"norm_eps": float("nan")}, "norm_eps nan"),
        ({"intermediate_size": 128}, "of shape"),
        ({"n_layers_in_coda": 3}, "layers"),
        ({"recurrent_num_attention_heads": 8}, "8 heads"),
        ({"state_init": "noise"}, "state_init 'noise'"),
        ({"prelude_norm": False}, "ln_prelude"),
        ({"block_size": 12_000}, "freqs_cis"),
    ],
)
def test_what_is_not_this_model_is_refused_by_name(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    config = official.parcae_config()
    folder = saved(tmp_path / "odd", config | changes, official.random_state(config))
    with pytest.raises(InputError) as refusal:
        load_model(folder)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_extra_or_folder_is_a_sentence(tmp_path: Path) -> None:
    config = official.parcae_config()
    weights = official.random_state(config)
    with pytest.raises(InputError, match="no model folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match="neither"):
        load_model(tmp_path)
    missing = {name: tensor for name, tensor in weights.items() if name != "transformer.C.weight"}
    with pytest.raises(InputError, match=r"lacks transformer\.C\.weight"):
        load_model(saved(tmp_path / "missing", config, missing))
    with pytest.raises(InputError, match=r"surplus\.weight"):
        load_model(saved(tmp_path / "surplus", config, weights | {"surplus.weight": torch.zeros(2)}))
    whole = saved(tmp_path / "cut", config, weights) / "model.pt"
    whole.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(InputError, match="damaged"):
        load_model(tmp_path / "cut")
