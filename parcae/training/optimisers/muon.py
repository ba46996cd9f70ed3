"""Muon: momentum whose matrix is replaced by the nearest orthogonal one before it is applied.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon), orthogonalised by Polar Express (Amsel et al.,
arXiv 2505.16932), with cautious weight decay (Chen et al., arXiv 2510.12402). The released code also
rescales each update by a running variance of its rows or columns (NorMuon), which the paper does not
mention; here the update stays orthogonal. docs/experiments.md has what the difference was worth.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
"""Odd quintics a s + b s^3 + c s^5 that, one after the other, bring every singular value s in (0, 1] as near
to 1 as five of them can (arXiv 2505.16932, algorithm 1, with its safety factor 0.02 and cushion)."""
SAFETY = 1.02  # the norm divided by is this much too large, so that rounding takes no singular value above 1
SMALLEST_NORM = 1e-6  # added to it, as in the released code: a gradient that is zero stays zero


def orthogonalise(matrices: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """The polar factor U V^T of each U S V^T in `matrices` (..., rows, columns), to within a few percent:
    singular values above a thousandth of the Frobenius norm come out near 1. Computed in `dtype`.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.flatten(0, -3) if matrices.ndim > 2 else matrices[None]
    x = x.mT if tall else x
    norm = torch.linalg.matrix_norm(x, keepdim=True)
    x = (x / (SAFETY * norm + SMALLEST_NORM)).to(dtype or x.dtype)
    for a, b, c in POLAR_EXPRESS:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).reshape(matrices.shape).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Moves matrices by rate times an orthogonal matrix, rate = lr sqrt(max(1, rows / columns)).

    A group's parameters are matrices stacked, as those of queries, keys and values are, of `rows` rows each:
    each is orthogonalised by itself. An entry that the update shrinks also decays, by rate times
    `weight_decay` times itself; one that it lets grow does not (cautious weight decay). The momentum is
    Nesterov's.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], dtype: torch.dtype | None = None) -> None:
        """Orthogonalises in `dtype`, or in the parameters' own."""
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, "momentum": 0.95, "rows": None})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            alike: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._move(parameters, group)

    def _move(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """One step of parameters of one shape, all matrices of one shape in one batch."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch.stack(list(torch._foreach_lerp(gradients, momenta, group["momentum"])))
        rows = group["rows"] or (nesterov.shape[1],)
        first = 0
        for height, alike in itertools.groupby(rows):
            count = len(list(alike))
            part = slice(first, first + count * height)
            first = part.stop
            matrices = nesterov[:, part].unflatten(1, (count, height))  # (parameters, count, height, columns)
            updates = orthogonalise(matrices, self._dtype).flatten(1, 2)
            rate = group["lr"] * max(1.0, height / nesterov.shape[2]) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                old = parameter[part]
                shrinks = update * old >= 0
                old.sub_(rate * (update + group["weight_decay"] * (shrinks * old)))
