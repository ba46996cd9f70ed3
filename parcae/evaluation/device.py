"""Where a trained model is evaluated."""

import torch

from parcae.model.transformer import LoopedTransformer


def on_device(model: LoopedTransformer) -> LoopedTransformer:
    """`model`, moved to a GPU if there is one."""
    return model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
