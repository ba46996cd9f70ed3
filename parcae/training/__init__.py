"""Training a run: the loop, a step, depths, optimisers, processes, checkpoints, metrics.

Uses model, data and losses. `from parcae.training import train` loads torch on first use, so that the files
of a run can be read without torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parcae.training.run import train as train


def __getattr__(name: str) -> Any:
    if name == "train":
        from parcae.training.run import train

        return train
    raise AttributeError(name)
