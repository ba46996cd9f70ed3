"""Studies of looped language models: planned, run and kept in a database."""

from parcae import __version__ as __version__
