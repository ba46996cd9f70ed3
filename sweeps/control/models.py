"""Trained models by their names on the command line: evaluated on texts, and asked for text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from parcae.config import Keep
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.windows import Text
from parcae.errors import InputError
from parcae.evaluation.device import on_device
from parcae.evaluation.generation import generate
from parcae.evaluation.reader import document_tokens, reader_of
from parcae.evaluation.scores import Report, mute
from parcae.evaluation.tasks import Tasks
from parcae.evaluation.tasks import score as score_tasks
from parcae.evaluation.texts import TEST_RECURRENCES, TextLosses, evaluate_texts
from parcae.formats.pretrained import Pretrained, load_pretrained
from parcae.records import to_plain
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.records import read_record
from sweeps.folders.spec import RunSpec
from sweeps.plan.texts import named_text, open_text, tokenizer_file
from sweeps.store.scores import StoredScore, add_scores, read_scores, summarised

TOKENS = 64
"""That are generated where nobody says how many."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The losses of one model."""

    model: str
    mean_recurrence: int
    texts: Sequence[TextLosses]
    scores: Sequence[StoredScore]
    """Of a run all that are stored, those of earlier evaluations too."""

    def to_dict(self) -> dict[str, Any]:
        """The keys of `eval --json`."""
        texts = [
            {
                "text": each.text,
                "tokens": each.tokens,
                "bytes": each.bytes,
                "losses": _by_recurrence(each.losses),
                "bits_per_byte": _by_recurrence(each.bits_per_byte),
                "perplexity": _by_recurrence(each.perplexity),
            }
            for each in self.texts
        ]
        return {
            "model": self.model,
            "mean_recurrence": self.mean_recurrence,
            "texts": texts,
            "scores": [to_plain(score) for score in self.scores],
            "summaries": [to_plain(summary) for summary in summarised(self.scores)],
        }


def _by_recurrence(values: Mapping[int, float]) -> dict[str, float | None]:
    """Numbers as JSON has them: an infinite one is null."""
    return {str(t): value if isfinite(value) else None for t, value in values.items()}


def _run_folder(study: Study, name: str) -> RunFolder | None:
    """That of the run whose id or folder is `name`."""
    folders = (study.run(name), RunFolder(Path(name).absolute()))
    return next((folder for folder in folders if folder.spec.exists()), None)


def _spec(folder: RunFolder) -> RunSpec:
    spec = read_record(folder.spec, RunSpec)
    if spec is None:
        raise InputError(f"cannot read the run's specification {folder.spec}; plan the sweep again")
    return spec


def find_model(study: Study, name: str) -> Pretrained:
    """The model called `name`: a run id, a folder, or a Hugging Face repository."""
    if (folder := _run_folder(study, name)) is None:
        return load_pretrained(name)
    found = load_pretrained(folder.path)
    return replace(found, tokenizer_file=tokenizer_file(folder.path.parent, _spec(folder)))


def find_texts(study: Study, model: str, names: Sequence[str]) -> list[Text]:
    """The texts called `names`; without names that of the run `model`, or the embedded one."""
    if names:
        return [named_text(study, name) for name in names]
    if folder := _run_folder(study, model):
        return [open_text(folder.path.parent, _spec(folder))]
    return [load_corpus(EMBEDDED)]


def evaluate_model(
    study: Study,
    name: str,
    files: Sequence[Path],
    texts: Sequence[str],
    recurrences: Sequence[int] | None,
    most_tokens: int,
    tasks: Tasks,
    report: Report = mute,
) -> Evaluation:
    """Evaluates a model on text files, on the held-out parts of named texts, and on tasks.

    Without any, on that of the text that the model was trained on here, or of the embedded text. Default
    test recurrences: the paper's, and the model's mean recurrence. Scores of a run are kept in its folder.
    """
    pretrained = find_model(study, name)
    defaults = (*TEST_RECURRENCES, pretrained.mean_recurrence)
    wanted = sorted(set(defaults if recurrences is None else recurrences))
    held_out = find_texts(study, name, texts) if texts or not (files or tasks) else []
    losses = evaluate_texts(pretrained, files, wanted, most_tokens, held_out)
    scores: Sequence[StoredScore] = [
        StoredScore(
            step=pretrained.step or 0,
            task=score.task,
            version=score.version,
            seed=score.seed,
            metric=score.metric,
            examples=score.examples,
            values=_by_recurrence(score.values),
        )
        for score in score_tasks(pretrained, tasks, wanted, report)
    ]
    if folder := _run_folder(study, name):
        scores = add_scores(folder, scores) if scores else read_scores(folder)
    return Evaluation(model=name, mean_recurrence=pretrained.mean_recurrence, texts=losses, scores=scores)


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What a model made of a prompt."""

    model: str
    mean_recurrence: int
    prompt: str
    text: str
    """The continuation alone."""
    tokens: Sequence[int]
    pieces: Sequence[str]
    """The text of each token by itself."""
    recurrences: Sequence[int]
    """T spent on each token."""

    def to_dict(self) -> dict[str, Any]:
        """The keys of `generate --json`."""
        return asdict(self)


def continue_text(
    study: Study,
    name: str,
    prompt: str,
    count: int | None,
    recurrences: int | None,
    *,
    temperature: float,
    seed: int,
    keep: Keep,
    exit_below: float,
) -> Continuation:
    """`count` tokens after `prompt`, which is the beginning of a document.

    Default T: the mean recurrence; default count: ``TOKENS``, or what the context has room for.
    """
    pretrained = find_model(study, name)
    reader = reader_of(pretrained)
    given = document_tokens(reader, prompt)
    room = pretrained.model.config.context + 1 - len(given)
    found = generate(
        on_device(pretrained.model),
        given,
        max(min(TOKENS, room), 1) if count is None else count,
        pretrained.mean_recurrence if recurrences is None else recurrences,
        temperature=temperature,
        seed=seed,
        keep=keep,
        exit_below=exit_below,
    )
    return Continuation(
        model=name,
        mean_recurrence=pretrained.mean_recurrence,
        prompt=prompt,
        text=reader.text(list(found.tokens)),
        tokens=found.tokens,
        pieces=[reader.text([token]) for token in found.tokens],
        recurrences=found.recurrences,
    )


def has_ended(study: Study, name: str) -> bool:
    """False for a run without a result: its newest checkpoint is not its final model."""
    folder = _run_folder(study, name)
    return folder is None or folder.result.exists()
