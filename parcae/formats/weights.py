"""Files of weights, read as weights only: nothing in a stranger's file is executed.

A state dict is a dictionary of dense floating-point tensors by name. A file cannot ask for more memory than
its own size allows: a few bytes may not unpack, or be spread by strides, into gigabytes.
"""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parcae.config import ModelConfig
from parcae.errors import InputError
from parcae.files import read_json
from parcae.model.layers import rotation_table
from parcae.model.transformer import LoopedTransformer

INDEX = ".index.json"  # ends the name of a file that says which of several files holds which weight
_WRAPPINGS = ("model", "state_dict", "model_state_dict")
_PREFIXES = ("module.", "model.")  # of DDP, DeepSpeed and hand-written wrappers: in front
_WRAPPERS = frozenset(  # of torch.compile, Fabric, FSDP and activation checkpointing: anywhere
    {"_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)

_SHARED = 2  # how often the bytes of a file may be used: an embedding and the unembedding tied to it


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a safetensors file or one of ``torch.save``, in float32 on the CPU.

    For an index, the files that it names are read. A state dict may be wrapped in dictionaries and its names
    may have prefixes, as training scripts write them. Counters, masks and anything else that is not a weight
    are left out. ``InputError`` for a file without weights, and for a pickle that would execute code.
    """
    state: dict[str, Tensor] = {}
    for part in _parts(path) if path.name.endswith(INDEX) else [path]:
        for key, value in _tensors(part).items():
            name = _plain_name(key)
            if not value.is_floating_point() and not name.endswith("weight"):
                continue
            if value.layout is not torch.strided or not value.is_floating_point() or value.is_meta:
                raise InputError(
                    f"{part} holds {key} as {value.dtype}, {value.layout}; weights are dense numbers"
                )
            if name in state:
                raise InputError(f"{path} holds {name} twice, in two files or under two prefixes")
            state[name] = value.detach().float()
    return state


def _parts(index: Path) -> list[Path]:
    """The files that `index` names, which must be in the same folder."""
    files = read_json(index).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(f, str) for f in files.values()):
        raise InputError(f"{index} has no weight_map, which says for each weight in which file it is")
    parts = []
    for file in sorted(set(files.values())):
        if file in ("", "..") or Path(file).name != file:
            raise InputError(f"{index} names {file!r}; it takes names of files in the same folder")
        parts.append(index.parent / file)
        if not parts[-1].is_file():
            raise InputError(f"{index} names {file!r}, which does not exist")
    return parts


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the innermost wrapping, by name."""
    values = _open(path)
    while isinstance(values, dict) and (
        inner := next((values[key] for key in _WRAPPINGS if isinstance(values.get(key), dict)), None)
    ):
        values = inner
    found = values.items() if isinstance(values, dict) else ()
    tensors = {key: value for key, value in found if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path} holds no state dict, a dictionary of tensors by name")
    _check_size(path, tensors)
    return tensors


def _check_size(path: Path, tensors: dict[str, Tensor]) -> None:
    """``InputError`` where `tensors` would take more memory than the bytes of the file account for."""
    sizes = {key: value.numel() * value.element_size() for key, value in tensors.items()}
    for key, value in tensors.items():
        if value.layout is torch.strided and not value.is_meta and sizes[key] > _stored_bytes(value):
            raise InputError(
                f"{path} holds {key} of shape {tuple(value.shape)} in {_stored_bytes(value)} bytes; a weight "
                "has a place in the file for every number"
            )
    if sum(sizes.values()) > _SHARED * path.stat().st_size:
        raise InputError(f"{path} holds many tensors in the same bytes; each weight takes its own")


def _stored_bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _check_unpacked_size(path: Path) -> None:
    """``InputError`` where the parts of an archive are larger than the archive: torch does not compress."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > path.stat().st_size:
            raise InputError(
                f"{path} has {path.stat().st_size} bytes but unpacks to {unpacked}: no file of torch.save"
            )


def _open(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        _check_unpacked_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a foreign file: errors are reported below
            return torch.load(path, map_location="cpu", weights_only=True)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # torch raises at least five types for a file that is not plain weights
        raise InputError(
            f"{path} is damaged or holds more than plain weights, which is never executed "
            f"({type(error).__name__}); save its state dict alone"
        ) from error


def _plain_name(key: str) -> str:
    name = ".".join(part for part in key.split(".") if part not in _WRAPPERS)
    while prefix := next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def build_model(config: ModelConfig, state: dict[str, Tensor], origin: Path) -> LoopedTransformer:
    """The model of `config` with the weights `state`, read from `origin`, which must match exactly."""
    if config.layers > len(state):
        raise InputError(
            f"{origin} holds {len(state)} weights; its config.json counts {config.layers} layers"
        )
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
