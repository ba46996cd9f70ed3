"""Checkpoints: their file, and the writer that works beside training."""
