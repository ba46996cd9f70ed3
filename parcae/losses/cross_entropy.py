"""Cross-entropy from the unembedding's input, in pieces of the batch.

The logits of 32 sequences of 2,048 tokens over a vocabulary of 32,768 are 8 GiB in float32, and their
gradient as much again. Here a piece's logits live only while its loss and gradients are computed.

N tokens, d width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LOGITS_AT_ONCE = 2**26  # 256 MiB in float32: a sequence of 2,048 tokens at a vocabulary of 32,768


def cross_entropy(y: Tensor, unembedding: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log softmax(y W^T)[target], a scalar, for y (N, d), W (V, d) and targets (N,).

    The product is computed in autocast's type if that is on, the rest in float32 or better.
    """
    loss: Tensor = _CrossEntropy.apply(y, unembedding, targets)  # type: ignore[no-untyped-call]
    return loss


class _CrossEntropy(torch.autograd.Function):
    """Computes the gradients in the forward pass, so that no logits are kept or computed twice."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, unembedding: Tensor, targets: Tensor) -> Tensor:
        kind = y.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else y.dtype
        weight = unembedding.detach().to(low).requires_grad_()
        loss = y.new_zeros((), dtype=torch.promote_types(y.dtype, torch.float32))
        y_gradient, weight_gradient = torch.empty_like(y), torch.zeros_like(unembedding)
        rows = max(1, LOGITS_AT_ONCE // len(unembedding))
        with torch.enable_grad(), torch.autocast(kind, enabled=False):
            for first in range(0, len(y), rows):
                part = slice(first, first + rows)
                piece = y[part].detach().to(low).requires_grad_()
                logits = F.linear(piece, weight).to(loss.dtype)
                piece_loss = F.cross_entropy(logits, targets[part], reduction="sum") / len(y)
                of_piece, of_weight = torch.autograd.grad(piece_loss, (piece, weight))
                loss += piece_loss.detach()
                y_gradient[part] = of_piece
                weight_gradient += of_weight
        ctx.save_for_backward(y_gradient, weight_gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        y_gradient, weight_gradient = ctx.saved_tensors
        return gradient * y_gradient, gradient * weight_gradient, None
