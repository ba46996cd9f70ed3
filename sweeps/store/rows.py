"""The rows of the store: one per run, of any origin, and one per loss.

Every row of a run is made by one of two functions: `run_row`, from a specification, or `given_row`, from the
numbers in an imported file or in the published study.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from parcae.config import Injection, ModelConfig, Recipe, default_backward_depth
from parcae.flops import Convention, counted_parameters, flops_per_token, parameter_count
from parcae.presets import BASELINES, PRESETS
from parcae.records import to_plain
from parcae.training.result import Result
from sweeps.folders.spec import RunSpec
from sweeps.runs.states import State, Status

NO_LOOP = "no loop"
"""The architecture of a model without a loop: its mean recurrence is 1, and all parameters are used once."""
LOOPED = "looped"
"""The architecture of a model of which only parameters and recurrences are known."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run; None means unknown. N = once_parameters + mean_recurrence * recurrent_parameters."""

    run_id: str
    model: str | None
    """The name of a preset, or the name in an imported file."""
    architecture: str
    """The injection, such as `diagonal`, or NO_LOOP or LOOPED. No fit mixes two architectures."""
    variant: str | None = None
    """How the run differs from its preset, in words."""
    state: State
    reason: str | None = None
    """The reason for the state."""
    flops: float | None = None
    """The budget C."""
    realised_flops: float | None = None
    convention: str | None = None
    mean_recurrence: float | None = None
    backward_depth: float | None = None
    tokens: float | None = None
    """D, training tokens."""
    steps: int | None = None
    flops_per_token: float | None = None
    parameters: float | None = None
    once_parameters: float | None = None
    recurrent_parameters: float | None = None
    seed: int | None = None
    hyperparameters: str | None = None
    """Settings that a search varies for one model, budget, mean recurrence and number of tokens, as JSON."""
    corpus: str | None = None
    corpus_hash: str | None = None
    val_loss: float | None = None
    """Nats per token at the mean recurrence."""
    spec: str | None = None
    """Canonical JSON; None for an imported or published run."""
    result: str | None = None
    """result.json; None if the run has not ended."""
    extra: str | None = None
    """Further columns of an imported file, as JSON."""
    signature: str = ""
    """Changes whenever the result does."""


@dataclass(frozen=True, kw_only=True)
class LossRow:
    """The loss of a run's final model at one test recurrence, nats per token."""

    run_id: str
    test_recurrence: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """What a run's model reached on one task at one test recurrence."""

    run_id: str
    step: int
    """Steps completed."""
    test_recurrence: int
    task: str
    seed: int
    """Of the examples in the prompts."""
    version: str
    """Of the task, its files and its baselines."""
    metric: str
    value: float | None
    """None for an infinite one."""
    examples: int


@dataclass(frozen=True, kw_only=True)
class SweepRows:
    """A sweep with its runs and losses."""

    name: str
    kind: str
    """`planned` or `imported`."""
    runs: tuple[RunRow, ...]
    """In the order planned."""
    losses: tuple[LossRow, ...]
    predicted: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    """Run id -> the loss in nats per token that was predicted when it was planned."""
    damage: tuple[str, ...] = ()
    """A sentence for each damaged file of the study's sweeps, or line of one."""
    scores: tuple[ScoreRow, ...] = ()


def run_row(spec: RunSpec, status: Status, signature: str = "", result: Result | None = None) -> RunRow:
    """The row of a run with a specification and, once it has ended, a result."""
    training = spec.training
    once, recurrent = counted_parameters(spec.model, spec.convention)
    if not spec.model.has_loop:
        once, recurrent = once + recurrent, 0
    return RunRow(
        run_id=spec.run_id,
        model=spec.model_name,
        architecture=architecture(spec.model),
        variant=spec.variant,
        state=status.state,
        reason=status.reason,
        flops=spec.flops_budget,
        realised_flops=result.realised_flops if result else None,
        convention=spec.convention.value,
        mean_recurrence=float(training.mean_recurrence),
        backward_depth=float(training.backward_depth),
        tokens=float(spec.tokens),
        steps=training.steps,
        flops_per_token=spec.flops_per_token,
        parameters=float(spec.parameters),
        once_parameters=float(once),
        recurrent_parameters=float(recurrent),
        seed=training.seed,
        hyperparameters=_hyperparameters(spec),
        corpus=spec.corpus,
        corpus_hash=spec.corpus_hash,
        val_loss=result.val_loss if result and status.state is State.DONE else None,
        spec=spec.json,
        result=json.dumps(to_plain(result), sort_keys=True) if result else None,
        signature=signature,
    )


def given_row(
    *,
    run_id: str,
    model: str,
    val_loss: float | None,
    flops: float | None = None,
    mean_recurrence: float | None = None,
    tokens: float | None = None,
    parameters: float | None = None,
    once_parameters: float | None = None,
    recurrent_parameters: float | None = None,
    seed: int | None = None,
    hyperparameters: str | None = None,
    state: State = State.DONE,
    reason: str | None = None,
    extra: str | None = None,
) -> RunRow:
    """The row of a run, finished unless `state` says otherwise, that is known by these numbers.

    `parameters` are those of a model without a loop. If `model` is a preset's name and no parameters are
    given, they and the FLOPs per token (convention `paper`) are the preset's: missing tokens follow from the
    FLOPs.
    """
    preset = PRESETS.get(model)
    known = counted_parameters(preset.model) if preset else None
    own = (once_parameters, recurrent_parameters)
    backward_depth = cost = convention = None
    if parameters is not None:
        once_parameters, recurrent_parameters, mean_recurrence = parameters, 0.0, 1.0
    elif once_parameters is not None and recurrent_parameters is not None and own != known:
        parameters = once_parameters + recurrent_parameters
    elif preset and known and mean_recurrence is not None and (tokens is not None or flops is not None):
        backward_depth = float(default_backward_depth(mean_recurrence))
        cost = flops_per_token(preset.model, mean_recurrence=mean_recurrence, backward_depth=backward_depth)
        tokens = flops / cost if tokens is None and flops is not None else tokens
        convention = Convention.PAPER.value
        parameters = float(parameter_count(preset.model))
        once_parameters, recurrent_parameters = map(float, known)
    return RunRow(
        run_id=run_id,
        model=model,
        architecture=given_architecture(model, mean_recurrence, recurrent_parameters),
        state=state,
        reason=reason,
        flops=flops,
        convention=convention,
        mean_recurrence=mean_recurrence,
        backward_depth=backward_depth,
        tokens=tokens,
        flops_per_token=cost,
        parameters=parameters,
        once_parameters=once_parameters,
        recurrent_parameters=recurrent_parameters,
        seed=seed,
        hyperparameters=hyperparameters,
        val_loss=val_loss,
        extra=extra,
    )


def architecture(model: ModelConfig) -> str:
    """The model's injection, and the recipe of its blocks unless that is `transformer`."""
    if not model.has_loop:
        return NO_LOOP
    parts = [str(model.injection), *(["residual norm"] if model.residual_norm else [])]
    return ", ".join([*parts, *([] if model.recipe is Recipe.TRANSFORMER else [str(model.recipe)])])


def given_architecture(name: str, mean_recurrence: float | None, recurrent_parameters: float | None) -> str:
    """The architecture of a model that is known only by its name and numbers."""
    if recurrent_parameters == 0 and mean_recurrence == 1:
        return NO_LOOP
    if name in PRESETS:
        return architecture(PRESETS[name].model)
    ending = next((baseline for baseline in BASELINES if name.endswith(f"-{baseline}")), LOOPED)
    return NO_LOOP if BASELINES.get(ending, {}).get("injection") is Injection.NONE else ending


def _hyperparameters(spec: RunSpec) -> str:
    names = ("optimiser", "learning_rate", "adamw_learning_rate", "weight_decay", "cooldown", "gradient_clip")
    plain = spec.training.to_dict()
    return json.dumps({name: plain[name] for name in (*names, "batch_sequences")}, sort_keys=True)
