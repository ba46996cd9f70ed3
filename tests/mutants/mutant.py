"""A fault in one file of the packages."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`text` takes the place of what the file holds."""

    part: str
    """The part of the code that it is in, a key of ``parts.PARTS``."""
    file: str
    text: str
    what: str
    """Before and after, in a line."""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"
