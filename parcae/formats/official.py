"""The official release's layout: `config.json`, and a state dict in `pytorch_model.bin` or `model.pt`.

Names and rules are those of the release of arXiv 2604.12946.

The official code numbers layers twice. Value-embedding tables go by a layer's place, prelude, recurrent and
coda layers counted once each; gates by a number that puts the coda after `mean_recurrence` recurrent blocks,
and by the parity of `n_layers_in_recurrent_block * mean_backprop_depth`. A layer adds value embeddings if it
has both. Therefore only the file shows which layers have which, and not every model can be written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parcae.config import Discretisation, Injection, ModelConfig
from parcae.errors import InputError
from parcae.flops import GATE_CHANNELS
from parcae.formats.official_config import (
    check_supported,
    has_loop,
    layer_counts,
    model_config,
    official_values,
    whole,
)
from parcae.formats.weights import INDEX, read_state
from parcae.model.layers import rotation_table

WEIGHTS = (
    *("pytorch_model.bin", "model.pt", "model.bin", "model.safetensors"),
    *(f"model.safetensors{INDEX}", f"pytorch_model.bin{INDEX}"),
)
"""Names of a state dict's file; the first that exists is read. Those of the official loaders come first."""

_TABLE_TOLERANCE = 0.01  # the position table may have been rounded to bfloat16
_STAGES = ("prelude", "recurrent", "coda")


@dataclass(frozen=True, kw_only=True)
class OfficialModel:
    """A checkpoint of the official code in this project's terms."""

    config: ModelConfig
    weights: dict[str, Tensor]
    """The state dict of ``LoopedTransformer``."""
    mean_recurrence: int
    backward_depth: int
    used_vocabulary: int
    """Entries of the tokenizer; the embedding may be padded."""


def read_official(folder: Path, values: dict[str, Any]) -> OfficialModel:
    """The checkpoint in `folder`, whose config.json holds `values`. ``InputError`` says what is wrong."""
    loop = has_loop(values)
    check_supported(values)
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"there are no weights in {folder}; it takes {' or '.join(WEIGHTS[:2])}")
    state = read_state(path)
    config = _model_config(values, state, path)
    for name in [name for name in state if name.rpartition(".")[2] == "freqs_cis"]:
        _check_positions(state.pop(name), config, path)
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
        # The official fixed-depth transformer may have a separate head that it does not use when tied.
        raise InputError(f"{path} holds an lm_head.weight that differs from wte, and config.json ties them")
    if state:
        raise InputError(f"{path} holds {min(state)}, which is no weight of the model in its config.json")
    return OfficialModel(
        config=config,
        weights=weights,
        mean_recurrence=whole(values, "mean_recurrence", 32) if loop else 1,
        backward_depth=whole(values, "mean_backprop_depth", 8) if loop else 1,
        used_vocabulary=whole(values, "vocab_size", config.vocabulary),
    )


def official_layout(model: OfficialModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(config.json, state dict) in the official layout; ``InputError`` if the official code has no such
    model.

    Parts that the official code always has and the model lacks are written such that they have no effect:
    value-embedding tables of zeros, a readout that is the identity.
    """
    config, weights = model.config, model.weights
    if config.residual_norm:
        raise InputError("the official layout has no residual norms; this model has them")
    if config.discretisation is not Discretisation.EULER:
        raise InputError(
            f"the official code makes Bbar by {Discretisation.EULER.value!r}; this model by "
            f"{config.discretisation.value!r}"
        )
    if min(config.width, config.loop_width) < GATE_CHANNELS:
        raise InputError(f"the official gates take {GATE_CHANNELS} channels; this model has {config.width}")
    values = official_values(
        config,
        mean_recurrence=model.mean_recurrence,
        backward_depth=model.backward_depth,
        used_vocabulary=model.used_vocabulary,
    )
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


def _model_config(values: dict[str, Any], state: dict[str, Tensor], path: Path) -> ModelConfig:
    """The configuration in config.json, checked against the weights, which show the value embeddings."""
    loop, layers = has_loop(values), layer_counts(values)
    stages = ("prelude.", "core_block.", "coda.") if loop else ("h.",)
    found = [_count(state, f"transformer.{stage}") for stage in stages]
    expected = layers if loop else [sum(layers)]
    if found != expected:
        raise InputError(f"{path} holds {found} layers and its config.json counts {expected}")
    if "transformer.wte.weight" not in state:
        raise InputError(f"{path} lacks transformer.wte.weight")
    prefixes = [_official_prefix(stage, i, layers, loop=loop) for stage, i in _places(layers)]
    return model_config(
        values,
        layers,
        vocabulary=len(state["transformer.wte.weight"]),
        value_tables=tuple(i for i in range(sum(layers)) if f"value_embeds.{i}.weight" in state),
        value_gates=tuple(i for i, p in enumerate(prefixes) if f"{p}.attn.ve_gate.weight" in state),
    )


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


def _check_positions(positions: Tensor, config: ModelConfig, path: Path) -> None:
    """The buffer of positions must agree with config.json."""
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
