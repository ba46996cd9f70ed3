"""Plans the runs of a request, with their predicted losses, into the manifest of a sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.tokenizer import BYTES, tokenizer_hash
from sweeps.folders.paths import Study, check_sweep_name
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import Text
from sweeps.plan.manifest import plan_sweep
from sweeps.plan.request import Request
from sweeps.store.collect import collect
from sweeps.store.database import check_openable, model_runs
from sweeps.store.rows import RunRow

MANY_PASSES = 10
"""A run that reads the text more often than this learns little from more tokens."""


class Prediction(Protocol):
    """A loss in nats per token, and the form of the law that predicts it."""

    @property
    def loss(self) -> float: ...
    @property
    def form(self) -> str: ...


Foresee = Callable[[Sequence[RunSpec], Sequence[RunRow] | None], Sequence[Prediction | None]]
"""Predicts a loss for each run from the rows of its model in all sweeps; None if there is no database."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    spec: RunSpec
    predicted_loss: float | None
    """Nats per token, as predicted when the run was first planned."""
    predicted_form: str | None
    """The form of the law that predicts this loss now; None if it predicts another one now."""

    def to_dict(self) -> dict[str, Any]:
        """The keys of a run in `plan --json`."""
        spec, training = self.spec, self.spec.training
        return {
            "run_id": spec.run_id,
            "model": spec.model_name,
            "parameters": spec.parameters,
            "flops": spec.flops_budget,
            "mean_recurrence": training.mean_recurrence,
            "backward_depth": training.backward_depth,
            "tokens": spec.tokens,
            "steps": training.steps,
            "flops_per_token": spec.flops_per_token,
            "predicted_loss": self.predicted_loss,
            "predicted_form": self.predicted_form,
            "seed": training.seed,
            "variant": spec.variant,
            "optimiser": training.optimiser.value,
            "learning_rate": training.learning_rate,
            "adamw_learning_rate": training.adamw_learning_rate,
            "weight_decay": training.weight_decay,
            "batch": training.batch_sequences,
            "context": spec.model.context,
            "cooldown": training.cooldown,
            "sampling": training.sampling.value,
            "precision": training.precision.value.removesuffix("-mixed"),
            "initial_weights": training.initial_weights.value,
            "discretisation": spec.model.discretisation.value,
        }


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The outcome of a plan."""

    sweep: str
    runs: Sequence[PlannedRun]
    """The runs of the request, new or already planned."""
    runs_in_sweep: int
    text: str
    text_tokens: int
    """Training tokens in the text."""

    def to_dict(self) -> dict[str, Any]:
        """The keys of `plan --json`."""
        return {"sweep": self.sweep, "runs": [run.to_dict() for run in self.runs]}

    @property
    def warning(self) -> str | None:
        """A sentence if the longest run reads the text more than MANY_PASSES times, else None."""
        passes = max(run.spec.tokens for run in self.runs) / self.text_tokens
        if passes <= MANY_PASSES:
            return None
        text = f"the {self.text_tokens:,} tokens of {self.text}"
        return f"note: the longest run reads {text} {passes:,.0f} times"


def plan_runs(study: Study, request: Request, foresee: Foresee) -> Planned:
    """Adds the runs of a request to its sweep. After an ``InputError`` nothing has changed."""
    corpus = load_corpus(EMBEDDED)
    specs = request.runs(Text(corpus.name, corpus.hash, BYTES, tokenizer_hash(BYTES)))
    name = check_sweep_name(request.sweep)
    check_openable(study.db)
    known = None
    if study.db.exists():
        collect(study.db)
        known = model_runs(study.db, specs[0].model_name)
    predictions = [
        None if spec.variant else prediction
        for spec, prediction in zip(specs, foresee(specs, known), strict=True)
    ]
    manifest = plan_sweep(study, name, specs, [each.loss if each else None for each in predictions])
    collect(study.db)
    runs = []
    for spec, prediction in zip(specs, predictions, strict=True):
        loss = manifest.predicted[spec.run_id]
        form = prediction.form if prediction and prediction.loss == loss else None
        runs.append(PlannedRun(spec=spec, predicted_loss=loss, predicted_form=form))
    return Planned(
        sweep=name,
        runs=runs,
        runs_in_sweep=len(manifest.specs),
        text=corpus.name,
        text_tokens=len(corpus.train),
    )
