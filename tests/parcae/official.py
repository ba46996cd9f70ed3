"""The official code's model, written again from its rules: a state dict in its names, and its logits.

Test-only, and apart from `parcae`: plain functions over the state dict, one head at a time.
"""

import math
from typing import Any

import torch
from torch import Tensor

Config = dict[str, Any]
State = dict[str, Tensor]


def parcae_config(**changes: Any) -> Config:
    """What the official writer puts into config.json for a small ParcaeConfig."""
    d, m = changes.get("n_embd", 64), changes.get("intermediate_size", 96)
    config: Config = {
        "name": "parcae-tiny",
        "hf_config": {},
        "block_size": 24,
        "n_embd": d,
        "intermediate_size": m,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 250,
        "padding_multiple": 64,
        "padded_vocab_size": 256,
        "rope_settings": {"use_rope": True, "rope_condense_ratio": 1, "rope_base": 50000},
        "use_abacus": False,
        "randomize_positions_from": None,
        "block_class_name": "TransformerPreNormBlock",
        "norm_class_name": "RMSNorm",
        "attn_impl": "flash",
        "norm_eps": 1e-5,
        "mlp_class_name": "BaseMLP",
        "nonlin_name": "ReLU2",
        "bias": False,
        "qk_bias": False,
        "init_strategy": "scaled-zero",
        "init_orthogonal": True,
        "skip_initialization": False,
        "mup_model_scaling_factor": 1,
        "use_fused_head": "pytorch",
        "debias_attention": False,
        "center_attention": False,
        "clip_qkv": None,
        "qk_norm": True,
        "logit_softcap": None,
        "activation_checkpoint_impl": "per-iteration",
        "simple_ops": False,
        "strategy": "single",
        "injection_type": "diagonal",
        "n_layers_in_recurrent_block": 2,
        "n_layers_in_prelude": 2,
        "n_layers_in_coda": 2,
        "state_init": "like-init",
        "recurrent_embedding_dimension": d,
        "recurrent_intermediation_embedding_dimension": m,
        "recurrent_num_attention_heads": None,
        "prelude_norm": True,
        "sampling_scheme": "poisson-truncated-full",
        "mean_recurrence": 8,
        "mean_backprop_depth": 4,
        "lockstep_n": False,
        "lockstep_k": False,
        "curriculum_target": "forward",
        "recurrent_iteration_method": "per-sequence",
        "tie_embeddings": True,
        "model_class_name": "Parcae",
        "_is_recurrent_block_config": False,
        "_class_name": "ParcaeConfig",
    }
    return config | changes


def gpt_config(**changes: Any) -> Config:
    config = parcae_config(n_layer=6, _class_name="GPTConfig", use_fused_head=None)
    loop_only = (
        *("injection_type", "n_layers_in_recurrent_block", "n_layers_in_prelude", "n_layers_in_coda"),
        *("state_init", "recurrent_embedding_dimension", "recurrent_intermediation_embedding_dimension"),
        *("recurrent_num_attention_heads", "prelude_norm", "sampling_scheme", "mean_recurrence"),
        *("mean_backprop_depth", "lockstep_n", "lockstep_k", "curriculum_target"),
        *("recurrent_iteration_method", "model_class_name", "_is_recurrent_block_config"),
    )
    return {key: value for key, value in config.items() if key not in loop_only} | changes


def blocks(config: Config) -> list[tuple[str, int, int, int, int, int]]:
    """(name, its number, width, heads, key-value heads, MLP width) of every layer in order."""
    d, heads, kv, m = (
        config[key] for key in ("n_embd", "num_attention_heads", "num_key_value_heads", "intermediate_size")
    )
    if config["_class_name"] == "GPTConfig":
        return [(f"transformer.h.{i}", i, d, heads, kv, m) for i in range(config["n_layer"])]
    p, r, c = (config[f"n_layers_in_{stage}"] for stage in ("prelude", "recurrent_block", "coda"))
    inner = config["recurrent_num_attention_heads"] or heads
    dh, mh = (
        config["recurrent_embedding_dimension"],
        config["recurrent_intermediation_embedding_dimension"],
    )
    return [
        *((f"transformer.prelude.{i}", i, d, heads, kv, m) for i in range(p)),
        *((f"transformer.core_block.{i}", p + i, dh, inner, inner, mh) for i in range(r)),
        *(
            (f"transformer.coda.{i}", p + r * config["mean_recurrence"] + i, d, heads, kv, m)
            for i in range(c)
        ),
    ]


def shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """The name and shape of everything in the official state dict but the position table."""
    d, vocabulary = config["n_embd"], config["padded_vocab_size"]
    fixed_depth = config["_class_name"] == "GPTConfig"
    layers = blocks(config)
    if fixed_depth:
        depth = config["n_layer"]
    else:
        depth = config["n_layers_in_recurrent_block"] * config["mean_backprop_depth"]
    fc = 2 if config["mlp_class_name"] == "GatedMLP" else 1
    result: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (vocabulary, d)}
    for place, (name, number, width, heads, kv, m) in enumerate(layers):
        head = width // heads
        result |= {
            f"{name}.norm_1.weight": (width,),
            f"{name}.attn.c_q.weight": (width, width),
            f"{name}.attn.c_k.weight": (kv * head, width),
            f"{name}.attn.c_v.weight": (kv * head, width),
            f"{name}.attn.c_proj.weight": (width, width),
            f"{name}.norm_2.weight": (width,),
            f"{name}.mlp.fc.weight": (fc * m, width),
            f"{name}.mlp.proj.weight": (width, m),
        }
        if number % 2 == (depth - 1) % 2:
            result[f"{name}.attn.ve_gate.weight"] = (kv, 32)
        if place % 2 == (len(layers) - 1) % 2:
            kv_width = config["num_key_value_heads"] * (d // config["num_attention_heads"])
            result[f"value_embeds.{place}.weight"] = (vocabulary, kv_width)
    result["transformer.ln_f.weight"] = (d,)
    if not fixed_depth:
        dh = config["recurrent_embedding_dimension"]
        result["transformer.C.weight"] = (d, dh)
        if config["injection_type"] == "diagonal":
            result |= {
                "transformer.adapter.A_log": (dh,),
                "transformer.adapter.dt_bias": (dh,),
                "transformer.adapter.B": (dh, d),
            }
        elif config["injection_type"] == "linear":
            result["transformer.adapter.adapter.weight"] = (dh, dh + d)
        if config["prelude_norm"]:
            result["transformer.ln_prelude.weight"] = (d,)
    return result


def positions(config: Config) -> Tensor:
    head = config["n_embd"] // config["num_attention_heads"]
    frequencies = 1.0 / (
        config["rope_settings"]["rope_base"] ** (torch.arange(0, head, 2, dtype=torch.float32) / head)
    )
    angles = torch.outer(torch.arange(config["block_size"], dtype=torch.float32), frequencies)
    return torch.stack([angles.cos(), angles.sin()], dim=-1)[None, :, None]


def random_state(config: Config, seed: int = 0) -> State:
    """The state dict of a model of random weights, every part of which matters to the logits."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(config).items():
        scale = 1.0 if "value_embeds" in name or "gate" in name else 1 / math.sqrt(shape[-1])
        state[name] = torch.randn(shape, generator=generator) * (scale if len(shape) > 1 else 0.3)
        if "norm_" in name or "ln_" in name:
            state[name] += 1
    d, vocabulary = config["n_embd"], config["padded_vocab_size"]
    fixed_depth = config["_class_name"] == "GPTConfig"
    if config["tie_embeddings"] and not (fixed_depth and not config["use_fused_head"]):
        state["lm_head.weight"] = state["transformer.wte.weight"]
    else:
        transposed = fixed_depth or config["use_fused_head"] == "full-triton"
        shape = (d, vocabulary) if transposed else (vocabulary, d)
        state["lm_head.weight"] = torch.randn(shape, generator=generator) / math.sqrt(d)
    state["freqs_cis"] = positions(config)
    return state


def norm(x: Tensor, weight: Tensor | None, epsilon: float) -> Tensor:
    x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    return x if weight is None else x * weight


def attention(
    config: Config, state: State, block: tuple[Any, ...], place: int, x: Tensor, tokens: Tensor
) -> Tensor:
    """x (B, S, width), normalised -> (B, S, width)."""
    name, _, width, heads, kv, _ = block
    head = width // heads
    q, k, v = (x @ state[f"{name}.attn.c_{part}.weight"].T for part in "qkv")
    gate, table = state.get(f"{name}.attn.ve_gate.weight"), state.get(f"value_embeds.{place}.weight")
    table = None if table is None else table[tokens]
    cosine, sine = positions(config)[0, : x.shape[1], 0].unbind(-1)  # (S, C / 2)
    rows = []
    for index in range(heads):
        shared = index // (heads // kv)
        turned = []
        for part, place_in_part in ((q, index), (k, shared)):
            mine = part[..., place_in_part * head : (place_in_part + 1) * head]
            even, odd = mine[..., 0::2], mine[..., 1::2]
            mine = torch.stack([even * cosine - odd * sine, odd * cosine + even * sine], -1).flatten(-2)
            turned.append(norm(mine, None, torch.finfo(x.dtype).eps) if config["qk_norm"] else mine)
        value = v[..., shared * head : (shared + 1) * head]
        if gate is not None and table is not None:
            opening = 2 / (1 + torch.exp(-(x[..., :32] @ gate[shared])))
            value = value + opening[..., None] * table[..., shared * head : (shared + 1) * head]
        scores = turned[0] @ turned[1].transpose(-1, -2) / math.sqrt(head)
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        rows.append(scores.masked_fill(later, -math.inf).softmax(-1) @ value)
    return torch.cat(rows, -1) @ state[f"{name}.attn.c_proj.weight"].T


def layer(config: Config, state: State, place: int, x: Tensor, tokens: Tensor) -> Tensor:
    block = blocks(config)[place]
    name, epsilon = block[0], config["norm_eps"]
    x = attention(config, state, block, place, norm(x, state[f"{name}.norm_1.weight"], epsilon), tokens) + x
    inner = norm(x, state[f"{name}.norm_2.weight"], epsilon) @ state[f"{name}.mlp.fc.weight"].T
    activations = {"ReLU2": lambda y: y.clamp(min=0) ** 2 * 0.5, "SiLU": lambda y: y / (1 + torch.exp(-y))}
    act = activations[config["nonlin_name"]]
    if config["mlp_class_name"] == "GatedMLP":
        half = inner.shape[-1] // 2
        inner = act(inner[..., :half]) * inner[..., half:]
    else:
        inner = act(inner)
    return inner @ state[f"{name}.mlp.proj.weight"].T + x


def logits(config: Config, state: State, tokens: Tensor, h: Tensor | None, recurrences: int) -> Tensor:
    """(B, S, V) of tokens (B, S) after `recurrences` recurrences from h (B, S, d_h)."""
    x = state["transformer.wte.weight"][tokens]
    if config["_class_name"] == "GPTConfig":
        for place in range(config["n_layer"]):
            x = layer(config, state, place, x, tokens)
        x = norm(x, state["transformer.ln_f.weight"], config["norm_eps"])
        head = state["transformer.wte.weight"].T if config["tie_embeddings"] else state["lm_head.weight"]
        return x @ head
    p, r, c = (config[f"n_layers_in_{stage}"] for stage in ("prelude", "recurrent_block", "coda"))
    for place in range(p):
        x = layer(config, state, place, x, tokens)
    if config["prelude_norm"]:
        x = norm(x, state["transformer.ln_prelude.weight"], config["norm_eps"])
    e = x
    assert h is not None
    for _ in range(recurrences):
        if config["injection_type"] == "diagonal":
            step = torch.log(1 + state["transformer.adapter.dt_bias"].exp())
            decay = torch.exp(-step * state["transformer.adapter.A_log"].exp())
            h = h * decay + step * (e @ state["transformer.adapter.B"].T)
        elif config["injection_type"] == "linear":
            h = torch.cat([h, e], -1) @ state["transformer.adapter.adapter.weight"].T
        else:
            h = h + e
        for place in range(p, p + r):
            h = layer(config, state, place, h, tokens)
    x = h @ state["transformer.C.weight"].T
    for place in range(p + r, p + r + c):
        x = layer(config, state, place, x, tokens)
    x = norm(x, state["transformer.ln_f.weight"], config["norm_eps"])
    head = state["lm_head.weight"]
    return x @ (
        head if config["use_fused_head"] == "full-triton" and not config["tie_embeddings"] else head.T
    )
