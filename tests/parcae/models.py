"""Small models with weights drawn so that every part of them matters."""

import torch

from parcae.config import Injection, ModelConfig, Recipe, TrainConfig
from parcae.model.transformer import LoopedTransformer

TINY = ModelConfig(
    prelude_layers=1,
    recurrent_layers=2,
    coda_layers=1,
    width=16,
    heads=2,
    mlp_width=32,
    vocabulary=256,
    context=12,
)


def shape(**changes: object) -> ModelConfig:
    """TINY with some fields changed."""
    return ModelConfig.from_dict({**TINY.to_dict(), **changes})


FAMILIES = {
    "parcae": TINY,
    "add": shape(injection=Injection.ADD),
    "concat": shape(injection=Injection.CONCAT),
    "fixed-depth": shape(injection=Injection.NONE),
    "rdm-parcae": shape(recipe=Recipe.RDM),
    "rdm-pre-norm": shape(recipe=Recipe.RDM, injection=Injection.CONCAT),
    "rdm-residual-norm": shape(recipe=Recipe.RDM, injection=Injection.CONCAT, residual_norm=True),
}


def random_model(
    config: ModelConfig, dtype: torch.dtype = torch.float64, seed: int = 0, scale: float = 0.3
) -> LoopedTransformer:
    """No parameter zero or at its initial value: zero output projections would hide the layers."""
    model = LoopedTransformer(config).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=scale, generator=generator)
    return model


def random_tokens(config: ModelConfig, sequences: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(config.vocabulary, (sequences, config.context), generator=generator)


def training(**changes: object) -> TrainConfig:
    """A run of a few steps."""
    plain: dict[str, object] = {
        "mean_recurrence": 4,
        "backward_depth": 2,
        "steps": 12,
        "batch_sequences": 4,
        "learning_rate": 1e-2,
        "adamw_learning_rate": 1e-2,
        "test_recurrences": (1, 4),
    }
    return TrainConfig(**{**plain, **changes})  # type: ignore[arg-type]
