"""The official config.json, to and from a ``ModelConfig``. What is missing has the official default.

What the official code would compute and this model cannot is refused, naming key and value.
"""

from typing import Any, TypeVar

from parcae.config import Activation, Injection, ModelConfig, StateInit
from parcae.errors import InputError

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
T = TypeVar("T")


def has_loop(values: dict[str, Any]) -> bool:
    """Whether the class is ParcaeConfig, which one of the official writers leaves out."""
    by_its_keys = "ParcaeConfig" if "n_layers_in_recurrent_block" in values else "GPTConfig"
    name = values.get("_class_name", by_its_keys)
    if name not in ("ParcaeConfig", "GPTConfig"):
        raise InputError(f"config.json says _class_name {name!r}; it takes ParcaeConfig or GPTConfig")
    return bool(name == "ParcaeConfig")


def check_supported(values: dict[str, Any]) -> None:
    """``InputError`` naming the key whose value is of another model than this one."""
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


def layer_counts(values: dict[str, Any]) -> list[int]:
    """Layers of prelude, recurrent block and coda; the split of a model without a loop has no effect."""
    if has_loop(values):
        return [whole(values, f"n_layers_in_{stage}") for stage in ("prelude", "recurrent_block", "coda")]
    total = whole(values, "n_layer", 16)
    return [total // 3, total - 2 * (total // 3), total // 3]


def model_config(
    values: dict[str, Any],
    layers: list[int],
    *,
    vocabulary: int,
    value_tables: tuple[int, ...],
    value_gates: tuple[int, ...],
) -> ModelConfig:
    """The model that config.json describes, with what the state dict says of it."""
    loop = has_loop(values)
    width, heads = whole(values, "n_embd"), whole(values, "num_attention_heads")
    mlp_width = whole(values, "intermediate_size", 4 * width)
    config = ModelConfig(
        injection=_choice(values, "injection_type", _INJECTIONS, "diagonal") if loop else Injection.NONE,
        prelude_layers=layers[0],
        recurrent_layers=layers[1],
        coda_layers=layers[2],
        width=width,
        heads=heads,
        mlp_width=mlp_width,
        vocabulary=vocabulary,
        context=whole(values, "block_size", 4096),
        activation=_choice(values, "nonlin_name", _ACTIVATIONS, "GELU"),
        gated_mlp=_choice(values, "mlp_class_name", _MLPS, "BaseMLP"),
        qk_norm=_switch(values, "qk_norm"),
        prelude_norm=loop and _switch(values, "prelude_norm"),
        readout=loop,
        value_tables=value_tables,
        value_gates=value_gates,
        key_value_heads=whole(values, "num_key_value_heads", heads),
        state_width=whole(values, "recurrent_embedding_dimension", width) if loop else None,
        recurrent_mlp_width=(
            whole(values, "recurrent_intermediation_embedding_dimension", mlp_width) if loop else None
        ),
        tied_embeddings=_switch(values, "tie_embeddings"),
        norm_epsilon=_number(values, "norm_eps", 1e-5),
        rope_theta=_number(values.get("rope_settings") or {}, "rope_base", 50_000.0),
        state_init=_choice(values, "state_init", _STATES, "like-init") if loop else StateInit.LIKE_INIT,
    )
    recurrent_heads = whole(values, "recurrent_num_attention_heads", heads) if loop else heads
    if recurrent_heads * config.head_dimension != config.loop_width:
        raise InputError(
            f"config.json gives the recurrent block {recurrent_heads} heads over {config.loop_width} "
            f"channels; RoPE takes the prelude's head dimension, {config.head_dimension}"
        )
    return config


def official_values(
    config: ModelConfig, *, mean_recurrence: int, backward_depth: int, used_vocabulary: int
) -> dict[str, Any]:
    """config.json of the model: every key that decides it."""
    values: dict[str, Any] = {
        "block_size": config.context,
        "n_embd": config.width,
        "intermediate_size": config.mlp_width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_value_heads or config.heads,
        "vocab_size": used_vocabulary,
        "padded_vocab_size": config.vocabulary,
        "rope_settings": {
            "use_rope": True,
            "rope_condense_ratio": 1,
            "rope_base": _as_integer(config.rope_theta),
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
        "mean_recurrence": mean_recurrence,
        "mean_backprop_depth": backward_depth,
        "_class_name": "ParcaeConfig",
    }


def whole(values: dict[str, Any], key: str, default: int | None = None) -> int:
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


def _as_integer(value: float) -> float | int:
    return int(value) if value == int(value) else value
