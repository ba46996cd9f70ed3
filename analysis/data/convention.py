"""How the FLOPs of runs were counted."""

from enum import StrEnum


class CountedFlops(StrEnum):
    """A convention of `parcae.flops`, or the runs' own FLOPs / tokens as they are."""

    PAPER = "paper"
    OFFICIAL = "official"
    UNROLLED = "unrolled"
    OWN = "own"
