"""A model whose every prediction is known by hand: the next byte is the same as the last one."""

import math

import torch

from parcae.evaluation.reader import Reader, reader_of
from parcae.formats.pretrained import Pretrained
from parcae.model.transformer import LoopedTransformer
from tests.parcae.models import shape

CONTEXT = 64
AGAIN = -math.log1p(255 * math.exp(-16))
"""The log-probability of the same byte: its logit is 16, the root of 256 entries; the others' are 0."""
OTHER = AGAIN - 16


def repeating() -> Pretrained:
    """Layers that add nothing, and one-hot embeddings: h_T = T e from h_0 = 0, whatever T is."""
    config = shape(width=256, context=CONTEXT, injection="add", state_init="zero", norm_epsilon=1e-12)
    model = LoopedTransformer(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.fill_(1.0)
            else:
                weight.zero_()
        model.embedding.weight.copy_(torch.eye(256))
        if model.readout is not None:
            model.readout.weight.copy_(torch.eye(256))
    return Pretrained(model=model, mean_recurrence=4, backward_depth=2, tokenizer="bytes")


def model_and_reader() -> tuple[LoopedTransformer, Reader]:
    pretrained = repeating()
    return pretrained.model, reader_of(pretrained)
