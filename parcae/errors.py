"""The two errors that the commands report in one sentence."""


class InputError(ValueError):
    """Bad input. Its message is one sentence: what was wrong, the value, and what would be right.

    The commands print it and exit with 2; any other exception is a fault of this program.
    """


class WorkFailed(Exception):
    """A correct request failed for now. Its message is one sentence; the commands exit with 1."""
