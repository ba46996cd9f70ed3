"""Looped language models: configuration, model, training and evaluation."""

__version__ = "0.1.0"
