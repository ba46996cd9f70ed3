"""Which text runs read: named in a plan, found on disk, and pinned before the first run starts.

runs/texts/<corpus hash>/pin.json          where the text is, and what it held when it was pinned
                         tokenizer.json    its tokenizer, for the models trained on it
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.manifest import MANIFEST, TOKENIZER, PreparedText, State, open_prepared, verify
from parcae.data.recipes import ABOUT_TOKENS, RECIPES
from parcae.data.tokenizer import BYTES, tokenizer_hash
from parcae.data.windows import Text as TrainingText
from parcae.errors import InputError
from sweeps.folders.paths import Study
from sweeps.folders.records import read_record, write_record
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import Text

OWN_TOKENIZER = "tokenizer.json"
"""The name, in a specification, of the tokenizer that a text was prepared with."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A text that runs are to read, as it was found."""

    name: str
    folder: str
    hash: str
    """Of its tokens."""
    tokenizer: str
    files: Mapping[str, State] = field(default_factory=dict)
    """The states in which its files were read and found right."""


@dataclass(frozen=True, kw_only=True)
class KnownText:
    """A text that can be planned on."""

    name: str
    vocabulary: int | None
    tokens: int | None
    """For training; None before it is prepared."""
    where: str
    """Or why it cannot be read."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ChosenText:
    """A text for the runs of a plan."""

    text: Text
    tokens: float | None
    """For training; None where nobody has counted them."""
    folder: Path | None
    """Where it is prepared."""

    def epochs(self, spec: RunSpec) -> float | None:
        """How often a run sees the text; of rows longer than its context it sees the beginning alone."""
        if self.tokens is None:
            return None
        seen = 1.0 if self.text.context is None else min(1.0, spec.model.context / self.text.context)
        return spec.tokens / (self.tokens * seen)


def choose_text(study: Study, name: str) -> ChosenText:
    """The text called `name`: the embedded one, a recipe, or a folder that `data prepare` made.

    The folder may be in data/ beside the database. A recipe need not be prepared yet. ``InputError`` for any
    other name.
    """
    if name == EMBEDDED:
        corpus = load_corpus(EMBEDDED)
        text = Text(corpus.name, corpus.hash, BYTES, tokenizer_hash(BYTES), corpus.vocabulary)
        return ChosenText(text=text, tokens=len(corpus.train), folder=None)
    if name in RECIPES and not (Path(name) / MANIFEST).is_file():
        prepared = _prepared_recipe(study, name)
        tokens = ABOUT_TOKENS.get(name) if prepared is None else _tokens(prepared)
        return ChosenText(text=_of_recipe(name), tokens=tokens, folder=prepared.folder if prepared else None)
    folder = Path(name) if Path(name).is_dir() else study.data / name
    if not folder.is_dir():
        names = ", ".join([EMBEDDED, *RECIPES])
        raise InputError(f"there is no text {name!r}; name {names}, or a folder that `data prepare` made")
    found = open_prepared(folder)
    manifest = found.manifest
    if manifest.recipe is not None and _is_of_recipe(found):
        text = _of_recipe(manifest.recipe)
    else:
        text = Text(
            found.name, found.hash, OWN_TOKENIZER, manifest.tokenizer, manifest.vocabulary, manifest.context
        )
    return ChosenText(text=text, tokens=_tokens(found), folder=found.folder)


def named_text(study: Study, name: str) -> TrainingText:
    """The text called `name`, which must be prepared; ``InputError`` else."""
    if name == EMBEDDED:
        return load_corpus(EMBEDDED)
    chosen = choose_text(study, name)
    if chosen.folder is None:
        raise InputError(f"the text {name} is not prepared; `parcae-sweep data prepare {name}` prepares it")
    return open_prepared(chosen.folder)


def _of_recipe(name: str) -> Text:
    recipe = RECIPES[name]
    return Text(name, recipe.hash, OWN_TOKENIZER, recipe.tokenizer_hash, recipe.vocabulary, recipe.context)


def _tokens(prepared: PreparedText) -> int:
    return prepared.manifest.train.rows * prepared.manifest.context


def _prepared_recipe(study: Study, name: str) -> PreparedText | None:
    """Where the recipe `name` is prepared: where it was pinned, else in data/ beside the database."""
    if name not in RECIPES:
        return None
    pin = _read_pin(study.runs, RECIPES[name].hash)
    folder = Path(pin.folder) if pin else study.data / name
    if not (folder / MANIFEST).is_file():
        return None
    text = open_prepared(folder)
    return text if _is_of_recipe(text) and text.manifest.recipe == name else None


def _is_of_recipe(text: PreparedText) -> bool:
    """Whether it was prepared as a named text, as that is made now."""
    recipe = RECIPES.get(text.manifest.recipe or "")
    made = (text.vocabulary, text.manifest.context, text.manifest.held_out_one_in)
    return recipe is not None and made == (recipe.vocabulary, recipe.context, recipe.held_out_one_in)


def known_texts(study: Study) -> list[KnownText]:
    """The embedded text, the recipes, and what else is prepared beside the database."""
    corpus = load_corpus(EMBEDDED)
    found = [
        KnownText(name=EMBEDDED, vocabulary=corpus.vocabulary, tokens=len(corpus.train), where="embedded")
    ]
    for name, recipe in RECIPES.items():
        prepared = _prepared_recipe(study, name)
        found.append(
            KnownText(
                name=name,
                vocabulary=recipe.vocabulary,
                tokens=_tokens(prepared) if prepared else None,
                where=str(prepared.folder) if prepared else "not prepared",
            )
        )
    for path in sorted(study.data.glob(f"*/{MANIFEST}")):
        try:
            prepared = open_prepared(path.parent)
        except InputError as error:
            found.append(KnownText(name=path.parent.name, vocabulary=None, tokens=None, where=str(error)))
            continue
        if not _is_of_recipe(prepared):
            found.append(
                KnownText(
                    name=prepared.name,
                    vocabulary=prepared.vocabulary,
                    tokens=_tokens(prepared),
                    where=str(prepared.folder),
                )
            )
    return found


def _pin_folder(runs: Path, corpus_hash: str) -> Path:
    return runs / "texts" / corpus_hash


def _read_pin(runs: Path, corpus_hash: str) -> Pin | None:
    return read_record(_pin_folder(runs, corpus_hash) / "pin.json", Pin)


def _write_pin(runs: Path, corpus_hash: str, pin: Pin) -> None:
    folder = _pin_folder(runs, corpus_hash)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / TOKENIZER).is_file():
        shutil.copyfile(Path(pin.folder) / TOKENIZER, folder / TOKENIZER)
    write_record(folder / "pin.json", pin)


FEW_EPOCHS = 4.0
"""Passes over a text that are about as good as new text (Muennighoff et al., arXiv 2305.16264)."""


def check_epochs(chosen: ChosenText, specs: Sequence[RunSpec], allowed: float) -> str | None:
    """A warning if a run sees the text more than a few times; ``InputError`` if more than `allowed`."""
    epochs = max((chosen.epochs(spec) or 0.0 for spec in specs), default=0.0)
    sees = f"sees the {chosen.tokens or 0:,.0f} training tokens of {chosen.text.corpus} {epochs:,.1f} times"
    if epochs > allowed:
        raise InputError(
            f"a run {sees}; choose a larger text with --data, or allow it: --epochs-allowed {ceil(epochs)}"
        )
    if epochs <= FEW_EPOCHS:
        return None
    return f"the largest run {sees}; beyond {FEW_EPOCHS:.0f} times a text teaches less than new text would"


def locate(study: Study, chosen: ChosenText) -> None:
    """Notes where the text of a plan is. ``InputError`` where runs here are pinned to another content."""
    if chosen.folder is None:
        return
    pin = _pin_of(open_prepared(chosen.folder))
    before = _read_pin(study.runs, chosen.text.corpus_hash)
    if before is not None:
        _check_same(before, open_prepared(chosen.folder))
    if before is None or before.folder != pin.folder:
        _write_pin(study.runs, chosen.text.corpus_hash, pin)


def missing_text(study: Study, specs: Iterable[RunSpec]) -> str | None:
    """In words, the first text of `specs` that is not prepared, with the command that prepares it."""
    for corpus_hash, spec in {spec.corpus_hash: spec for spec in specs}.items():
        if spec.tokenizer == BYTES or _read_pin(study.runs, corpus_hash):
            continue
        if spec.corpus not in RECIPES:
            return f"the text {spec.corpus} is not known here; plan it anew with --data and its folder"
        if _prepared_recipe(study, spec.corpus) is None:
            return (
                f"the text {spec.corpus} is not prepared; `parcae-sweep data prepare {spec.corpus} --out "
                f"{study.data / spec.corpus}` prepares it"
            )
    return None


def unread_bytes(study: Study, specs: Iterable[RunSpec]) -> int:
    """What `pin_texts` has to read."""
    size = 0
    for corpus_hash, spec in {spec.corpus_hash: spec for spec in specs}.items():
        pin = _read_pin(study.runs, corpus_hash)
        text = open_prepared(Path(pin.folder)) if pin else _prepared_recipe(study, spec.corpus)
        if spec.tokenizer != BYTES and text is not None and not (pin and pin.files):
            size += sum(path.stat().st_size for path in text.folder.glob("*.bin"))
    return size


def pin_texts(study: Study, specs: Iterable[RunSpec]) -> None:
    """Checks every text that `specs` read, all of it, before the first of them starts.

    ``InputError`` for a text that is not prepared or has changed.
    """
    if missing := missing_text(study, specs := list(specs)):
        raise InputError(missing)
    for corpus_hash, spec in {spec.corpus_hash: spec for spec in specs}.items():
        if spec.tokenizer == BYTES:
            continue
        pin = _read_pin(study.runs, corpus_hash)
        if pin is None:
            prepared = _prepared_recipe(study, spec.corpus)
            assert prepared is not None
            pin = _pin_of(prepared)
        files = verify(_open_pinned(pin), pin.files)
        _write_pin(study.runs, corpus_hash, replace(pin, files=files))


def _pin_of(text: PreparedText) -> Pin:
    folder = str(text.folder.resolve())
    return Pin(name=text.name, folder=folder, hash=text.hash, tokenizer=text.tokenizer)


def _open_pinned(pin: Pin) -> PreparedText:
    text = open_prepared(Path(pin.folder))
    _check_same(pin, text)
    return text


def _check_same(pin: Pin, text: PreparedText) -> None:
    if (pin.hash, pin.tokenizer) != (text.hash, text.manifest.tokenizer):
        raise InputError(
            f"the text {pin.name} in {text.folder} is {text.hash} with the tokenizer {text.tokenizer}, but "
            f"these runs are pinned to {pin.hash} with {pin.tokenizer}; bring that text back, or plan "
            "in another folder"
        )


def tokenizer_file(runs: Path, spec: RunSpec) -> Path | None:
    """The tokenizer.json of the text that a run in `runs` reads; None for bytes, or if it is gone."""
    path = _pin_folder(runs, spec.corpus_hash) / TOKENIZER
    return path if spec.tokenizer != BYTES and path.is_file() else None


def open_text(runs: Path, spec: RunSpec) -> TrainingText:
    """The text of a run in `runs`. ``InputError`` where it is not the one that was planned and pinned."""
    if spec.tokenizer == BYTES:
        corpus = load_corpus(spec.corpus)
        for what, here, planned in (
            ("corpus", corpus.hash, spec.corpus_hash),
            ("tokenizer", tokenizer_hash(spec.tokenizer), spec.tokenizer_hash),
        ):
            if here != planned:
                raise InputError(
                    f"the {what} {getattr(spec, what)} has the hash {here} here and {planned} in the plan; "
                    "run it where it was planned, or plan it anew (its text depends on the Python version)"
                )
        return corpus
    pin = _read_pin(runs, spec.corpus_hash)
    if pin is None:
        raise InputError(f"the text {spec.corpus} of this run was never pinned; submit its sweep again")
    text = _open_pinned(pin)
    verify(text, pin.files)
    return text
