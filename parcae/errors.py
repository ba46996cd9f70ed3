"""The one exception that means: the request was wrong."""


class InputError(ValueError):
    """Bad input. Its message is one sentence: what was wrong, the value, and what would be right.

    The commands print it and exit with 2; any other exception is a fault of this program.
    """


class WorkFailed(Exception):
    """The request was right but could not be carried out now. One sentence; the commands exit with 1."""
