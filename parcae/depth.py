"""The only sampler of recurrence depth: T for every sequence of a step, from (seed, step)."""

import numpy as np

from parcae.config import DepthSampling, TrainConfig


def sample_depths(training: TrainConfig, step: int) -> np.ndarray:
    """T for each sequence of optimiser step `step`, int64 (sequences,), falling.

    T ~ Poisson(mu_rec), at least 1, for each sequence or for the whole batch. A mean recurrence of 1 is the
    fixed-depth baseline: T = 1 always.
    """
    shape, mean = training.batch_sequences, training.mean_recurrence
    generator = np.random.default_rng((training.seed, step, 1))
    if mean == 1 or training.sampling is DepthSampling.FIXED:
        return np.full(shape, mean, dtype=np.int64)
    if training.sampling is DepthSampling.PER_BATCH:
        return np.full(shape, max(1, generator.poisson(mean)), dtype=np.int64)
    if training.sampling is DepthSampling.LOG_NORMAL_POISSON:
        free, sigma = mean - training.backward_depth, 0.5
        rate = np.exp(generator.normal(np.log(free) - sigma**2 / 2, sigma)) if free else 0.0
        return np.full(shape, generator.poisson(rate) + training.backward_depth, dtype=np.int64)
    return np.sort(np.maximum(1, generator.poisson(mean, shape)))[::-1].astype(np.int64)
