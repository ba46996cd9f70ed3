"""Every task that a model can be scored on, in one request."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from parcae.errors import InputError
from parcae.evaluation.bundle import Baselines, load_bundle
from parcae.evaluation.core import SEED, core
from parcae.evaluation.device import on_device
from parcae.evaluation.language import lambada, wikitext
from parcae.evaluation.reader import reader_of
from parcae.evaluation.scores import Report, Score, mute
from parcae.formats.pretrained import Pretrained


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """What a model is to be scored on."""

    wikitext: Sequence[Path] = ()
    """Files of articles."""
    lambada: Sequence[Path] = ()
    """Files of passages."""
    core: Path | None = None
    """The folder of a bundle."""
    baselines: Baselines = Baselines.CORRECTED
    seeds: Sequence[int] = (SEED,)
    """Of CORE's few-shot examples."""
    harness: Sequence[str] = ()
    """Tasks of lm-evaluation-harness."""
    include: Path | None = None
    """A folder of tasks for it."""

    def __bool__(self) -> bool:
        return bool(self.wikitext or self.lambada or self.core or self.harness)


def score(
    pretrained: Pretrained, tasks: Tasks, recurrences: Sequence[int], report: Report = mute
) -> list[Score]:
    """The scores at each T; T = 1 for a model without a loop.

    The bundle is checked before the first task starts. ``InputError`` for what cannot be read.
    """
    if min(recurrences) < 1:
        raise InputError(f"cannot evaluate at {min(recurrences)} recurrences; it takes at least 1")
    if not tasks:
        return []
    reader, model = reader_of(pretrained), on_device(pretrained.model)
    wanted = sorted(set(recurrences)) if model.config.has_loop else [1]
    bundle = load_bundle(tasks.core, tasks.baselines) if tasks.core else None
    scores: list[Score] = []
    for file in tasks.wikitext:
        scores += wikitext(model, reader, file, wanted, report)
    for file in tasks.lambada:
        scores += lambada(model, reader, file, wanted, report)
    if bundle is not None:
        scores += core(model, reader, bundle, wanted, tasks.seeds, report)
    if tasks.harness:
        try:
            from parcae.evaluation.harness import harness_scores
        except ModuleNotFoundError as error:
            raise InputError(
                f"tasks of lm-evaluation-harness take the extra harness ({error.name} is missing): "
                "pip install 'parcae-lab[harness]'"
            ) from error
        scores += harness_scores(pretrained, tasks.harness, tasks.include, wanted, report)
    return scores
