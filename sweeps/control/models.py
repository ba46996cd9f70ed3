"""Finds a trained model by its name on the command line, and evaluates it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parcae.evaluation.texts import TEST_RECURRENCES, TextLosses, evaluate_texts
from parcae.formats.pretrained import Pretrained, load_pretrained
from sweeps.folders.paths import Study


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The losses of one model."""

    model: str
    mean_recurrence: int
    texts: Sequence[TextLosses]

    def to_dict(self) -> dict[str, Any]:
        """The keys of `eval --json`."""
        texts = [
            {"text": each.text, "tokens": each.tokens, "losses": {str(t): x for t, x in each.losses.items()}}
            for each in self.texts
        ]
        return {"model": self.model, "mean_recurrence": self.mean_recurrence, "texts": texts}


def find_model(study: Study, name: str) -> Pretrained:
    """The model called `name`: a run id, a folder, or a Hugging Face repository."""
    folder = study.run(name)
    return load_pretrained(folder.path if folder.spec.exists() else name)


def evaluate_model(
    study: Study, name: str, files: Sequence[Path], recurrences: Sequence[int] | None, most_tokens: int
) -> Evaluation:
    """Evaluates a model on text files, or on the held-out text if there are none.

    Default test recurrences: the paper's, and the model's mean recurrence.
    """
    pretrained = find_model(study, name)
    defaults = (*TEST_RECURRENCES, pretrained.mean_recurrence)
    wanted = sorted(set(defaults if recurrences is None else recurrences))
    return Evaluation(
        model=name,
        mean_recurrence=pretrained.mean_recurrence,
        texts=evaluate_texts(pretrained, files, wanted, most_tokens),
    )


def has_ended(study: Study, name: str) -> bool:
    """False for a run without a result: its newest checkpoint is not its final model."""
    folder = study.run(name)
    return folder.result.exists() or not folder.spec.exists()
