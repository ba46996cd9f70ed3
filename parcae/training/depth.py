"""The only sampler of recurrence depth T, a pure function of (seed, step). SCIENCE: paper section 4."""

from math import exp, lgamma, log, pi, sqrt

import numpy as np
import numpy.typing as npt

from parcae.config import DepthSampling, ModelConfig, TrainConfig
from parcae.data.randomness import Stream, generator
from parcae.errors import InputError
from parcae.flops import Convention, flops_of_sequences

HUGINN_DEVIATION = 0.5  # of the logarithm of the rate; the model code of tomg-group-umd/huginn-0125
QUADRATURE_NODES = 64  # over the log-normal rate: eleven digits at mean 8, ten at 32


def sample_depths(training: TrainConfig, step: int) -> npt.NDArray[np.int64]:
    """T of each sequence of the batch at 0-based `step`, (batch_sequences,), each at least 1.

    The last min(T, backward_depth) recurrences carry gradient. A mean recurrence of 1 is the fixed-depth
    baseline: T = 1 always. ``InputError`` for a rule that is no longer trained.
    """
    _check_trained(training)
    count, mean = training.batch_sequences, training.mean_recurrence
    if training.sampling is DepthSampling.FIXED or mean == 1:
        return np.full(count, mean, dtype=np.int64)
    random = generator(training.seed, Stream.DEPTH, step)
    if training.sampling is DepthSampling.PER_SEQUENCE:
        return np.maximum(random.poisson(mean, size=count), 1)
    if training.sampling is DepthSampling.PER_BATCH:
        return np.full(count, max(int(random.poisson(mean)), 1), dtype=np.int64)
    rate = exp(random.normal(_huginn_centre(mean), HUGINN_DEVIATION))
    return np.full(count, int(random.poisson(rate)) + 1, dtype=np.int64)


def expected_recurrences(training: TrainConfig) -> tuple[float, float]:
    """(E max(T - mu_bwd, 0), E min(T, mu_bwd)): a sequence's recurrences without and with gradient.

    Their sum is not the mean recurrence: T is at least 1, and Huginn's rule adds 1 to every draw.
    """
    _check_trained(training)
    mean, backward_depth = training.mean_recurrence, training.backward_depth
    if training.sampling is DepthSampling.FIXED or mean == 1:
        return float(mean - backward_depth), float(backward_depth)
    below = np.cumsum(_draw_probabilities(training))  # P(draw <= j), j = 0 .. mu_bwd - 1
    if training.sampling is DepthSampling.HUGINN:  # T = draw + 1
        expected, reached = mean + 1.0, 1 - below[:-1]
    else:  # T = max(draw, 1)
        expected, reached = mean + exp(-mean), 1 - below[1:]
    with_gradient = 1 + float(reached.sum())  # the sum of P(T > j); T > 0 is certain
    return expected - with_gradient, with_gradient


def _check_trained(training: TrainConfig) -> None:
    if training.sampling is DepthSampling.LOG_NORMAL_POISSON:
        raise InputError(
            f"sampling {training.sampling.value!r} is not the rule of Huginn's released model, and no run "
            f"is trained with it; take {DepthSampling.HUGINN.value!r}"
        )


def _huginn_centre(mean: int) -> float:
    """Mean of the logarithm of a rate whose mean is `mean`."""
    return log(mean) - HUGINN_DEVIATION**2 / 2


def _draw_probabilities(training: TrainConfig) -> npt.NDArray[np.float64]:
    """P(draw = j) for j = 0 .. mu_bwd - 1, of the Poisson draw from which T is computed."""
    rates, weights = np.array([float(training.mean_recurrence)]), np.ones(1)
    if training.sampling is DepthSampling.HUGINN:
        nodes, weights = np.polynomial.hermite.hermgauss(QUADRATURE_NODES)
        weights = weights / sqrt(pi)
        rates = np.exp(_huginn_centre(training.mean_recurrence) + sqrt(2) * HUGINN_DEVIATION * nodes)
    draws = np.arange(training.backward_depth)
    factorials = np.array([lgamma(draw + 1) for draw in draws])
    return np.asarray(np.exp(draws[:, None] * np.log(rates) - rates - factorials[:, None]) @ weights)


def realised_flops(
    model: ModelConfig, training: TrainConfig, convention: Convention = Convention.PAPER
) -> float:
    """Training FLOPs of a whole run, from the depths that its steps draw.

    Planned FLOPs assume that every depth is the mean. That depths are at least 1 and are truncated at mu_bwd
    changes the FLOPs by +1.0 % at mean recurrence 2 and by -0.9 % at 4 (small-140m). A run that ended early
    has fewer `steps`.
    """
    recurrences = with_gradient = 0
    for step in range(training.steps):
        drawn = sample_depths(training, step)
        recurrences += int(drawn.sum())
        with_gradient += int(drawn.clip(max=training.backward_depth).sum())
    sequences = training.steps * training.batch_sequences
    return flops_of_sequences(model, sequences, recurrences, with_gradient, convention)
