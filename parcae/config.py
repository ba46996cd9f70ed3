"""Typed configuration of a model and of one training run.

Everything here is plain data: importing it needs no torch, so that planning and fitting start fast.
A configuration that cannot be trained raises ``InputError`` where it is made, in one sentence.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, isfinite
from typing import ClassVar

from parcae.errors import InputError
from parcae.records import Record, settle_choices

LAYERS, WIDTH, VOCABULARY, CONTEXT = 1_024, 2**20, 2**24, 2**24
"""The most that a model may have; a damaged file must not occupy the machine."""
RECURRENCES = 1_000
"""The most recurrences for which a model may be trained."""
_POSITIONS = 2**28  # numbers in the table of rotations: 1 GiB


class Injection(StrEnum):
    """How the prelude's output enters the recurrent state: Abar h + Bbar e (SCIENCE: paper section 3)."""

    DIAGONAL = "diagonal"  # Parcae: Abar = exp(Delta A), a vector; always stable
    ADD = "add"  # Yang et al.: h + e; marginally stable
    CONCAT = "concat"  # RDM, Geiping et al.: W [h; e]; unconstrained
    NONE = "none"  # the fixed-depth transformer: no loop, no injection, no readout


class Discretisation(StrEnum):
    """How the diagonal injection makes Bbar of B over a step Delta; Abar = exp(Delta A) either way."""

    EULER = "euler"  # Bbar = Delta B, the official code's
    ZERO_ORDER_HOLD = "zero-order-hold"  # Bbar = (Delta A)^-1 (exp(Delta A) - I) Delta B, exact for held e


class Recipe(StrEnum):
    """The transformer block's recipe."""

    TRANSFORMER = "transformer"  # squared ReLU, QK-norm, gated value embeddings (the scaling laws use it)
    RDM = "rdm"  # SwiGLU, no QK-norm, no value embeddings


class Activation(StrEnum):
    """The MLP's nonlinearity."""

    SQUARED_RELU = "squared-relu"  # relu(x)^2 / 2; the half is the official code's
    SILU = "silu"


class StateInit(StrEnum):
    """How h_0 is drawn; names and meanings are the official code's. d_h state width, d width."""

    LIKE_INIT = "like-init"  # N(0, 2 / (5 d)), cut at three deviations
    ZERO = "zero"
    NORMAL = "normal"  # N(0, 1)
    EMBED = "embed"  # N(0, 1 / d)
    UNIT = "unit"  # N(0, 1), then mean 0 and deviation 1 over the d_h channels of each position


class Keep(StrEnum):
    """Which recurrences' keys and values are kept while text is generated."""

    EVERY = "every"
    LAST = "last"


class DepthSampling(StrEnum):
    """How a training step draws its recurrences T."""

    PER_SEQUENCE = "per-sequence"
    PER_BATCH = "per-batch"
    FIXED = "fixed"
    HUGINN = "huginn"  # one draw per batch, as in the released model of Geiping et al.: 1 + Poisson
    LOG_NORMAL_POISSON = "log-normal-poisson"  # in old runs only: not the released rule, so no longer trained


class Optimiser(StrEnum):
    ADAMW = "adamw"
    MUON = "muon"  # Muon for attention and MLP matrices and value gates, AdamW for the rest, as released


class Precision(StrEnum):
    """Arithmetic in training. A model is evaluated in the precision of its weights."""

    FLOAT64 = "float64"  # weights too: for comparing two implementations
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16-mixed"
    """Matrix products and Muon's orthogonalisation. Weights, sums of gradients, optimiser states, residual
    stream and loss stay in float32."""
    BFLOAT16_WEIGHTS = "bfloat16"
    """The bfloat16 of an early version: weights and optimiser states too, so that most small steps were
    rounded away. Such runs can be read but are no longer trained."""

    @property
    def option(self) -> str:
        """The name in plans and reports: `bfloat16` is the mixed one."""
        return self.value.removesuffix("-mixed")


class InitialWeights(StrEnum):
    """How the weights of a run are initialised."""

    NORMAL = "normal"  # the paper's appendix: N(0, 2 / (5 d)), C_out the identity
    RELEASED = "released"  # the released code: semi-orthogonal matrices, value embeddings N(0, 1)


class Telemetry(StrEnum):
    """How much a run measures."""

    NORMAL = "normal"  # metrics.jsonl: under 2 % of a step
    EXTREME = "extreme"  # also layers.jsonl: norms through every layer of every recurrence


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Record):
    """The shape of a middle-looped transformer. Its weights do not depend on the recurrence."""

    recipe: Recipe = Recipe.TRANSFORMER
    injection: Injection = Injection.DIAGONAL
    residual_norm: bool = False
    """Normalise after each residual addition too (the RDM baseline's second form)."""
    prelude_layers: int
    recurrent_layers: int
    coda_layers: int
    width: int
    """Width d of the residual stream of prelude and coda, channels."""
    heads: int
    mlp_width: int
    vocabulary: int
    context: int
    """Sequence length L, tokens."""

    # Departures from the recipe, as in some released checkpoints. None: the recipe's own.
    activation: Activation | None = None
    gated_mlp: bool | None = None
    qk_norm: bool | None = None
    prelude_norm: bool | None = None
    readout: bool | None = None
    value_tables: tuple[int, ...] | None = None
    """Layers that have a value-embedding table; prelude, recurrent and coda counted once each, from 0."""
    value_gates: tuple[int, ...] | None = None
    """Layers that have a value-embedding gate. A layer with only one of the two does not use it."""
    key_value_heads: int | None = None
    """Of prelude and coda (grouped-query attention); the recurrent block has a pair for each head."""
    state_width: int | None = None
    """Width d_h of the recurrent state and block."""
    recurrent_mlp_width: int | None = None
    tied_embeddings: bool = True
    norm_epsilon: float = 1e-5
    """Of the weighted norms; the parameter-free QK-norm uses the type's own epsilon."""
    rope_theta: float = 50_000.0
    state_init: StateInit = StateInit.LIKE_INIT
    discretisation: Discretisation = Discretisation.EULER

    _optional: ClassVar[frozenset[str]] = frozenset(
        {
            *("activation", "gated_mlp", "qk_norm", "prelude_norm", "readout", "value_tables", "value_gates"),
            *("key_value_heads", "state_width", "recurrent_mlp_width", "tied_embeddings", "norm_epsilon"),
            *("rope_theta", "state_init", "discretisation"),
        }
    )

    def __post_init__(self) -> None:
        settle_choices(self)
        for name in ("prelude_layers", "coda_layers"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 0")
        for name in ("recurrent_layers", "width", "heads", "mlp_width"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("vocabulary", "context"):
            if getattr(self, name) < 2:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 2")
        self._check_limits()
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InputError(
                f"width {self.width} over {self.heads} heads must give an even, whole head dimension"
            )
        self._check_departures()

    def _check_limits(self) -> None:
        limits = {"layers": LAYERS, "vocabulary": VOCABULARY, "context": CONTEXT}
        limits |= dict.fromkeys(("width", "mlp_width", "state_width", "recurrent_mlp_width"), WIDTH)
        for name, limit in limits.items():
            if (getattr(self, name) or 0) > limit:
                raise InputError(f"{name} is {getattr(self, name)}; it can be at most {limit}")
        if self.context * self.head_dimension > _POSITIONS:
            raise InputError(
                f"context {self.context} times head dimension {self.head_dimension} exceeds {_POSITIONS}"
            )

    def _check_departures(self) -> None:
        if self.discretisation is not Discretisation.EULER and self.injection is not Injection.DIAGONAL:
            raise InputError(
                f"discretisation {self.discretisation} needs the diagonal injection; "
                f"this model's is {self.injection}"
            )
        for name in ("key_value_heads", "state_width", "recurrent_mlp_width", "norm_epsilon", "rope_theta"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; it must be positive and finite")
        block = self.block(self.prelude_layers)
        if self.heads % (self.key_value_heads or self.heads):
            raise InputError(f"{self.heads} heads cannot share {self.key_value_heads} key-value heads")
        if block.width % self.head_dimension:
            raise InputError(
                f"state_width is {block.width}; it must be a multiple of the head dimension "
                f"{self.head_dimension}, which all layers share"
            )
        if block.width != self.width and not (
            self.injection in (Injection.DIAGONAL, Injection.CONCAT) and self.has_readout
        ):
            raise InputError(
                f"state_width {block.width} differs from width {self.width}; that takes a diagonal or concat "
                "injection and a readout"
            )
        for name in ("value_tables", "value_gates"):
            if wrong := [i for i in getattr(self, name) or () if not 0 <= i < self.layers]:
                raise InputError(f"{name} holds {wrong[0]}; the layers are 0 to {self.layers - 1}")
        tables_width = (self.key_value_heads or self.heads) * self.head_dimension
        for layer in range(self.layers):
            wanted = self.block(layer).key_value_heads * self.head_dimension
            if self.has_value_embedding(layer) and wanted != tables_width:
                raise InputError(
                    f"layer {layer} takes value embeddings of {wanted} channels, not {tables_width}"
                )

    @property
    def head_dimension(self) -> int:
        return self.width // self.heads

    @property
    def layers(self) -> int:
        """Unique layers, each counted once."""
        return self.prelude_layers + self.recurrent_layers + self.coda_layers

    def block(self, layer: int) -> "BlockShape":
        """The shape of `layer`: the recurrent block's may differ from that of prelude and coda."""
        if self.prelude_layers <= layer < self.prelude_layers + self.recurrent_layers and self.has_loop:
            width = self.state_width or self.width
            heads = width // self.head_dimension
            return BlockShape(width, heads, heads, self.recurrent_mlp_width or self.mlp_width)
        return BlockShape(self.width, self.heads, self.key_value_heads or self.heads, self.mlp_width)

    @property
    def loop_width(self) -> int:
        """d_h, the width of the recurrent state."""
        return self.block(self.prelude_layers).width

    @property
    def has_loop(self) -> bool:
        return self.injection is not Injection.NONE

    @property
    def mlp_activation(self) -> Activation:
        as_recipe = Activation.SQUARED_RELU if self.recipe is Recipe.TRANSFORMER else Activation.SILU
        return as_recipe if self.activation is None else self.activation

    @property
    def has_gated_mlp(self) -> bool:
        return self.recipe is Recipe.RDM if self.gated_mlp is None else self.gated_mlp

    @property
    def has_qk_norm(self) -> bool:
        return self.recipe is Recipe.TRANSFORMER if self.qk_norm is None else self.qk_norm

    @property
    def has_prelude_norm(self) -> bool:
        """The published 350M counts leave it out of the RDM setup."""
        as_recipe = self.recipe is Recipe.TRANSFORMER if self.prelude_norm is None else self.prelude_norm
        return self.has_loop and as_recipe

    @property
    def has_readout(self) -> bool:
        """C_out is Parcae's, in the transformer setup (the published counts imply both)."""
        if self.readout is not None:
            return self.has_loop and self.readout
        return self.injection is Injection.DIAGONAL and self.recipe is Recipe.TRANSFORMER

    def has_value_table(self, layer: int) -> bool:
        return self._alternates(layer) if self.value_tables is None else layer in self.value_tables

    def has_value_gate(self, layer: int) -> bool:
        return self._alternates(layer) if self.value_gates is None else layer in self.value_gates

    def has_value_embedding(self, layer: int) -> bool:
        """Alternating layers, prelude, recurrent and coda counted once each, the last one included."""
        return self.has_value_table(layer) and self.has_value_gate(layer)

    def _alternates(self, layer: int) -> bool:
        return self.recipe is Recipe.TRANSFORMER and layer % 2 == (self.layers - 1) % 2


@dataclass(frozen=True)
class BlockShape:
    """The shape of one transformer layer."""

    width: int
    heads: int
    key_value_heads: int
    mlp_width: int


def default_backward_depth(mean_recurrence: float) -> int:
    """mu_bwd = ceil(mu_rec / 2), paper section 4."""
    return ceil(mean_recurrence / 2)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Record):
    """Everything besides the model and the text that determines the numbers of a training run."""

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
    """Peak learning rate of Muon's matrices, or of everything under AdamW alone."""
    adamw_learning_rate: float
    """Peak learning rate of AdamW's parameters beside Muon; equal to learning_rate under AdamW alone."""
    weight_decay: float = 0.0
    """Initial decay of attention and MLP matrices, linear to 0 over the run."""
    cooldown: float = 0.5
    """Fraction of the run at its end over which the rate falls linearly to 0."""
    gradient_clip: float = 1.0
    precision: Precision = Precision.FLOAT32
    initial_weights: InitialWeights = InitialWeights.NORMAL
    seed: int = 0
    test_recurrences: tuple[int, ...] = tuple(range(1, 25))
    """The T at which the final model is evaluated; mean_recurrence is always among them."""

    _optional: ClassVar[frozenset[str]] = frozenset({"precision", "initial_weights"})

    def __post_init__(self) -> None:
        settle_choices(self)
        for name in ("mean_recurrence", "backward_depth", "steps", "batch_sequences"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.mean_recurrence > RECURRENCES:
            raise InputError(f"mean_recurrence is {self.mean_recurrence}; it can be at most {RECURRENCES}")
        if self.backward_depth > self.mean_recurrence:
            raise InputError(
                f"backward_depth {self.backward_depth} exceeds the mean recurrence "
                f"{self.mean_recurrence}; it can be at most that"
            )
        for name in ("learning_rate", "adamw_learning_rate", "gradient_clip"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} is {getattr(self, name)}; it must be positive and finite")
        if not (isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay is {self.weight_decay}; it must be finite and at least 0")
        if not 0 <= self.cooldown <= 1:
            raise InputError(f"cooldown is {self.cooldown}; it is a fraction between 0 and 1")
        wanted = tuple(sorted({*self.test_recurrences, self.mean_recurrence}))
        if wanted[0] < 1 or wanted[-1] > RECURRENCES:
            wrong = wanted[0] if wanted[0] < 1 else wanted[-1]
            raise InputError(f"test_recurrences holds {wrong}; each must be from 1 to {RECURRENCES}")
        object.__setattr__(self, "test_recurrences", wanted)

    def tokens(self, context: int) -> int:
        """D, tokens seen in training, for sequences of `context` tokens."""
        return self.steps * self.batch_sequences * context


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """How a run is executed. Nothing here changes its numbers, beyond the order of floating-point sums."""

    checkpoint_seconds: float | None = None
    """Wall time between checkpoints; None: as often as costs at most 1 % of the time, but at most every five
    seconds."""
    device: str | None = None
    """Torch device; None: the GPU if there is one, else the CPU."""
    threads: int = 1
    """CPU threads of this process. A resumed run keeps its first number."""
    micro_batch_sequences: int | None = None
    """Sequences that a process computes at once; None: its whole share, or as many as fit into the GPU's
    memory. Gradients are accumulated over the step."""
    activation_checkpointing: bool = False
    """Keep one state per recurrence for the backward pass and recompute the rest: less memory, more time."""
    compile: bool | None = None
    """Compile the transformer layers; None does so on a GPU."""
    telemetry: Telemetry = Telemetry.NORMAL

    def __post_init__(self) -> None:
        settle_choices(self)
        if self.threads < 1:
            raise InputError(f"threads is {self.threads}; it must be at least 1")
        if self.micro_batch_sequences is not None and self.micro_batch_sequences < 1:
            raise InputError(
                f"micro_batch_sequences is {self.micro_batch_sequences}; it must be at least 1, or None"
            )
        if self.checkpoint_seconds is not None and not self.checkpoint_seconds >= 0:
            raise InputError(f"checkpoint_seconds is {self.checkpoint_seconds}; it cannot be negative")
