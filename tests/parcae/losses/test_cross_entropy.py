"""The loss in pieces is the plain loss, and its memory does not grow with the vocabulary times the batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parcae.losses import cross_entropy as module
from parcae.losses.cross_entropy import cross_entropy


def problem(tokens: int, width: int, vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(tokens, width, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator, dtype=dtype).requires_grad_()
    return y, weight, torch.randint(vocabulary, (tokens,), generator=generator)


@pytest.mark.parametrize("logits_at_once", [1, 3 * 37, 10**6])
def test_value_and_gradients_equal_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch, logits_at_once: int
) -> None:
    monkeypatch.setattr(module, "LOGITS_AT_ONCE", logits_at_once)
    y, weight, targets = problem(10, 8, 37, torch.float64)
    loss = cross_entropy(y, weight, targets)
    plain = F.cross_entropy(y @ weight.T, targets)
    torch.testing.assert_close(loss, plain, rtol=1e-14, atol=0)
    gradients = torch.autograd.grad(3 * loss, (y, weight))
    torch.testing.assert_close(gradients, torch.autograd.grad(3 * plain, (y, weight)), rtol=1e-12, atol=1e-15)


def test_under_autocast_the_product_alone_is_of_half_precision() -> None:
    y, weight, targets = problem(64, 32, 50, torch.float32)
    exact = cross_entropy(y, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(y, weight, targets)
    assert loss.dtype == torch.float32
    halves = F.cross_entropy((y.bfloat16() @ weight.bfloat16().T).float(), targets)
    torch.testing.assert_close(loss, halves)
    for gradient, other in zip(
        torch.autograd.grad(loss, (y, weight)), torch.autograd.grad(exact, (y, weight)), strict=True
    ):
        assert gradient.dtype == torch.float32
        assert not torch.equal(gradient, other)
        torch.testing.assert_close(gradient, other, rtol=0, atol=0.02 * float(other.abs().max()))


MEMORY = """
import sys, torch
import torch.nn.functional as F
from parcae.losses import cross_entropy as loss
from tests.conftest import peak_mebibytes
from tests.parcae.losses.test_cross_entropy import problem
y, weight, targets = problem(4096, 8, 16384, torch.float32)
loss.LOGITS_AT_ONCE = 2**20
before = peak_mebibytes()
pieces = sys.argv[1] == "pieces"
loss = loss.cross_entropy(y, weight, targets) if pieces else F.cross_entropy(y @ weight.T, targets)
loss.backward()
print(peak_mebibytes() - before)
"""


def test_the_logits_never_stand_in_memory_at_once() -> None:
    """Plain, 256 MiB of logits and more; in pieces, 4 MiB at a time."""

    def mebibytes(way: str) -> float:
        command = [sys.executable, "-c", MEMORY, way]
        root = Path(__file__).parents[3]
        return float(subprocess.run(command, cwd=root, capture_output=True, check=True).stdout)

    assert mebibytes("pieces") < 64
    assert mebibytes("plain") > 256
