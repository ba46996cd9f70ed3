"""Named sizes in a literal table, each with its batch size and learning rates.

Sources: paper tables 2 and 3 for the published sizes; the nano family is this project's own, sized so
that a study trains on two CPU cores; docs/experiments.md says how they were found.
"""

from dataclasses import dataclass, replace
from typing import Any

from parcae.config import InitialWeights, Injection, ModelConfig, Optimiser, Precision, Recipe
from parcae.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Preset:
    model: ModelConfig
    text: str
    """The text unless another is chosen: one of `parcae.data.recipes`, or the embedded one."""
    batch_sequences: int
    optimiser: Optimiser
    learning_rate: float
    adamw_learning_rate: float
    weight_decay: float
    precision: Precision
    initial_weights: InitialWeights
    cooldown: float = 0.5


def _transformer(layers: int, width: int, heads: int, *, adamw_learning_rate: float) -> Preset:
    """One row of the paper's table of the transformer setup: layers/layers/layers, MLP of 4 d."""
    model = ModelConfig(
        prelude_layers=layers,
        recurrent_layers=layers,
        coda_layers=layers,
        width=width,
        heads=heads,
        mlp_width=4 * width,
        vocabulary=32_768,
        context=2_048,
    )
    return Preset(
        model=model,
        text="fineweb-edu",
        batch_sequences=256,
        optimiser=Optimiser.MUON,
        learning_rate=8e-3,
        adamw_learning_rate=adamw_learning_rate,
        weight_decay=0.2,
        precision=Precision.BFLOAT16,
        initial_weights=InitialWeights.RELEASED,
    )


def _rdm(recurrent_layers: int, width: int, heads: int) -> Preset:
    """One row of the paper's table of the RDM setup: SwiGLU, a prelude and a coda of one layer."""
    model = ModelConfig(
        recipe=Recipe.RDM,
        prelude_layers=1,
        recurrent_layers=recurrent_layers,
        coda_layers=1,
        width=width,
        heads=heads,
        mlp_width=width * 55 // 16,  # 3,520 and 7,040
        vocabulary=65_536,
        context=2_048,
    )
    return Preset(
        model=model,
        text="huginn",
        batch_sequences=256,  # assumption, as the rates: those of the transformer setup's smaller sizes
        optimiser=Optimiser.MUON,
        learning_rate=8e-3,
        adamw_learning_rate=8e-3,
        weight_decay=0.2,
        precision=Precision.BFLOAT16,
        initial_weights=InitialWeights.RELEASED,
    )


def _loop_alone(width: int, heads: int) -> Preset:
    """Bytes, and one recurrent layer without prelude and coda: the state is the whole model, so loops pay
    early. docs/experiments.md says how shape, rate and cooldown were found."""
    model = ModelConfig(
        prelude_layers=0,
        recurrent_layers=1,
        coda_layers=0,
        width=width,
        heads=heads,
        mlp_width=4 * width,
        vocabulary=256,
        context=64,
    )
    return Preset(
        model=model,
        text="python-stdlib",
        batch_sequences=16,
        optimiser=Optimiser.MUON,
        learning_rate=3e-2,
        adamw_learning_rate=3e-2,
        weight_decay=0.0,
        precision=Precision.FLOAT32,
        initial_weights=InitialWeights.RELEASED,
        cooldown=1.0,
    )


def _miniature(width: int, heads: int) -> Preset:
    """Bytes, one layer per stage: a miniature of the transformer setup."""
    model = ModelConfig(
        prelude_layers=1,
        recurrent_layers=1,
        coda_layers=1,
        width=width,
        heads=heads,
        mlp_width=4 * width,
        vocabulary=256,
        context=128,
    )
    return Preset(
        model=model,
        text="python-stdlib",
        batch_sequences=16,
        optimiser=Optimiser.ADAMW,
        learning_rate=1e-2,
        adamw_learning_rate=1e-2,
        weight_decay=0.0,
        precision=Precision.FLOAT32,
        initial_weights=InitialWeights.NORMAL,
    )


_SIZES: dict[str, Preset] = {
    "nano": _loop_alone(12, 1),
    "nano-16": _loop_alone(16, 1),
    "nano-32": _miniature(32, 2),
    "nano-64": _miniature(64, 4),
    "nano-128": _miniature(128, 4),
    "small-140m": _transformer(2, 768, 6, adamw_learning_rate=8e-3),
    "medium-370m": _transformer(4, 1_024, 8, adamw_learning_rate=8e-3),
    "large-770m": _transformer(6, 1_280, 10, adamw_learning_rate=6e-3),
    "xlarge-1.3b": _transformer(8, 1_536, 12, adamw_learning_rate=6e-3),
    "rdm-100m": _rdm(1, 1_024, 8),
    "rdm-350m": _rdm(2, 2_048, 16),
}


BASELINES: dict[str, dict[str, Any]] = {
    "add": {"injection": Injection.ADD},  # Yang et al.
    "concat": {"injection": Injection.CONCAT},  # RDM, Geiping et al.; pre-norm in the RDM setup
    "residual-norm": {"injection": Injection.CONCAT, "residual_norm": True},  # RDM's other form
    "fixed": {"injection": Injection.NONE},  # the fixed-depth transformer
}
"""The models that Parcae is compared with, each at any size: `small-140m-fixed`, `rdm-350m-concat`.

Separate names keep the runs of different architectures apart in every fit.
"""

PRESETS: dict[str, Preset] = _SIZES | {
    f"{size}-{baseline}": replace(known, model=replace(known.model, **changes))
    for size, known in _SIZES.items()
    for baseline, changes in BASELINES.items()
}


def preset(name: str) -> Preset:
    """The preset called `name`; ``InputError`` names the known ones."""
    if name not in PRESETS:
        raise InputError(
            f"there is no model {name!r}; the models are {', '.join(_SIZES)}, and the baselines of each with "
            f"-{', -'.join(BASELINES)} at the end"
        )
    return PRESETS[name]
