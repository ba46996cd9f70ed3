"""A score: what one model reached on one task, at every test recurrence T."""

from collections.abc import Callable
from dataclasses import dataclass

Report = Callable[[str, float], None]
"""Hears what is being done, and the share that is done."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number for each T."""

    task: str
    version: str
    """Changes when scores of the same model would: of the task, its files, its baselines."""
    seed: int
    """Of the examples in the prompts; 0 where there is nothing to draw."""
    metric: str
    values: dict[int, float]
    """By T."""
    examples: int


def mute(what: str, share: float) -> None:
    """A report that nobody hears."""
