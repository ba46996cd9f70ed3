"""Typed configuration of a model and of one training run.

Everything here is plain data: importing it needs no torch, so that planning and fitting start fast.
A configuration that cannot be trained raises ``InputError`` where it is made, in one sentence.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from math import ceil, isfinite
from typing import Any, Self

from parcae.errors import InputError


class Injection(StrEnum):
    """How the prelude's output enters the recurrent state: Abar h + Bbar e (SCIENCE: paper section 3)."""

    DIAGONAL = "diagonal"  # Parcae: Abar = exp(Delta A), a vector; always stable
    ADD = "add"  # Yang et al.: h + e; marginally stable
    CONCAT = "concat"  # RDM, Geiping et al.: W [h; e]; unconstrained
    NONE = "none"  # the fixed-depth transformer: no loop, no injection, no readout


class Recipe(StrEnum):
    """The transformer block's recipe."""

    TRANSFORMER = "transformer"  # squared ReLU, QK-norm, gated value embeddings (the scaling laws use it)
    RDM = "rdm"  # SwiGLU, no QK-norm, no value embeddings


class DepthSampling(StrEnum):
    """How a training step draws its recurrences T."""

    PER_SEQUENCE = "per-sequence"
    PER_BATCH = "per-batch"
    FIXED = "fixed"
    LOG_NORMAL_POISSON = "log-normal-poisson"  # Geiping et al.


class Optimiser(StrEnum):
    ADAMW = "adamw"
    MUON = "muon"  # Muon for attention and MLP matrices, AdamW for the rest


class Precision(StrEnum):
    """Of weights and arithmetic."""

    FLOAT64 = "float64"  # to compare two ways of computing the same
    FLOAT32 = "float32"


class _Plain:
    """Conversion to and from JSON-ready dictionaries; an unknown or missing key is an error."""

    def to_dict(self) -> dict[str, Any]:
        plain = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        known = {field.name: field.type for field in fields(cls)}  # type: ignore[arg-type]
        if values.keys() != known.keys():
            wrong = sorted(values.keys() ^ known.keys())
            raise InputError(f"cannot read a {cls.__name__}: keys {wrong} are unknown or missing")
        typed = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**{k: t(typed[k]) if isinstance(t, type) else typed[k] for k, t in known.items()})


@dataclass(frozen=True, kw_only=True)
class ModelConfig(_Plain):
    """The shape of a middle-looped transformer. Its weights do not depend on the recurrence."""

    recipe: Recipe = Recipe.TRANSFORMER
    injection: Injection = Injection.DIAGONAL
    residual_norm: bool = False
    """Normalise after each residual addition too (the RDM baseline's second form)."""
    prelude_layers: int
    recurrent_layers: int
    coda_layers: int
    width: int
    """Width d of the residual stream and of the recurrent state, channels."""
    heads: int
    mlp_width: int
    vocabulary: int
    context: int
    """Sequence length L, tokens."""

    def __post_init__(self) -> None:
        for name in ("prelude_layers", "recurrent_layers", "coda_layers", "width", "heads", "mlp_width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.vocabulary < 2 or self.context < 2:
            raise InputError(
                f"vocabulary {self.vocabulary} and context {self.context} must both be at least 2"
            )
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InputError(
                f"width {self.width} over {self.heads} heads must give an even, whole head dimension"
            )

    @property
    def head_dimension(self) -> int:
        return self.width // self.heads

    @property
    def layers(self) -> int:
        """Unique layers, each counted once."""
        return self.prelude_layers + self.recurrent_layers + self.coda_layers

    @property
    def has_loop(self) -> bool:
        return self.injection is not Injection.NONE

    @property
    def has_prelude_norm(self) -> bool:
        """The published 350M counts leave it out of the RDM setup."""
        return self.has_loop and self.recipe is Recipe.TRANSFORMER

    @property
    def has_readout(self) -> bool:
        """C_out is Parcae's, in the transformer setup (the published counts imply both)."""
        return self.injection is Injection.DIAGONAL and self.recipe is Recipe.TRANSFORMER

    def has_value_embedding(self, layer: int) -> bool:
        """Alternating layers, prelude, recurrent and coda counted once each, the last one included."""
        return self.recipe is Recipe.TRANSFORMER and layer % 2 == (self.layers - 1) % 2


def default_backward_depth(mean_recurrence: int) -> int:
    """mu_bwd = ceil(mu_rec / 2), paper section 4."""
    return ceil(mean_recurrence / 2)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(_Plain):
    """Everything beside the model and the text that decides the numbers of one training run."""

    mean_recurrence: int
    """mu_rec: the mean of the sampled recurrences T; 1 trains a fixed depth of one recurrence."""
    backward_depth: int
    """mu_bwd: only the last min(T, mu_bwd) recurrences carry gradient."""
    sampling: DepthSampling = DepthSampling.PER_SEQUENCE
    steps: int
    batch_sequences: int
    """Sequences of one optimiser step, over all processes."""
    optimiser: Optimiser = Optimiser.ADAMW
    learning_rate: float
    """Peak rate of Muon's matrices, or of everything under AdamW alone."""
    adamw_learning_rate: float
    """Peak rate of what Muon does not take; unused, and equal to learning_rate, under AdamW alone."""
    weight_decay: float = 0.0
    """Initial decay of attention and MLP matrices, linear to 0 over the run."""
    cooldown: float = 0.5
    """Fraction of the run at its end over which the rate falls linearly to 0."""
    gradient_clip: float = 1.0
    precision: Precision = Precision.FLOAT32
    seed: int = 0
    test_recurrences: tuple[int, ...] = tuple(range(1, 25))
    """The T at which the final model is evaluated; mean_recurrence is always among them."""

    def __post_init__(self) -> None:
        for name in ("mean_recurrence", "backward_depth", "steps", "batch_sequences"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.backward_depth > self.mean_recurrence:
            raise InputError(
                f"backward_depth {self.backward_depth} exceeds mean_recurrence {self.mean_recurrence}"
            )
        for name in ("learning_rate", "adamw_learning_rate", "gradient_clip"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive")
        if not 0 <= self.cooldown <= 1:
            raise InputError(f"cooldown is {self.cooldown}; it is a fraction between 0 and 1")
        wanted = tuple(sorted({*self.test_recurrences, self.mean_recurrence}))
        if wanted[0] < 1:
            raise InputError(f"test_recurrences holds {wanted[0]}; each must be at least 1")
        object.__setattr__(self, "test_recurrences", wanted)

    def tokens(self, context: int) -> int:
        """D, tokens seen in training, for sequences of `context` tokens."""
        return self.steps * self.batch_sequences * context


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """How a run is executed. Nothing here decides its numbers, beyond the order of a floating-point sum."""

    checkpoint_seconds: float = 10.0
    """Wall time between checkpoints."""
    device: str | None = None
    """Torch device; None takes the GPU where there is one."""
    threads: int = 1
    """CPU threads of this process. A resumed run keeps the number it began with."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"threads is {self.threads}; it must be at least 1")
        if not self.checkpoint_seconds >= 0:
            raise InputError(f"checkpoint_seconds is {self.checkpoint_seconds}; it cannot be negative")
