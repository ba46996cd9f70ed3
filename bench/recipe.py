"""What the released recipe is worth on nano-32: starts, Muon, and NorMuon, which is left out.

    python bench/recipe.py --steps 500 --recurrence 4 --seeds 0 1 2

Validation losses at T = the mean recurrence, nats per byte. NorMuon (the released rescaling of each update by
running variances of its rows or columns) exists here alone.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from parcae.config import ExecutionConfig, InitialWeights, Optimiser, TrainConfig, default_backward_depth
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.presets import preset
from parcae.training.optimisers import groups as optim
from parcae.training.optimisers.muon import Muon, orthogonalise
from parcae.training.run import train

VARIANCE_MEMORY = 0.95  # released code, beta2


class NorMuon(Muon):
    """The released update: an orthogonal matrix whose rows (columns, if it is wide) are divided by the root
    of their running mean square, then scaled back to the norm it had."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                state, memory = self.state[parameter], group["momentum"]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                    state["squares"] = {}
                state["momentum"].lerp_(parameter.grad, 1 - memory)
                nesterov = parameter.grad.lerp(state["momentum"], memory)
                first = 0
                for height in group["rows"]:
                    part = slice(first, first + height)
                    first = part.stop
                    update = self._rescaled(orthogonalise(nesterov[part]), state["squares"], first)
                    rate = group["lr"] * max(1.0, height / parameter.shape[1]) ** 0.5
                    old = parameter[part]
                    old.sub_(rate * (update + group["weight_decay"] * ((update * old >= 0) * old)))

    @staticmethod
    def _rescaled(update: Tensor, squares: dict[int, Tensor], key: int) -> Tensor:
        along = -1 if update.shape[0] >= update.shape[1] else -2
        mean = update.square().mean(dim=along, keepdim=True)
        before = (mean.sum() * update.shape[along]).sqrt()
        squares.setdefault(key, torch.zeros_like(mean)).lerp_(mean, 1 - VARIANCE_MEMORY)
        scale = squares[key].clamp_min(1e-10).rsqrt()
        after = (mean * update.shape[along] * scale.square()).sum().sqrt()
        return update * scale * (before / after.clamp_min(1e-10))


RECIPES: dict[str, tuple[type[Muon], dict[str, object]]] = {
    "AdamW, normal starts": (Muon, {"optimiser": Optimiser.ADAMW}),
    "AdamW, released starts": (
        Muon,
        {"optimiser": Optimiser.ADAMW, "initial_weights": InitialWeights.RELEASED},
    ),
    "Muon, normal starts": (Muon, {}),
    "Muon, released starts": (Muon, {"initial_weights": InitialWeights.RELEASED}),
    "NorMuon, released starts": (NorMuon, {"initial_weights": InitialWeights.RELEASED}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="nano-32")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--recurrence", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    base = TrainConfig(
        mean_recurrence=options.recurrence,
        backward_depth=default_backward_depth(options.recurrence),
        steps=options.steps,
        batch_sequences=16,
        optimiser=Optimiser.MUON,
        learning_rate=options.rate,
        adamw_learning_rate=options.rate,
        test_recurrences=(options.recurrence,),
    )
    model, corpus = preset(options.model).model, load_corpus(EMBEDDED)
    print(
        f"{options.model}, {options.steps} steps, mean recurrence {options.recurrence}, rate {options.rate:g}"
    )
    first: list[float] = []
    for name, (muon, changes) in RECIPES.items():
        optim.Muon = muon  # type: ignore[misc]
        losses = []
        for seed in options.seeds:
            training = replace(base, seed=seed, **changes)  # type: ignore[arg-type]
            with tempfile.TemporaryDirectory() as folder:
                result = train(model, training, corpus, Path(folder), execution=ExecutionConfig())
            assert result is not None
            assert result.val_loss is not None
            losses.append(result.val_loss)
        first = first or losses
        change = statistics.mean(a - b for a, b in zip(losses, first, strict=True))
        print(
            f"{name:26} {'  '.join(f'{loss:.4f}' for loss in losses)}  against the first {change:+.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
