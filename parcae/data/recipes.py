"""Texts that are named before they are prepared: where each comes from, and how it is made into rows.

A plan on a recipe needs nothing on disk. `data prepare NAME` makes the text, anywhere the same.
"""

import hashlib
import json
from dataclasses import asdict, dataclass

from parcae.data.tokenizer import DOCUMENT_CHARACTERS, TRAINING_CHARACTERS
from parcae.errors import InputError


@dataclass(frozen=True, kw_only=True)
class TextRecipe:
    """How a named text is made."""

    source: str | None
    """A Hugging Face dataset path; the same documents from anywhere else will do. None where nobody publishes
    the documents themselves."""
    column: str = "text"
    articles: bool = False
    """Rows are lines of WikiText, which are joined into articles."""
    vocabulary: int
    training_characters: int = TRAINING_CHARACTERS
    document_characters: int = DOCUMENT_CHARACTERS
    context: int = 2_048
    held_out_one_in: int

    @property
    def hash(self) -> str:
        """16 hexadecimal digits that change with anything in the recipe."""
        return _digest({**asdict(self), "rows": "best fit, each from a document's beginning"})

    @property
    def tokenizer_hash(self) -> str:
        names = ("source", "column", "articles", "vocabulary", "training_characters", "document_characters")
        return _digest({name: getattr(self, name) for name in names})


def _digest(values: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


FINEWEB_EDU = "fineweb-edu"
"""The text of the published study."""
RECIPES = {
    # The paper's transformer setup: the shuffled copy that the released code loads. Its split is not ours.
    FINEWEB_EDU: TextRecipe(
        source="hf://datasets/SandyResearch/fineweb-edu-shuffled/data/sample-100BT/*.parquet",
        vocabulary=32_768,
        held_out_one_in=2_000,
    ),
    # The mix of Geiping et al. (arXiv 2502.05171), the paper's RDM setup. It is published as tokens.
    "huginn": TextRecipe(source=None, vocabulary=65_536, held_out_one_in=2_000),
    "wikitext-103": TextRecipe(
        source="hf://datasets/Salesforce/wikitext/wikitext-103-raw-v1/train-*.parquet",
        articles=True,
        vocabulary=32_768,
        held_out_one_in=100,
    ),
}
"""By name. The embedded text, python-stdlib, needs no preparing."""
ABOUT_TOKENS = {FINEWEB_EDU: 100e9, "wikitext-103": 0.12e9}
"""Training tokens, roughly, before a text is prepared: as its publishers count them."""


def text_recipe(name: str) -> TextRecipe:
    """The recipe called `name`; ``InputError`` names the known ones."""
    if name not in RECIPES:
        raise InputError(f"there is no text {name!r}; the named ones are {', '.join(RECIPES)}")
    return RECIPES[name]
