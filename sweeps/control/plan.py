"""Plans the runs of a request, with their predicted losses, into the manifest of a sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from parcae.data.recipes import FINEWEB_EDU as PUBLISHED_TEXT
from sweeps.control.costs import RunCost, price_runs
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.manifest import check_plannable, plan_sweep
from sweeps.plan.request import Request
from sweeps.plan.texts import check_epochs, choose_text, locate
from sweeps.store.collect import collect
from sweeps.store.database import check_openable, model_runs
from sweeps.store.rows import RunRow


class Prediction(Protocol):
    """A loss in nats per token, and the form of the law that predicts it."""

    @property
    def loss(self) -> float: ...
    @property
    def form(self) -> str: ...


Foresee = Callable[[Sequence[RunSpec], Sequence[RunRow] | None, bool], Sequence[Prediction | None]]
"""Predicts a loss for each run from the rows of its model on the same text in all sweeps (None if there is no
database), or from the published points if the last argument says that they are of the same text."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    spec: RunSpec
    predicted_loss: float | None
    """Nats per token, as predicted when the run was first planned."""
    predicted_form: str | None
    """The form of the law that predicts this loss now; None if it predicts another one now."""
    cost: RunCost

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
            "precision": training.precision.option,
            "initial_weights": training.initial_weights.value,
            "discretisation": spec.model.discretisation.value,
            **self.cost.to_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The outcome of a plan."""

    sweep: str
    runs: Sequence[PlannedRun]
    """The runs of the request, new or already planned."""
    runs_in_sweep: int
    warning: str | None
    """A sentence if a run sees its text so often that it learns less from it."""

    def to_dict(self) -> dict[str, Any]:
        """The keys of `plan --json`."""
        return {"sweep": self.sweep, "runs": [run.to_dict() for run in self.runs]}


def plan_runs(study: Study, request: Request, device: str | None, foresee: Foresee) -> Planned:
    """Adds the runs of a request to its sweep. After an ``InputError`` nothing is planned.

    Costs are those on `device`; by default, on the GPU of this machine, or an H100 if it has none.
    """
    text = choose_text(study, request.data)
    specs = request.runs(text.text)
    warning = check_epochs(text, specs, request.epochs_allowed)
    check_plannable(study, name := request.sweep)
    check_openable(study.db)
    locate(study, text)
    predictions = _predictions(study, specs, foresee)
    manifest = plan_sweep(study, name, specs, [each.loss if each else None for each in predictions])
    collect(study.db)
    runs = []
    for spec, prediction, cost in zip(specs, predictions, price_runs(study, specs, device), strict=True):
        loss = manifest.predicted[spec.run_id]
        form = prediction.form if prediction and prediction.loss == loss else None
        runs.append(PlannedRun(spec=spec, predicted_loss=loss, predicted_form=form, cost=cost))
    return Planned(sweep=name, runs=runs, runs_in_sweep=len(manifest.specs), warning=warning)


def _predictions(study: Study, specs: Sequence[RunSpec], foresee: Foresee) -> list[Prediction | None]:
    """Predictions from runs on the same text with the same tokenizer; none for variants."""
    known = None
    text = specs[0].corpus_hash  # no two tokenizers share it
    if study.db.exists():
        collect(study.db)
        known = [run for run in model_runs(study.db, specs[0].model_name) if run.corpus_hash == text]
    found = foresee(specs, known, specs[0].corpus == PUBLISHED_TEXT)
    return [None if spec.variant else each for spec, each in zip(specs, found, strict=True)]
