"""Trained models in and out: this project's own folders, run folders, the official release's checkpoints.

    model = load_model("runs/0123456789abcdef")        # or a model's folder, or a repository "owner/name"
    logits = model.logits_at(tokens, recurrences=8)    # tokens (B, S) -> (B, S, V)

A folder of ours holds `model.safetensors` and `config.json`. Everything is read as weights, never as code.
"""

import json
import re
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from parcae.config import RECURRENCES, ModelConfig, TrainConfig
from parcae.data.tokenizer import BYTES
from parcae.errors import InputError
from parcae.files import read_json, replacing
from parcae.formats.official import WEIGHTS, OfficialModel, official_layout, read_official
from parcae.formats.weights import build_model, read_state
from parcae.model.transformer import LoopedTransformer
from parcae.records import from_plain, to_plain
from parcae.training.checkpoints.checkpoint import newest_first, step_of
from parcae.training.folder import SPEC

FORMAT = "parcae-lab 1"
TOKENIZER = "tokenizer.json"
CONFIG, OWN_WEIGHTS = "config.json", "model.safetensors"
DOWNLOADED = (CONFIG, TOKENIZER, *WEIGHTS, "model-*.safetensors", "pytorch_model-*.bin")
"""Of a repository: weights alone, also those in several files."""
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A trained model with what is needed to use it."""

    model: LoopedTransformer
    mean_recurrence: int
    """mu_rec it was trained at; 1 without a loop."""
    backward_depth: int
    tokenizer: str | None
    """`bytes`, `tokenizer.json` for one in a file, or None if it is unknown."""
    tokenizer_file: Path | None = None
    """A tokenizer.json."""
    step: int | None = None
    """Steps completed, of a run's checkpoint."""

    def __post_init__(self) -> None:
        for name in ("mean_recurrence", "backward_depth"):
            if not 1 <= getattr(self, name) <= RECURRENCES:
                raise InputError(f"{name} is {getattr(self, name)}; it must be from 1 to {RECURRENCES}")


@dataclass(frozen=True, kw_only=True)
class _ModelFile:
    """config.json of this project's own folders."""

    format: str
    model: ModelConfig
    mean_recurrence: int
    backward_depth: int
    tokenizer: str | None


@dataclass(frozen=True, kw_only=True)
class _TrainedModel:
    """The part of a run's specification that describes its model; the rest belongs to the sweep."""

    model: ModelConfig
    training: TrainConfig
    tokenizer: str


def load_model(source: str | Path) -> LoopedTransformer:
    """The model of `source`, in float32 on the CPU: see ``load_pretrained``."""
    return load_pretrained(source).model


def load_pretrained(source: str | Path) -> Pretrained:
    """The model in a folder or, with the extra `hub`, in a Hugging Face repository `owner/name`.

    A folder may be one of ours, one that the official code saved, or a run's, of which the newest complete
    checkpoint is loaded. ``InputError`` says why something cannot be loaded.
    """
    folder = Path(source)
    if not folder.is_dir():
        if folder.exists() or not _REPOSITORY.fullmatch(str(source)):
            raise InputError(f"there is no model folder {str(source)!r}; a repository is written owner/name")
        folder = _downloaded(str(source))
    if (folder / CONFIG).is_file():
        values = read_json(folder / CONFIG)
        return _own(folder, values) if "format" in values else _official(folder, values)
    if (folder / SPEC).is_file():
        return _run(folder)
    raise InputError(f"{folder} is not a model folder: it has neither {CONFIG} nor the {SPEC} of a run")


def save_model(pretrained: Pretrained, folder: Path, *, official: bool = False) -> None:
    """Writes `model.safetensors` and `config.json`, or with `official` what the official code reads.

    ``InputError`` if the official code has no such model, or if the folder exists and is not empty.
    """
    from safetensors.torch import save

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"cannot write a model to {folder}: it already exists; give a new folder")
    model = pretrained.model
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if official:
        import torch

        values, state = official_layout(
            OfficialModel(
                config=model.config,
                weights=weights,
                mean_recurrence=pretrained.mean_recurrence,
                backward_depth=pretrained.backward_depth,
                used_vocabulary=256 if pretrained.tokenizer == BYTES else model.config.vocabulary,
            )
        )
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / WEIGHTS[0]) as file:
            torch.save(_without_shared_storage(state), file)
    else:
        values = to_plain(
            _ModelFile(
                format=FORMAT,
                model=model.config,
                mean_recurrence=pretrained.mean_recurrence,
                backward_depth=pretrained.backward_depth,
                tokenizer=pretrained.tokenizer,
            )
        )
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / OWN_WEIGHTS) as file:
            file.write(save(_without_shared_storage(weights)))
    if pretrained.tokenizer_file is not None:
        shutil.copyfile(pretrained.tokenizer_file, folder / TOKENIZER)
    with replacing(folder / CONFIG) as file:
        file.write(json.dumps(values, indent=2, allow_nan=False).encode() + b"\n")


def _without_shared_storage(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies: a slice would be saved with the whole tensor that it is a slice of."""
    return {name: tensor.clone().contiguous() for name, tensor in state.items()}


def _own(folder: Path, values: dict[str, Any]) -> Pretrained:
    if values.get("format") != FORMAT:
        raise InputError(
            f"{folder / CONFIG} has format {values.get('format')!r}; this version reads {FORMAT!r}"
        )
    read = from_plain(_ModelFile, values, str(folder / CONFIG))
    path = folder / OWN_WEIGHTS
    if not path.is_file():
        raise InputError(f"there is no {OWN_WEIGHTS} in {folder}")
    return Pretrained(
        model=build_model(read.model, read_state(path), path),
        mean_recurrence=read.mean_recurrence,
        backward_depth=read.backward_depth,
        tokenizer=read.tokenizer,
        tokenizer_file=_tokenizer_file(folder),
    )


def _tokenizer_file(folder: Path) -> Path | None:
    return folder / TOKENIZER if (folder / TOKENIZER).is_file() else None


def _official(folder: Path, values: dict[str, Any]) -> Pretrained:
    read = read_official(folder, values)
    return Pretrained(
        model=build_model(read.config, read.weights, folder),
        mean_recurrence=read.mean_recurrence,
        backward_depth=read.backward_depth,
        tokenizer=BYTES if read.used_vocabulary == 256 else None,
        tokenizer_file=_tokenizer_file(folder),
    )


def _run(folder: Path) -> Pretrained:
    """The newest complete checkpoint of a run. Training wrote the weights, the sweep the specification."""
    values = read_json(folder / SPEC)
    own = {field.name: values[field.name] for field in fields(_TrainedModel) if field.name in values}
    read = from_plain(_TrainedModel, own, str(folder / SPEC))
    paths = newest_first(folder)
    if not paths:
        raise InputError(f"the run in {folder} has no checkpoint yet")
    refusal = None
    for path in paths:
        try:
            model = build_model(read.model, read_state(path), path)
            break
        except InputError as error:  # the one before it may be complete
            refusal = refusal or error
    else:
        assert refusal is not None
        raise refusal
    return Pretrained(
        model=model,
        mean_recurrence=read.training.mean_recurrence,
        backward_depth=read.training.backward_depth,
        tokenizer=read.tokenizer,
        step=step_of(path),
    )


def _downloaded(repository: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise InputError(
            f"there is no folder {repository!r}, and a Hugging Face repository takes the extra hub: "
            "pip install 'parcae-lab[hub]'"
        ) from None
    try:
        return Path(snapshot_download(repository, allow_patterns=list(DOWNLOADED)))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"cannot download {repository!r} from Hugging Face: {reason}") from error
