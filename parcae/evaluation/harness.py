"""Models of this project in lm-evaluation-harness, as its model type `parcae`. Takes the extra `harness`.

import parcae.evaluation.harness                                  # registers the type
lm_eval.simple_evaluate("parcae", "pretrained=FOLDER,recurrences=8", tasks=["piqa"])
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.tasks import TaskManager

from parcae.data.manifest import file_hash
from parcae.errors import InputError
from parcae.evaluation.device import on_device
from parcae.evaluation.generation import generate
from parcae.evaluation.likelihood import continuation, document, likelihoods
from parcae.evaluation.reader import document_tokens, reader_of
from parcae.evaluation.scores import Report, Score, mute
from parcae.formats.pretrained import Pretrained, load_pretrained

NEW_TOKENS = 256
"""The most that are generated where a task does not say, as lm-evaluation-harness has it."""


@register_model("parcae")
class ParcaeLM(LM):
    """A model at T = `recurrences`, by default its mean recurrence."""

    def __init__(
        self,
        pretrained: str | Pretrained,
        recurrences: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        """`pretrained` is what ``load_pretrained`` reads. Any `batch_size` gives the same numbers;
        by default it follows from the lengths.

        The others are lm-evaluation-harness' own and change nothing: a GPU is used if there is one.
        """
        super().__init__()
        found = pretrained if isinstance(pretrained, Pretrained) else load_pretrained(pretrained)
        self.reader = reader_of(found)
        self.model = on_device(found.model)
        limit = found.mean_recurrence if recurrences is None else recurrences
        self.recurrences = limit if found.model.config.has_loop else 1
        self.batch = int(str(batch_size)) if str(batch_size).isdigit() else None  # such as "auto"

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        stretches = [continuation(self.reader, *request.args) for request in requests]
        found = likelihoods(self.model, stretches, [self.recurrences], self.batch)[self.recurrences]
        return [(each.total, each.greedy) for each in found]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        context = self.model.config.context
        windows = [document(self.reader, request.args[0], context) for request in requests]
        flat = [window for group in windows for window in group]
        found = iter(likelihoods(self.model, flat, [self.recurrences], self.batch)[self.recurrences])
        return [sum(next(found).total for _ in group) for group in windows]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [self._continued(*request.args) for request in requests]

    def _continued(self, prompt: str, options: dict[str, Any]) -> str:
        """The text after `prompt`, up to the first of the strings `until`.

        Where both do not fit the model's context, the prompt loses its beginning, and at most half of the
        context is generated.
        """
        context, reader = self.model.config.context, self.reader
        until = options.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        count = min(int(options.get("max_gen_toks", NEW_TOKENS)), max(1, context // 2))
        tokens = document_tokens(reader, prompt)[-(context + 1 - count) :]
        found = generate(
            self.model,
            tokens,
            count,
            self.recurrences,
            temperature=float(options.get("temperature", 0.0)) if options.get("do_sample") else 0.0,
            ends=lambda made: any(stop in reader.text(list(made)) for stop in stops),
        )
        text = reader.text(list(found.tokens))
        return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]


def harness_scores(
    pretrained: Pretrained,
    tasks: Sequence[str],
    include: Path | None,
    recurrences: Sequence[int],
    report: Report = mute,
) -> list[Score]:
    """What lm-evaluation-harness makes of `tasks`: its own, or those defined in the folder `include`.

    ``InputError`` for a task that there is not.
    """
    if include is not None and not include.is_dir():
        raise InputError(f"there is no folder {include} of tasks for lm-evaluation-harness")
    manager = TaskManager(include_path=None if include is None else str(include))
    if unknown := [task for task in tasks if not manager.match_tasks([task])]:
        raise InputError(
            f"lm-evaluation-harness has no task {unknown[0]!r}; `lm_eval ls tasks` lists its own, and "
            "--include names a folder of others"
        )
    values: dict[tuple[str, str], dict[int, float]] = {}
    versions: dict[str, str] = {}
    by = f"of lm-eval {lm_eval.__version__}" + (f", {_folder_hash(include)}" if include else "")
    examples: dict[str, int] = {}
    for number, t in enumerate(recurrences):
        report(f"lm-evaluation-harness at T = {t}", number / len(recurrences))
        found = lm_eval.simple_evaluate(
            ParcaeLM(pretrained, t),
            tasks=list(tasks),
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=False,
        )
        for task, metrics in found["results"].items():
            versions[task] = f"{found['versions'].get(task)} {by}"
            examples[task] = found["n-samples"].get(task, {}).get("effective", 0)
            for key, value in metrics.items():
                name, _, chosen = key.partition(",")
                if isinstance(value, int | float) and chosen and not name.endswith("_stderr"):
                    metric = name if chosen == "none" else f"{name} ({chosen})"
                    values.setdefault((task, metric), {})[t] = float(value)
    return [
        Score(
            task=task,
            version=versions[task],
            seed=0,
            metric=metric,
            values=by_recurrence,
            examples=examples[task],
        )
        for (task, metric), by_recurrence in values.items()
    ]


def _folder_hash(folder: Path) -> str:
    """16 hexadecimal digits over all files in a folder: a task that is changed is another one."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)} {file_hash(path)}\n".encode())
    return digest.hexdigest()[:16]
