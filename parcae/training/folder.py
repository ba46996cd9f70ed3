"""The names of the files in a run's folder. Training writes them all except the specification."""

SPEC = "spec.json"
METRICS = "metrics.jsonl"
LAYERS = "layers.jsonl"
CHECKPOINTS = "checkpoint"
"""A folder."""
RESULT = "result.json"
