"""Models as files: this project's own folders, the official layout, and bare weights.

Uses model, data and training.
"""

from parcae.formats.pretrained import Pretrained, load_model, load_pretrained, save_model

__all__ = ["Pretrained", "load_model", "load_pretrained", "save_model"]
