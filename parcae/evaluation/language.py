"""Language modelling by words: WikiText's perplexity and LAMBADA's last words, from files on disk.

Both are computed as lm-evaluation-harness does, whose versions they carry.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from parcae.data.manifest import file_hash
from parcae.data.sources import read_documents
from parcae.errors import InputError
from parcae.evaluation.likelihood import continuation, document, likelihoods
from parcae.evaluation.reader import Reader
from parcae.evaluation.scores import Report, Score, mute
from parcae.model.transformer import LoopedTransformer

WIKITEXT, LAMBADA = "wikitext", "lambada"
_VERSIONS = {WIKITEXT: "2.0", LAMBADA: "1.0"}


def wikitext(
    model: LoopedTransformer, reader: Reader, file: Path, recurrences: Sequence[int], report: Report = mute
) -> list[Score]:
    """Perplexity per word, and bits per byte, of a file of articles as WikiText has them.

    Each article is read by itself. Its words are counted as they are in the file; what the model reads has
    WikiText's spaces taken back. ``InputError`` for a file without words.
    """
    articles = [text for text in read_documents(file, articles=True) if text.strip()]
    if not articles:
        raise InputError(f"cannot evaluate on {file}: it holds no words")
    words = sum(len(re.split(r"\s+", text)) for text in articles)
    size = sum(len(text.encode()) for text in articles)
    windows = [
        window for text in articles for window in document(reader, detokenised(text), model.config.context)
    ]
    found = likelihoods(model, windows, recurrences, report=report, what=WIKITEXT)
    lost = {t: -sum(each.total for each in row) for t, row in found.items()}
    metrics = {
        "word_perplexity": {t: _exp(nats / words) for t, nats in lost.items()},
        "bits_per_byte": {t: nats / size / math.log(2) for t, nats in lost.items()},
    }
    return _scores(WIKITEXT, file, metrics, len(articles))


def lambada(
    model: LoopedTransformer, reader: Reader, file: Path, recurrences: Sequence[int], report: Report = mute
) -> list[Score]:
    """Accuracy and perplexity of each passage's last word, after a space; a passage a row or a line.

    ``InputError`` for a file without passages of at least two words.
    """
    rows = read_documents(file)
    plain = file.suffix.lower() in (".txt", ".md")
    passages = [
        line for text in rows for line in (text.splitlines() if plain else [text]) if " " in line.strip()
    ]
    if not passages:
        raise InputError(f"cannot evaluate on {file}: it holds no passage of two words")
    parts = (passage.strip().rsplit(" ", 1) for passage in passages)
    last = [continuation(reader, context, f" {word}") for context, word in parts]
    found = likelihoods(model, last, recurrences, report=report, what=LAMBADA)
    count = len(passages)
    metrics = {
        "accuracy": {t: sum(each.greedy for each in row) / count for t, row in found.items()},
        "perplexity": {t: _exp(-sum(each.total for each in row) / count) for t, row in found.items()},
    }
    return _scores(LAMBADA, file, metrics, count)


def _scores(task: str, file: Path, metrics: dict[str, dict[int, float]], examples: int) -> list[Score]:
    version = f"{_VERSIONS[task]} of {file_hash(file)[:16]}"
    return [
        Score(task=task, version=version, seed=0, metric=metric, values=values, examples=examples)
        for metric, values in metrics.items()
    ]


def _exp(nats: float) -> float:
    """Infinite where the loss is beyond float64's exponents."""
    return math.exp(nats) if nats < 700 else math.inf


_SUBSTITUTIONS = (
    # WikiText's own rules, in the order in which lm-evaluation-harness takes them back.
    (r"s '", "s'"),
    (r"/' [0-9]/", "/'[0-9]/"),
    (r" @-@ ", "-"),
    (r" @,@ ", ","),
    (r" @\.@ ", "."),
    (r" : ", ": "),
    (r" ; ", "; "),
    (r" \. ", ". "),
    (r" ! ", "! "),
    (r" \? ", "? "),
    (r" , ", ", "),
    (r"\(\s*([^\)]*?)\s*\)", r"(\1)"),
    (r"\[\s*([^\]]*?)\s*\]", r"[\1]"),
    (r"{\s*([^}]*?)\s*}", r"{\1}"),
    (r"\"\s*([^\"]*?)\s*\"", r'"\1"'),
    (r"'\s*([^']*?)\s*'", r"'\1'"),
    (r"= = = =", "===="),
    (r"= = =", "==="),
    (r"= =", "=="),
    (" " + chr(176) + " ", chr(176)),
    (r" \n", "\n"),
    (r"\n ", "\n"),
    (r" N ", " 1 "),
    (r" 's", "'s"),
)


def detokenised(text: str) -> str:
    """An article of WikiText as people write."""
    for pattern, by in _SUBSTITUTIONS:
        text = re.sub(pattern, by, text)
    return text
