"""Files of weights, read as weights only: nothing in a stranger's file is executed.

A state dict is a dictionary of dense floating-point tensors by name.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parcae.config import ModelConfig
from parcae.errors import InputError
from parcae.layers import rotation_table
from parcae.model import LoopedTransformer

_WRAPPINGS = ("model", "state_dict", "model_state_dict")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DDP, torch.compile and wrappers


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file or one of ``torch.save``, in float32 on the CPU.

    It may be wrapped in a dictionary, and its names in prefixes, as training scripts do. ``InputError`` for
    anything else, a pickle that would execute code included.
    """
    values = _open(path)
    if isinstance(values, dict):
        values = next((values[key] for key in _WRAPPINGS if isinstance(values.get(key), dict)), values)
    if not isinstance(values, dict) or not values:
        raise InputError(f"{path} holds no state dict, a dictionary of tensors by name")
    state: dict[str, Tensor] = {}
    for key, value in values.items():
        if not (isinstance(key, str) and isinstance(value, Tensor)):
            raise InputError(
                f"{path} holds {key!r}, a {type(value).__name__}; a state dict has tensors by name"
            )
        if value.layout is not torch.strided or not value.is_floating_point() or value.is_meta:
            raise InputError(
                f"{path} holds {key} as {value.dtype}, {value.layout}; weights are dense numbers"
            )
        name = _plain_name(key)
        if name in state:
            raise InputError(f"{path} holds {name} twice, under two prefixes")
        state[name] = value.detach().float()
    return state


def _open(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign file: what torch says of it is said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises at least five types for what is not plain weights
        raise InputError(
            f"{path} is damaged or holds more than plain weights, which is never executed "
            f"({type(error).__name__}); save its state dict alone"
        ) from error


def _plain_name(key: str) -> str:
    key = key.replace("._orig_mod.", ".")
    while prefix := next((prefix for prefix in _PREFIXES if key.startswith(prefix)), None):
        key = key.removeprefix(prefix)
    return key


def build_model(config: ModelConfig, state: dict[str, Tensor], origin: Path) -> LoopedTransformer:
    """The model of `config` with the weights `state`, read from `origin`, which must be exactly its own."""
    with torch.device("meta"):  # no memory before the shapes are known to agree
        model = LoopedTransformer(config)
    expected = model.state_dict()
    if wrong := sorted(expected.keys() ^ state.keys()):
        what = "lacks" if wrong[0] in expected else "holds an unknown"
        raise InputError(f"{origin} {what} {wrong[0]}, against its config.json")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise InputError(
                f"{origin} holds {name} of shape {tuple(state[name].shape)}; its config.json takes "
                f"{tuple(tensor.shape)}"
            )
    model.load_state_dict({name: tensor.contiguous() for name, tensor in state.items()}, assign=True)
    model.requires_grad_(True)
    model.rotation = rotation_table(config.context, config.head_dimension, config.rope_theta)
    return model
