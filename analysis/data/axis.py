"""What varies within a budget of an isoFLOP study."""

from enum import StrEnum


class Axis(StrEnum):
    """What varies within a budget."""

    MEAN_RECURRENCE = "mean-recurrence"
    TOKENS = "tokens"
    PARAMETERS = "parameters"

    @property
    def words(self) -> str:
        return self.value.replace("-", " ")

    @property
    def column(self) -> str:
        """Its name among a run's numbers."""
        return self.value.replace("-", "_")
