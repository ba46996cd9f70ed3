"""What a run takes before it starts: hours and memory on a device, each with where the number is from.

FLOPs C are those of convention `paper`, which counts what is computed. Symbols: B sequences at once, S
context, d width, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from parcae.config import Injection, ModelConfig, Optimiser, Precision
from parcae.flops import flops_per_token, parameter_groups
from parcae.training.hardware import memory_bytes, peak_flops_per_second
from sweeps.folders.spec import RunSpec

GIB = 2**30
DEVICE = "H100 80GB HBM3"
"""The device of an estimate where none is named and none is here."""
ASSUMED_MFU = 0.4
"""Model FLOPs over the peak: an assumption, what others report for models of these sizes in bfloat16."""
CORE_FLOPS_PER_SECOND = 50e9
"""Of one core at matrix products in float32; bench/results/training.txt has 63e9."""
LAYER_SECONDS = 3e-3
"""What applying a layer in a step takes beside its products, on a core: 2.8 to 4.5 ms in nano runs."""
USABLE_MEMORY = 0.9
"""Of a device's memory: the rest is the driver's, and lost between blocks."""
LOGITS_AT_ONCE = 2**26
"""As `losses.cross_entropy` has it, which loads torch."""

Shape = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that training takes on one device."""

    weights: int
    states: int
    """Gradients and the optimiser's moments."""
    activations: int
    logits: int
    sequences: int
    """At once: the largest part of the batch, halved until it fits."""

    @property
    def total(self) -> int:
        return self.weights + self.states + self.activations + self.logits


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How fast a run of some shape was."""

    device: str
    tokens_per_second: float
    """Of one device."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one run, on one device."""

    device: str
    hours: float | None
    """None where neither a peak nor a run of the shape is known."""
    hours_from: str
    memory: Memory
    fits: bool | None
    """None where the device's memory is not known."""


def shape(spec: RunSpec) -> Shape:
    """Runs of one shape are equally fast."""
    t = spec.training
    return (spec.model, t.mean_recurrence, t.backward_depth, t.sampling, t.precision, t.batch_sequences)


def price(spec: RunSpec, device: str, measured: Mapping[Shape, Measured]) -> Cost:
    """Hours on one GPU of that name: from a run of the shape on it, else from its peak."""
    capacity = memory_bytes(device)
    memory = fitting_memory(spec, capacity)
    known, peak = measured.get(shape(spec)), peak_flops_per_second(device)
    hours, source = None, f"the peak of {device} is not known"
    if known and known.device.removeprefix("NVIDIA ") == device.removeprefix("NVIDIA "):
        hours, source = spec.tokens / known.tokens_per_second / 3600, "as fast as a run of the shape was"
    elif spec.training.precision is not Precision.BFLOAT16:
        source = f"the peak in {spec.training.precision.value} is not known"
    elif peak:
        hours = computed_flops(spec) / (peak * ASSUMED_MFU) / 3600
        source = f"at {ASSUMED_MFU:.0%} of {peak / 1e12:,.0f} TFLOP/s, an assumption"
    fits = None if capacity is None else memory.total <= USABLE_MEMORY * capacity
    return Cost(device=device, hours=hours, hours_from=source, memory=memory, fits=fits)


def price_here(spec: RunSpec, capacity: int, measured: Mapping[Shape, Measured]) -> Cost:
    """Hours on one core of this machine, whose memory is `capacity` for each run."""
    known = measured.get(shape(spec))
    if known and known.device == "cpu":
        seconds, source = spec.tokens / known.tokens_per_second, "as fast as a run of the shape was"
    else:
        seconds = computed_flops(spec) / CORE_FLOPS_PER_SECOND
        model, training = spec.model, spec.training
        loop = training.mean_recurrence if model.has_loop else 1
        layers = model.prelude_layers + model.coda_layers + loop * model.recurrent_layers
        seconds += training.steps * layers * LAYER_SECONDS
        source = f"at {CORE_FLOPS_PER_SECOND / 1e9:.0f} GFLOP/s, an assumption"
    memory = fitting_memory(spec, capacity, halved=False)
    return Cost(
        device="cpu",
        hours=seconds / 3600,
        hours_from=source,
        memory=memory,
        fits=memory.total <= USABLE_MEMORY * capacity,
    )


def computed_flops(spec: RunSpec) -> float:
    """C of convention `paper`, whatever the run's own."""
    training = spec.training
    return spec.tokens * flops_per_token(
        spec.model, mean_recurrence=training.mean_recurrence, backward_depth=training.backward_depth
    )


def fitting_memory(spec: RunSpec, capacity: int | None, *, halved: bool = True) -> Memory:
    """For the whole batch at once; `halved`, as training does on a GPU, until that fits `capacity`."""
    training = spec.training
    sequences = training.batch_sequences
    while True:
        memory = training_memory(
            spec.model, training.backward_depth, training.precision, training.optimiser, sequences
        )
        fits = capacity is not None and memory.total <= USABLE_MEMORY * capacity
        if fits or not halved or sequences == 1:
            return memory
        sequences = (sequences + 1) // 2


@cache
def training_memory(
    model: ModelConfig, backward_depth: int, precision: Precision, optimiser: Optimiser, sequences: int
) -> Memory:
    """An estimate, of what autograd keeps and the optimiser holds; compiled code keeps less."""
    wide = 8 if precision is Precision.FLOAT64 else 4
    low = 2 if precision is Precision.BFLOAT16 else wide
    groups = parameter_groups(model)
    by_muon = _muon_parameters(model) if optimiser is Optimiser.MUON else 0
    moments = by_muon + 2 * (groups.total - by_muon)
    first, after = model.prelude_layers, model.prelude_layers + model.recurrent_layers
    loop = backward_depth if model.has_loop else 1
    applied = [*range(first), *list(range(first, after)) * loop, *range(after, model.layers)]
    kept = sum(_kept_by_layer(model, layer, wide, low) for layer in applied)
    kept += 6 * wide * model.width  # embeddings, the injection's input and output, the final norm's input
    tables = sum(map(model.has_value_embedding, range(model.layers)))
    kept += tables * wide * (model.key_value_heads or model.heads) * model.head_dimension
    tokens = sequences * model.context
    logits = min(LOGITS_AT_ONCE, tokens * model.vocabulary)
    casts = low * groups.total if low < wide else 0  # weights as autocast has them
    return Memory(
        weights=wide * groups.total + casts,
        states=wide * (groups.total + moments),
        activations=tokens * kept,
        logits=logits * (3 * wide + 2 * low) + wide * model.vocabulary * model.width,
        sequences=sequences,
    )


def _muon_parameters(model: ModelConfig) -> int:
    """Matrices of attention and MLP, and value gates: neither injection nor readout."""
    groups = parameter_groups(model)
    between = model.width * model.loop_width
    others = between * (model.injection in (Injection.DIAGONAL, Injection.CONCAT))
    others += model.loop_width**2 * (model.injection is Injection.CONCAT) + between * model.has_readout
    return groups.matrices_once + groups.matrices_recurrent - others


def _kept_by_layer(model: ModelConfig, layer: int, wide: int, low: int) -> int:
    """Bytes that a layer keeps of a token for the backward pass.

    Both norms keep their input, wide; each product keeps its factor, attention also q, k, v and its output,
    the MLP what its activation takes and gives.
    """
    shape = model.block(layer)
    norms = (4 if model.residual_norm else 2) * wide
    queries = 2 if model.has_qk_norm else 1  # before and after
    attention = low * (1 + 2 * queries + 1 + 1 + 1 + model.has_value_embedding(layer))
    inner = 4 if model.has_gated_mlp else 2
    return shape.width * (norms + attention) + low * inner * shape.mlp_width
