"""Measurements of stability beyond loss and state: spectral norms, spikes, norms layer by layer."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from parcae.model.injection import largest_singular_value
from parcae.model.layers import MLP, Attention, Layer, RMSNorm
from parcae.model.transformer import LoopedTransformer
from parcae.training.stability import finite, injection_norm, root_mean_square_norm

SPIKE_DEVIATIONS = 6.0  # above the running mean: converging runs hardly ever exceed it
SPIKE_HISTORY = 30  # steps before the first spike that counts
MEAN_STEPS, VARIANCE_STEPS = 10, 50  # averaged over: the mean follows a falling loss, the variance is smooth


class SpikeCounter:
    """Counts values that exceed the running mean by many times the root mean square of earlier deviations.
    Both averages are plain at first, then exponentially weighted."""

    def __init__(self, state: Sequence[float] = (0.0, 0.0, 0.0, 0.0)) -> None:
        self._seen, self._mean, self._variance, self._spikes = state

    @property
    def state(self) -> list[float]:
        """Its whole state, from which another counter can continue."""
        return [self._seen, self._mean, self._variance, self._spikes]

    @property
    def spikes(self) -> int:
        return int(self._spikes)

    def add(self, value: float) -> None:
        """Adds the value of one more step. Values that are not finite end the run and are ignored here."""
        if not math.isfinite(value):
            return
        highest = self._mean + SPIKE_DEVIATIONS * math.sqrt(self._variance)
        if self._seen >= SPIKE_HISTORY and value > highest:
            self._spikes += 1
            value = highest  # one spike must not hide the next, and a new level must not count forever
        self._seen += 1
        step = value - self._mean
        self._mean += step / min(self._seen, MEAN_STEPS)
        if self._seen > 1:
            self._variance += (step * step - self._variance) / min(self._seen - 1, VARIANCE_STEPS)


@torch.no_grad()
def spectral_norms(model: LoopedTransformer) -> dict[str, float | None]:
    """Those of Abar, Bbar and C_out; None if the model has none, or if it is not finite."""
    injection, readout = model.injection, model.readout
    return {
        "injection_norm": injection_norm(model),
        "input_norm": None if injection is None else finite(injection.input_norm()),
        "readout_norm": None if readout is None else finite(largest_singular_value(readout.weight)),
    }


def layer_norms(model: LoopedTransformer, forward: Callable[[], object]) -> dict[str, list[float | None]]:
    """Norms, root mean square over tokens, of what every part of the model puts out while `forward` runs it:
    of the recurrent block a norm for each recurrence. The diagnosis of the paper's appendix J.

    `prelude.0` is the residual stream after that layer; `prelude.0.attention` and `.mlp` are what these add.
    """
    norms: dict[str, list[float | None]] = {}

    def record(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda module, inputs, output: norms.setdefault(name, []).append(
            finite(float(root_mean_square_norm(output)))
        )

    walked = (Layer, Attention, MLP, RMSNorm, nn.Embedding)
    handles = [
        module.register_forward_hook(record(name))
        for name, module in model.named_modules()
        if isinstance(module, walked) or name == "readout"
    ]
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return norms
