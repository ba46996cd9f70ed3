"""Active-only against masked recurrence, and all test depths in one pass against one pass each.

Both ways do the same work on the same numbers, turn about, in one process.

python bench/recurrence.py --model nano-128 --steps 10
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from parcae.config import TrainConfig, default_backward_depth
from parcae.data.batches import Batches, validation_set
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.losses.evaluate import evaluate
from parcae.model.transformer import LoopedTransformer, initial_state
from parcae.presets import preset
from parcae.training.depth import sample_depths
from parcae.training.initial_weights import new_model
from parcae.training.optimisers.groups import build_optimisers, clip_gradients, set_rates

SEQUENCES, MEAN_RECURRENCE, DEEPEST = 32, 8, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="nano-128")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = new_model(preset(options.model).model, 0, torch.device("cpu"))
    print(f"{options.model}, {options.threads} threads, torch {torch.__version__}")
    train_steps(model, options.steps)
    test_depths(model)


def train_steps(model: LoopedTransformer, steps: int) -> None:
    """Whole optimiser steps at mean recurrence 8, 32 sequences, a Poisson depth for each."""
    training = TrainConfig(
        mean_recurrence=MEAN_RECURRENCE,
        backward_depth=default_backward_depth(MEAN_RECURRENCE),
        steps=steps + 1,
        batch_sequences=SEQUENCES,
        learning_rate=1e-3,
        adamw_learning_rate=1e-3,
    )
    batches = Batches(load_corpus(EMBEDDED), context=model.config.context, batch_sequences=SEQUENCES, seed=0)
    optimisers = build_optimisers(model, training)
    seconds: dict[Callable[..., Tensor], list[float]] = {active_only: [], masked: []}
    difference = 0.0
    for step in range(steps + 1):
        tokens, targets = (torch.from_numpy(part) for part in batches.batch(step))
        depths = sorted(sample_depths(training, step).tolist(), reverse=True)
        state = initial_state(model.config, range(SEQUENCES), model.embedding.weight)
        losses = []
        for forward, measured in seconds.items():
            start = time.perf_counter()
            y = forward(model, tokens, state, depths, training.backward_depth)
            loss = F.cross_entropy(model.logits(y).flatten(0, 1), targets.flatten())
            model.zero_grad(set_to_none=True)
            loss.backward()
            clip_gradients(model, 1.0)
            set_rates(optimisers, training, step)
            for optimiser in optimisers:
                optimiser.step()
            measured.append(time.perf_counter() - start)
            losses.append(float(loss.detach()))
        if step == 0:  # from the same weights; the steps after it are from weights one step on
            with torch.no_grad():
                pair = [forward(model, tokens, state, depths, 1) for forward in seconds]
            difference = float((pair[0] - pair[1]).abs().max())
    fast, slow = (statistics.median(measured[1:]) for measured in seconds.values())
    print(
        f"training step, mean recurrence {MEAN_RECURRENCE}, {SEQUENCES} sequences: "
        f"active only {fast:.3f} s, masked {slow:.3f} s, {slow / fast:.2f} times faster; "
        f"largest difference of y {difference:.1e}"
    )


def active_only(
    model: LoopedTransformer, tokens: Tensor, state: Tensor, depths: list[int], backward_depth: int
) -> Tensor:
    return model(tokens, state, depths, backward_depth)[0]


def masked(
    model: LoopedTransformer, tokens: Tensor, state: Tensor, depths: list[int], backward_depth: int
) -> Tensor:
    """Every recurrence computes the whole batch and keeps what has started."""
    encoded = model.encode(tokens)
    h, own = state, torch.tensor(depths)
    for remaining in range(depths[0], 0, -1):
        with torch.set_grad_enabled(torch.is_grad_enabled() and remaining <= backward_depth):
            h = torch.where((own >= remaining)[:, None, None], model.recur(h, encoded), h)
    return model.finish(h, encoded)


def test_depths(model: LoopedTransformer) -> None:
    tokens, targets = (
        part[:SEQUENCES] for part in validation_set(load_corpus(EMBEDDED), model.config.context)
    )
    every = range(1, DEEPEST + 1)
    start = time.perf_counter()
    at_once = evaluate(model, tokens, targets, every)
    fast = time.perf_counter() - start
    start = time.perf_counter()
    one_each = {t: evaluate(model, tokens, targets, [t])[t] for t in every}
    slow = time.perf_counter() - start
    print(
        f"losses at T = 1 to {DEEPEST} on {targets.size:,} tokens: one pass {fast:.2f} s, "
        f"a pass each {slow:.2f} s, {slow / fast:.2f} times faster; the same numbers: {at_once == one_each}"
    )


if __name__ == "__main__":
    main()
