"""The official release's layout: `config.json`, and a state dict in `pytorch_model.bin` or `model.pt`.

What the official code would compute and this model cannot is refused, naming key and value. Names and rules
are those of the release of arXiv 2604.12946.

The official code numbers layers twice. Value-embedding tables go by a layer's place, prelude, recurrent and
coda layers counted once each; gates by a number that puts the coda after `mean_recurrence` recurrent blocks,
and by the parity of `n_layers_in_recurrent_block * mean_backprop_depth`. A layer adds value embeddings where
it has both. So it is the file that says which layers have which, and not every model can be written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from parcae.config import Activation, Injection, ModelConfig, StateInit
from parcae.errors import InputError
from parcae.flops import GATE_CHANNELS
from parcae.layers import rotation_table
from parcae.weights import read_state

WEIGHTS = ("pytorch_model.bin", "model.pt", "model.bin", "model.safetensors")
"""Where the official loaders look for the state dict; the first that is there."""

_INJECTIONS = {"diagonal": Injection.DIAGONAL, "linear": Injection.CONCAT, "add": Injection.ADD}
_ACTIVATIONS = {"ReLU2": Activation.SQUARED_RELU, "SiLU": Activation.SILU}
_MLPS = {"BaseMLP": False, "GatedMLP": True}
_STATES = {kind.value: kind for kind in StateInit}
_ONLY: dict[str, tuple[Any, ...]] = {
    "block_class_name": ("TransformerPreNormBlock",),
    # Five codings of one norm.
    "norm_class_name": ("RMSNorm", "RMSNorm_llama", "TorchRMSNorm", "GemmalikeRMS", "FusedRMSNorm"),
    # Those that scale neither embeddings nor logits, and draw embeddings from N(0, 2 / (5 d)).
    "init_strategy": ("scaled", "scaled-zero", "scaled-geiping", "scaled-stuck", "small"),
    **dict.fromkeys(("bias", "qk_bias", "use_abacus"), (False,)),
    **dict.fromkeys(("clip_qkv", "logit_softcap"), (None,)),
    "mup_model_scaling_factor": (1,),
}
_ROPE_ONLY: dict[str, tuple[Any, ...]] = {"use_rope": (True,), "rope_condense_ratio": (1,)}
_TABLE_TOLERANCE = 0.01  # the position table may have been rounded to bfloat16
_STAGES = ("prelude", "recurrent", "coda")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OfficialModel:
    """A checkpoint of the official code in this project's terms."""

    config: ModelConfig
    weights: dict[str, Tensor]
    """The state dict of ``LoopedTransformer``."""
    mean_recurrence: int
    backward_depth: int
    used_vocabulary: int
    """Entries the tokenizer has; the embedding may be padded beyond."""


def read_official(folder: Path, values: dict[str, Any]) -> OfficialModel:
    """The checkpoint in `folder`, whose config.json holds `values`. ``InputError`` says what is wrong."""
    loop = _has_loop(values)
    _check_supported(values)
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"there are no weights in {folder}; it takes {' or '.join(WEIGHTS[:2])}")
    state = read_state(path)
    config = _model_config(values, state, path, loop=loop)
    _check_positions(state.pop("freqs_cis", None), config, path)
    weights = {}
    for ours, theirs in _parameter_names(config):
        parts = [_take(state, name, path) for name in theirs]
        if len({part.shape[1:] for part in parts}) > 1:
            raise InputError(f"{path} holds {theirs[0]} and {theirs[-1]} of shapes that do not go together")
        weights[ours] = torch.cat(parts)
    head = state.pop("lm_head.weight", None)
    if not config.tied_embeddings:
        if head is None:
            raise InputError(f"{path} lacks lm_head.weight, and config.json does not tie it to wte")
        transposed = not loop or values.get("use_fused_head") in ("hhe", "full-triton")
        weights["unembedding.weight"] = head.T if transposed else head
    elif head is not None and loop and not torch.equal(head, weights["embedding.weight"]):
        # The official fixed-depth transformer may have a head of its own that it makes no use of when tied.
        raise InputError(f"{path} holds an lm_head.weight that differs from wte, and config.json ties them")
    if state:
        raise InputError(f"{path} holds {min(state)}, for which the model of its config.json has no place")
    return OfficialModel(
        config=config,
        weights=weights,
        mean_recurrence=_whole(values, "mean_recurrence", 32) if loop else 1,
        backward_depth=_whole(values, "mean_backprop_depth", 8) if loop else 1,
        used_vocabulary=_whole(values, "vocab_size", config.vocabulary),
    )


def official_layout(model: OfficialModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(config.json, state dict) as the official code has them; ``InputError`` where it cannot be this model.

    What the official code always has and the model lacks is written so that it does nothing: value-embedding
    tables of zeros, a readout that is the identity.
    """
    config, weights = model.config, model.weights
    if config.residual_norm:
        raise InputError("the official layout has no residual norms; this model has them")
    if min(config.width, config.loop_width) < GATE_CHANNELS:
        raise InputError(f"the official gates take {GATE_CHANNELS} channels; this model has {config.width}")
    values = _official_values(model)
    state: dict[str, Tensor] = {}
    for ours, theirs in _parameter_names(config):
        parts = [weights[ours]]
        if len(theirs) > 1:
            shape = config.block(_layer_of(config, ours))
            sizes = [shape.heads, shape.key_value_heads, shape.key_value_heads]
            parts = list(weights[ours].split([size * config.head_dimension for size in sizes]))
        state |= dict(zip(theirs, parts, strict=True))
    tables, gates = _official_value_layers(model)
    tables_width = (config.key_value_heads or config.heads) * config.head_dimension
    for layer in range(config.layers):
        if config.has_value_embedding(layer) and not (layer in tables and layer in gates):
            raise InputError(
                f"the official code adds no value embeddings in layer {layer} at mean_recurrence "
                f"{model.mean_recurrence} and mean_backprop_depth {model.backward_depth}; this model does"
            )
        if layer in tables and not config.has_value_table(layer):
            state[f"value_embeds.{layer}.weight"] = torch.zeros(config.vocabulary, tables_width)
        elif layer in gates and layer in tables and not config.has_value_gate(layer):
            raise InputError(
                f"the official code uses the value-embedding table of layer {layer}; this model does not"
            )
        if layer in gates and not config.has_value_gate(layer):
            gate = torch.zeros(config.block(layer).key_value_heads, GATE_CHANNELS)
            state[f"{_layer_prefix(config, layer)}.attn.ve_gate.weight"] = gate
    if config.has_loop and not config.has_readout:
        state["transformer.C.weight"] = torch.eye(config.width)
    head = weights["embedding.weight" if config.tied_embeddings else "unembedding.weight"]
    head_is_transposed = not config.has_loop and not (config.tied_embeddings and values["use_fused_head"])
    state["lm_head.weight"] = head.T if head_is_transposed else head
    positions = rotation_table(config.context, config.head_dimension, config.rope_theta)
    state["freqs_cis"] = positions[None, :, None]
    return values, state


def _has_loop(values: dict[str, Any]) -> bool:
    """Whether the class is ParcaeConfig, which one of the official writers leaves out."""
    by_its_keys = "ParcaeConfig" if "n_layers_in_recurrent_block" in values else "GPTConfig"
    name = values.get("_class_name", by_its_keys)
    if name not in ("ParcaeConfig", "GPTConfig"):
        raise InputError(f"config.json says _class_name {name!r}; it takes ParcaeConfig or GPTConfig")
    return bool(name == "ParcaeConfig")


def _check_supported(values: dict[str, Any]) -> None:
    rope = values.get("rope_settings") or {}
    if not isinstance(rope, dict):
        raise InputError(f"config.json says rope_settings {rope!r}; it takes an object")
    for place, only in ((values, _ONLY), (rope, _ROPE_ONLY)):
        for key, allowed in only.items():
            if key in place and place[key] not in allowed:
                raise InputError(
                    f"config.json says {key} {place[key]!r}; this model takes {_either(allowed)}"
                )
    if "Gemma" in str(values.get("name")):  # the official code's own rule
        raise InputError(f"config.json says name {values['name']!r}: norms with Gemma's offset are not built")


def _model_config(values: dict[str, Any], state: dict[str, Tensor], path: Path, *, loop: bool) -> ModelConfig:
    width, heads = _whole(values, "n_embd"), _whole(values, "num_attention_heads")
    if loop:
        layers = [_whole(values, f"n_layers_in_{stage}") for stage in ("prelude", "recurrent_block", "coda")]
        found = [_count(state, f"transformer.{stage}.") for stage in ("prelude", "core_block", "coda")]
    else:  # the split into three is ours: it decides nothing
        total, third = _whole(values, "n_layer", 16), _whole(values, "n_layer", 16) // 3
        layers, found = [third, total - 2 * third, third], [_count(state, "transformer.h.")]
    if (layers if loop else [sum(layers)]) != found:
        raise InputError(
            f"{path} holds {found} layers and config.json counts {layers if loop else sum(layers)}"
        )
    if "transformer.wte.weight" not in state:
        raise InputError(f"{path} lacks transformer.wte.weight")
    mlp_width = _whole(values, "intermediate_size", 4 * width)
    prefixes = [_official_prefix(stage, i, layers, loop=loop) for stage, i in _places(layers)]
    config = ModelConfig(
        injection=_choice(values, "injection_type", _INJECTIONS, "diagonal") if loop else Injection.NONE,
        prelude_layers=layers[0],
        recurrent_layers=layers[1],
        coda_layers=layers[2],
        width=width,
        heads=heads,
        mlp_width=mlp_width,
        vocabulary=len(state["transformer.wte.weight"]),
        context=_whole(values, "block_size", 4096),
        activation=_choice(values, "nonlin_name", _ACTIVATIONS, "GELU"),
        gated_mlp=_choice(values, "mlp_class_name", _MLPS, "BaseMLP"),
        qk_norm=_switch(values, "qk_norm"),
        prelude_norm=loop and _switch(values, "prelude_norm"),
        readout=loop,
        value_tables=tuple(i for i in range(sum(layers)) if f"value_embeds.{i}.weight" in state),
        value_gates=tuple(i for i, p in enumerate(prefixes) if f"{p}.attn.ve_gate.weight" in state),
        key_value_heads=_whole(values, "num_key_value_heads", heads),
        state_width=_whole(values, "recurrent_embedding_dimension", width) if loop else None,
        recurrent_mlp_width=(
            _whole(values, "recurrent_intermediation_embedding_dimension", mlp_width) if loop else None
        ),
        tied_embeddings=_switch(values, "tie_embeddings"),
        norm_epsilon=_number(values, "norm_eps", 1e-5),
        rope_theta=_number(values.get("rope_settings") or {}, "rope_base", 50_000.0),
        state_init=_choice(values, "state_init", _STATES, "like-init") if loop else StateInit.LIKE_INIT,
    )
    recurrent_heads = _whole(values, "recurrent_num_attention_heads", heads) if loop else heads
    if recurrent_heads * config.head_dimension != config.loop_width:
        raise InputError(
            f"config.json gives the recurrent block {recurrent_heads} heads over {config.loop_width} "
            f"channels; RoPE takes the prelude's head dimension, {config.head_dimension}"
        )
    return config


def _official_values(model: OfficialModel) -> dict[str, Any]:
    """config.json: every key that decides the model."""
    config = model.config
    values: dict[str, Any] = {
        "block_size": config.context,
        "n_embd": config.width,
        "intermediate_size": config.mlp_width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads or config.heads,
        "vocab_size": model.used_vocabulary,
        "padded_vocab_size": config.vocabulary,
        "rope_settings": {
            "use_rope": True,
            "rope_condense_ratio": 1,
            "rope_base": _as_whole(config.rope_theta),
        },
        "block_class_name": "TransformerPreNormBlock",
        "norm_class_name": "RMSNorm",
        "norm_eps": config.norm_epsilon,
        "mlp_class_name": _key_of(_MLPS, config.has_gated_mlp),
        "nonlin_name": _key_of(_ACTIVATIONS, config.mlp_activation),
        "bias": False,
        "init_strategy": "scaled-zero",
        "init_orthogonal": True,
        "use_fused_head": "pytorch",
        "qk_norm": config.has_qk_norm,
        "tie_embeddings": config.tied_embeddings,
    }
    if not config.has_loop:
        fits_kernel = config.width % 256 == 0 and config.vocabulary % 4096 == 0  # what its head asks for
        return values | {
            "n_layer": config.layers,
            "use_fused_head": "pytorch" if fits_kernel else None,
            "_class_name": "GPTConfig",
        }
    return values | {
        "injection_type": _key_of(_INJECTIONS, config.injection),
        "n_layers_in_prelude": config.prelude_layers,
        "n_layers_in_recurrent_block": config.recurrent_layers,
        "n_layers_in_coda": config.coda_layers,
        "state_init": config.state_init.value,
        "recurrent_embedding_dimension": config.loop_width,
        "recurrent_intermediation_embedding_dimension": config.block(config.prelude_layers).mlp_width,
        "recurrent_num_attention_heads": config.block(config.prelude_layers).heads,
        "prelude_norm": config.has_prelude_norm,
        "sampling_scheme": "poisson-truncated-full",
        "recurrent_iteration_method": "per-sequence",
        "mean_recurrence": model.mean_recurrence,
        "mean_backprop_depth": model.backward_depth,
        "_class_name": "ParcaeConfig",
    }


def _official_value_layers(model: OfficialModel) -> tuple[set[int], set[int]]:
    """The layers that the official code gives a value-embedding table, and those it gives a gate."""
    config = model.config
    tables = {i for i in range(config.layers) if i % 2 == (config.layers - 1) % 2}
    if not config.has_loop:
        return tables, tables
    parity = (config.recurrent_layers * model.backward_depth - 1) % 2
    first_coda = config.prelude_layers + config.recurrent_layers
    skipped = config.recurrent_layers * (model.mean_recurrence - 1)  # by which the coda's numbers are ahead
    numbers = {i: i + (skipped if i >= first_coda else 0) for i in range(config.layers)}
    return tables, {i for i, number in numbers.items() if number % 2 == parity}


def _places(layers: list[int]) -> list[tuple[str, int]]:
    """(stage, index in it) of every layer in order."""
    return [(stage, i) for stage, count in zip(_STAGES, layers, strict=True) for i in range(count)]


def _official_prefix(stage: str, index: int, layers: list[int], *, loop: bool) -> str:
    if loop:
        return f"transformer.{'core_block' if stage == 'recurrent' else stage}.{index}"
    return f"transformer.h.{sum(layers[: _STAGES.index(stage)]) + index}"


def _layers(config: ModelConfig) -> list[int]:
    return [config.prelude_layers, config.recurrent_layers, config.coda_layers]


def _layer_prefix(config: ModelConfig, layer: int) -> str:
    stage, index = _places(_layers(config))[layer]
    return _official_prefix(stage, index, _layers(config), loop=config.has_loop)


def _layer_of(config: ModelConfig, name: str) -> int:
    stage, index = name.split(".")[:2]
    return _places(_layers(config)).index((stage, int(index)))


def _parameter_names(config: ModelConfig) -> list[tuple[str, list[str]]]:
    """(our name, official names stacked in that order) of every parameter but the unembedding."""
    names = [("embedding.weight", ["transformer.wte.weight"])]
    for layer, (stage, index) in enumerate(_places(_layers(config))):
        ours, theirs = f"{stage}.{index}", _layer_prefix(config, layer)
        names += [
            (f"{ours}.attention_norm.weight", [f"{theirs}.norm_1.weight"]),
            (f"{ours}.attention.qkv.weight", [f"{theirs}.attn.c_{part}.weight" for part in "qkv"]),
            (f"{ours}.attention.out.weight", [f"{theirs}.attn.c_proj.weight"]),
            (f"{ours}.mlp_norm.weight", [f"{theirs}.norm_2.weight"]),
            (f"{ours}.mlp.inner.weight", [f"{theirs}.mlp.fc.weight"]),
            (f"{ours}.mlp.out.weight", [f"{theirs}.mlp.proj.weight"]),
        ]
        if config.has_value_gate(layer):
            names.append((f"{ours}.attention.gate.weight", [f"{theirs}.attn.ve_gate.weight"]))
        if config.has_value_table(layer):
            names.append((f"value_embeddings.{layer}.weight", [f"value_embeds.{layer}.weight"]))
    if config.has_prelude_norm:
        names.append(("prelude_norm.weight", ["transformer.ln_prelude.weight"]))
    if config.injection is Injection.DIAGONAL:
        names.append(("injection.log_A", ["transformer.adapter.A_log"]))
        names.append(("injection.delta_bias", ["transformer.adapter.dt_bias"]))
        names.append(("injection.B.weight", ["transformer.adapter.B"]))
    elif config.injection is Injection.CONCAT:
        names.append(("injection.W", ["transformer.adapter.adapter.weight"]))
    if config.has_readout:
        names.append(("readout.weight", ["transformer.C.weight"]))
    return [*names, ("final_norm.weight", ["transformer.ln_f.weight"])]


def _take(state: dict[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in state:
        raise InputError(f"{path} lacks {name}, which the model of its config.json has")
    return state.pop(name)


def _count(state: dict[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


def _check_positions(positions: Tensor | None, config: ModelConfig, path: Path) -> None:
    """The buffer of positions says nothing that config.json doesn't, unless they disagree."""
    if positions is None:
        return
    expected = rotation_table(
        min(config.context, positions.numel()), config.head_dimension, config.rope_theta
    )
    expected = expected[None, :, None]
    if positions.dim() == expected.dim():
        positions = positions[:, : expected.shape[1]]  # drawn from a longer range in training
    if positions.shape != expected.shape or (positions - expected).abs().max() > _TABLE_TOLERANCE:
        raise InputError(
            f"{path} holds a freqs_cis that is not the table of config.json's block_size {config.context} "
            f"and rope_base {config.rope_theta:g}"
        )


def _whole(values: dict[str, Any], key: str, default: int | None = None) -> int:
    value = values.get(key, default)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise InputError(f"config.json says {key} {value!r}; it takes a whole number below 2^31")
    return value


def _number(values: dict[str, Any], key: str, default: float) -> float:
    value = values.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e30:
        raise InputError(f"config.json says {key} {value!r}; it takes a number")
    return float(value)


def _switch(values: dict[str, Any], key: str) -> bool:
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise InputError(f"config.json says {key} {value!r}; it takes true or false")
    return value


def _choice(values: dict[str, Any], key: str, known: dict[str, T], default: str) -> T:
    value = values.get(key, default)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"config.json says {key} {value!r}; this model takes {_either(tuple(known))}")
    return known[value]


def _key_of(known: dict[str, T], value: T) -> str:
    return next(key for key, kind in known.items() if kind == value)


def _either(allowed: tuple[Any, ...]) -> str:
    return " or ".join(repr(value) for value in allowed)


def _as_whole(value: float) -> float | int:
    return int(value) if value == int(value) else value
