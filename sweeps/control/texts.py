"""Prepares and downloads texts by their names on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from parcae.data.corpus import EMBEDDED
from parcae.data.manifest import PreparedText, Side
from parcae.data.prepare import Report, prepare
from parcae.data.recipes import RECIPES, text_recipe
from parcae.data.sources import HUB, download
from parcae.errors import InputError


def prepare_text(
    sources: Sequence[str], out: Path | None, recipe: str | None, given: Mapping[str, Any], report: Report
) -> PreparedText:
    """Prepares `sources`, or the named text that is the only one, with the options that are `given`.

    Options that are None are the recipe's or, without a recipe, those of ``prepare``.
    """
    options = {name: value for name, value in given.items() if value is not None}
    only = sources[0] if len(sources) == 1 and not Path(sources[0]).exists() else None
    if only == EMBEDDED:
        raise InputError(f"the text {EMBEDDED} is embedded; it needs no preparing")
    if recipe is None and only in RECIPES:
        recipe, sources = only, []
    if recipe is not None:
        sources, options = _by_recipe(recipe, sources, options)
    if out is None:
        if recipe is None:
            raise InputError("cannot prepare text without a folder for it; give one with --out")
        out = Path("data") / recipe
    return prepare(sources, out, recipe=recipe, report=report, **options)


def _by_recipe(
    name: str, sources: Sequence[str], options: Mapping[str, Any]
) -> tuple[Sequence[str], dict[str, Any]]:
    """The sources and options of the named text, which may be read from elsewhere and another column."""
    plain = asdict(text_recipe(name))
    if wrong := sorted(options.keys() - {"column"}):
        raise InputError(
            f"cannot choose the {wrong[0].replace('_', ' ')} of the text {name}, whose recipe has its own; "
            "leave --recipe out for a text of your own"
        )
    source = plain.pop("source")
    if not sources and source is None:
        raise InputError(
            f"the documents of {name} are not published as text; give files of them as SOURCE, with "
            f"--recipe {name}"
        )
    return sources or [source], plain | dict(options)


def prefetch_text(source: str) -> list[Path]:
    """Downloads a named text or a Hugging Face dataset into the local cache; its files."""
    address = RECIPES[source].source if source in RECIPES else source
    if address is None or not address.startswith(HUB):
        raise InputError(
            f"cannot download {source!r}; name a text that is published, or a path {HUB}OWNER/NAME/GLOB"
        )
    return download(address)


def description(text: PreparedText) -> dict[str, Any]:
    """The keys of `data show --json`."""
    manifest = text.manifest
    return {
        "folder": str(text.folder),
        "hash": manifest.hash,
        "tokenizer": manifest.tokenizer,
        "recipe": manifest.recipe,
        "vocabulary": manifest.vocabulary,
        "context": manifest.context,
        "bytes_per_token": manifest.bytes_per_token,
        "train": _side(manifest.train),
        "validation": _side(manifest.validation),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "documents": side.documents,
        "text_bytes": side.text_bytes,
        "tokens": side.tokens,
        "rows": side.rows,
        "share_cropped": side.cropped / side.tokens,
    }
