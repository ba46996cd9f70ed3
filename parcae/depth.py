"""The only sampler of recurrence depth T, a pure function of (seed, step). SCIENCE: paper section 4."""

from math import exp, log

import numpy as np
import numpy.typing as npt

from parcae.config import DepthSampling, TrainConfig
from parcae.randomness import Stream, generator

LOG_NORMAL_DEVIATION = 0.5  # Geiping et al., arXiv 2502.05171, section 3.3


def sample_depths(training: TrainConfig, step: int) -> npt.NDArray[np.int64]:
    """T of each sequence of the batch at 0-based `step`, (batch_sequences,), each at least 1.

    A mean recurrence of 1 is the fixed-depth baseline: T = 1 always.
    """
    count, mean = training.batch_sequences, training.mean_recurrence
    if training.sampling is DepthSampling.FIXED or mean == 1:
        return np.full(count, mean, dtype=np.int64)
    random = generator(training.seed, Stream.DEPTH, step)
    if training.sampling is DepthSampling.PER_SEQUENCE:
        return np.maximum(random.poisson(mean, size=count), 1)
    if training.sampling is DepthSampling.PER_BATCH:
        return np.full(count, max(int(random.poisson(mean)), 1), dtype=np.int64)
    return np.full(count, _log_normal_poisson(random, mean, training.backward_depth), dtype=np.int64)


def _log_normal_poisson(random: np.random.Generator, mean: int, backward_depth: int) -> int:
    """Geiping et al.: n ~ Poisson at a log-normal rate of mean mu_rec - mu_bwd, then k = mu_bwd."""
    without_gradient = mean - backward_depth
    if without_gradient == 0:
        return backward_depth
    centre = log(without_gradient) - LOG_NORMAL_DEVIATION**2 / 2
    rate = exp(random.normal(centre, LOG_NORMAL_DEVIATION))
    return int(random.poisson(rate)) + backward_depth
