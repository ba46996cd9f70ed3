"""CORE and CORE-extended: the mean over tasks of accuracy above that of guessing (SCIENCE: Scores).

Prompts, few-shot draws and scoring follow nanochat's evaluation of DCLM's tasks, whose seed is 1,234.
"""

import random
from collections.abc import Sequence
from itertools import takewhile

from parcae.errors import InputError
from parcae.evaluation.bundle import Bundle, Choices, Contexts, Example, Passage, Task
from parcae.evaluation.likelihood import Likelihood, Stretch, likelihoods
from parcae.evaluation.reader import Reader, document_tokens
from parcae.evaluation.scores import Report, Score, mute
from parcae.model.transformer import LoopedTransformer

SEED = 1234
ACCURACY, CENTRED = "accuracy", "centred"


def core(
    model: LoopedTransformer,
    reader: Reader,
    bundle: Bundle,
    recurrences: Sequence[int],
    seeds: Sequence[int] = (SEED,),
    report: Report = mute,
) -> list[Score]:
    """For each seed, accuracy and centred accuracy of every task, and the mean over each group of tasks."""
    scores = []
    for seed in seeds:
        centred: dict[str, dict[int, float]] = {}
        for task in bundle.tasks.values():
            found = _accuracy(model, reader, task, recurrences, seed, report)
            centred[task.label] = {t: (x - task.baseline) / (1 - task.baseline) for t, x in found.items()}
            for metric, values in ((ACCURACY, found), (CENTRED, centred[task.label])):
                scores.append(_score(task.label, bundle, seed, metric, values, len(task.examples)))
        for group, labels in bundle.groups.items():
            each = [centred[label] for label in labels]
            mean = {t: sum(values[t] for values in each) / len(each) for t in each[0]}
            scores.append(_score(group, bundle, seed, CENTRED, mean, len(labels)))
    return scores


def _score(
    task: str, bundle: Bundle, seed: int, metric: str, values: dict[int, float], examples: int
) -> Score:
    return Score(
        task=task, version=bundle.version, seed=seed, metric=metric, values=values, examples=examples
    )


def _accuracy(
    model: LoopedTransformer,
    reader: Reader,
    task: Task,
    recurrences: Sequence[int],
    seed: int,
    report: Report,
) -> dict[int, float]:
    """The share of right answers, by T."""
    if task.shots >= len(task.examples):
        raise InputError(
            f"the task {task.label} puts {task.shots} examples before each, of {len(task.examples)} in all"
        )
    groups = [
        _stretches(reader, task, example, _drawn(task, index, seed))
        for index, example in enumerate(task.examples)
    ]
    flat = [stretch for group in groups for stretch in group]
    found = likelihoods(model, flat, recurrences, report=report, what=task.label)
    rights = {}
    for t, row in found.items():
        answers = iter(row)
        taken = [[next(answers) for _ in group] for group in groups]
        rights[t] = sum(map(_is_right, task.examples, taken)) / len(groups)
    return rights


def _is_right(example: Example, answers: Sequence[Likelihood]) -> bool:
    """Of several answers, the one of the highest mean log-likelihood is given."""
    if isinstance(example, Passage):
        return answers[0].greedy
    means = [answer.total / answer.count for answer in answers]
    return means.index(max(means)) == example.gold


def _drawn(task: Task, index: int, seed: int) -> list[Example]:
    """The examples before example number `index`: others, drawn by the seed."""
    places = random.Random(seed + index).sample(range(len(task.examples) - 1), task.shots)
    return [task.examples[place + (place >= index)] for place in places]


def _stretches(reader: Reader, task: Task, example: Example, shots: Sequence[Example]) -> list[Stretch]:
    before = "".join(f"{_solved(shot, task.delimiter)}\n\n" for shot in shots)
    if isinstance(example, Choices):
        options = [f"{before}{example.query}{task.delimiter}{choice}" for choice in example.choices]
        sequences = [document_tokens(reader, text) for text in options]
        start = _common(sequences)
        return [Stretch(tokens, min(start, len(tokens) - 1)) for tokens in sequences]
    if isinstance(example, Contexts):
        options = [
            f"{before}{context}{task.delimiter}{example.continuation}" for context in example.context_options
        ]
        sequences = [document_tokens(reader, text) for text in options]
        shared = _common([tokens[::-1] for tokens in sequences])
        return [Stretch(tokens, max(1, len(tokens) - max(1, shared))) for tokens in sequences]
    text = f"{before}{example.context.strip()}{task.delimiter}"
    whole = document_tokens(reader, f"{text}{example.continuation}")
    return [Stretch(whole, min(_common([whole, document_tokens(reader, text.strip())]), len(whole) - 1))]


def _solved(example: Example, delimiter: str) -> str:
    if isinstance(example, Choices):
        return f"{example.query}{delimiter}{example.choices[example.gold]}"
    if isinstance(example, Contexts):
        return f"{example.context_options[example.gold]}{delimiter}{example.continuation}"
    return f"{example.context.strip()}{delimiter}{example.continuation}"


def _common(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all begin with."""
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*sequences, strict=False)))
