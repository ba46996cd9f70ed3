"""Where runs can be started."""

from enum import StrEnum


class Cluster(StrEnum):
    AUTO = "auto"
    SLURM = "slurm"
    LOCAL = "local"
