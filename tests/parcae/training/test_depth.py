"""Depths are drawn from the stated distributions, from (seed, step) alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from parcae.config import DepthSampling, TrainConfig
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.errors import InputError
from parcae.training.depth import expected_recurrences, sample_depths
from parcae.training.run import train
from tests.parcae.models import TINY, training

TRAINED = [sampling for sampling in DepthSampling if sampling is not DepthSampling.LOG_NORMAL_POISSON]


def many(**changes: object) -> np.ndarray:
    config = training(mean_recurrence=8, backward_depth=4, batch_sequences=64, **changes)
    return np.stack([sample_depths(config, step) for step in range(400)])


def test_per_sequence_is_poisson_at_least_one() -> None:
    depths = many()
    assert depths.min() >= 1
    observed = np.bincount(np.minimum(depths.ravel(), 16), minlength=17)[1:]
    law = stats.poisson(8)
    expected = np.array([law.cdf(1), *law.pmf(range(2, 16)), law.sf(15)]) * depths.size
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    assert abs(np.corrcoef(depths[:, 0], depths[:, 1])[0, 1]) < 0.15


def test_per_batch_is_one_poisson_draw_a_step() -> None:
    depths = many(sampling=DepthSampling.PER_BATCH)
    assert (depths == depths[:, :1]).all()
    assert depths[:, 0].mean() == pytest.approx(8, abs=0.6)


def test_fixed_and_mean_one() -> None:
    assert (many(sampling=DepthSampling.FIXED) == 8).all()
    for sampling in TRAINED:
        assert (sample_depths(training(mean_recurrence=1, backward_depth=1, sampling=sampling), 3) == 1).all()


def huginn_law(mean: int) -> np.ndarray:
    """P(T = 0), P(T = 1), ...: the mixture of Poissons over the log-normal rate, by quadrature."""
    rate = stats.lognorm(s=0.5, scale=mean * np.exp(-(0.5**2) / 2))
    grid = rate.ppf((np.arange(20_000) + 0.5) / 20_000)
    return np.concatenate([[0.0], stats.poisson.pmf(np.arange(200)[:, None], grid).mean(1)])


def test_huginn_draws_the_law_of_its_released_model() -> None:
    drawn = np.concatenate([many(sampling=DepthSampling.HUGINN, seed=seed)[:, 0] for seed in range(10)])
    assert drawn.min() == 1
    # mean + 1 and, of a mixture, mean + mean^2 (exp(sigma^2) - 1)
    deviation = np.sqrt(8 + 64 * (np.exp(0.25) - 1))
    assert drawn.mean() == pytest.approx(9, abs=4 * deviation / np.sqrt(drawn.size))
    assert drawn.std() == pytest.approx(deviation, rel=0.05)
    law = huginn_law(8)
    assert law @ np.arange(law.size) == pytest.approx(9, rel=1e-4)
    observed = np.bincount(np.minimum(drawn, 20), minlength=21)[1:]
    expected = np.append(law[1:20], law[20:].sum())
    assert stats.chisquare(observed, expected / expected.sum() * drawn.size).pvalue > 1e-3


def released_huginn_split(mean: int, backward_depth: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, k), recurrences without and with gradient, as Huginn's own code writes it."""
    generator = torch.Generator().manual_seed(0)
    t, s = max(mean - backward_depth, 0), backward_depth
    rate = torch.empty(count).log_normal_(np.log(t + s) - 0.5**2 / 2, 0.5, generator=generator)
    p = torch.poisson(rate, generator=generator) + 1
    return torch.clamp(p - s, min=0), torch.minimum(torch.as_tensor(s), p)


@pytest.mark.parametrize(("mean", "backward_depth"), [(8, 4), (2, 1), (5, 5), (32, 8)])
def test_expected_recurrences_of_huginn_are_those_of_its_own_code(mean: int, backward_depth: int) -> None:
    config = training(
        mean_recurrence=mean, backward_depth=backward_depth, sampling=DepthSampling.HUGINN, steps=1
    )
    n, k = released_huginn_split(mean, backward_depth, 1_000_000)
    for expected, drawn in zip(expected_recurrences(config), (n, k), strict=True):
        error = float(drawn.std()) / 1_000  # of the mean of a million
        assert expected == pytest.approx(float(drawn.double().mean()), abs=5 * error + 1e-12)


@pytest.mark.parametrize("sampling", [DepthSampling.PER_SEQUENCE, DepthSampling.PER_BATCH])
@pytest.mark.parametrize(("mean", "backward_depth"), [(2, 1), (4, 2), (7, 4), (8, 8)])
def test_expected_recurrences_are_sums_over_the_law(
    sampling: DepthSampling, mean: int, backward_depth: int
) -> None:
    config = training(mean_recurrence=mean, backward_depth=backward_depth, sampling=sampling)
    depths = np.maximum(np.arange(200), 1)
    law = stats.poisson(mean).pmf(np.arange(200))
    with_gradient = np.minimum(depths, backward_depth)
    assert expected_recurrences(config) == pytest.approx(
        (law @ (depths - with_gradient), law @ with_gradient), rel=1e-12, abs=1e-12
    )


def test_expected_recurrences_of_a_fixed_depth_are_its_own() -> None:
    fixed = training(mean_recurrence=8, backward_depth=3, sampling=DepthSampling.FIXED)
    assert expected_recurrences(fixed) == (5, 3)
    for sampling in TRAINED:
        assert expected_recurrences(training(mean_recurrence=1, backward_depth=1, sampling=sampling)) == (
            0,
            1,
        )


def test_the_former_sampler_is_read_and_trained_no_more(tmp_path: Path) -> None:
    """It drew no depth below the backward depth: its finished runs stay, under its name."""
    old = training(sampling=DepthSampling.LOG_NORMAL_POISSON)
    assert TrainConfig.from_dict(old.to_dict()) == old
    assert old.to_dict()["sampling"] == "log-normal-poisson"
    for refused in (
        lambda: train(TINY, old, load_corpus(EMBEDDED), tmp_path),
        lambda: sample_depths(training(mean_recurrence=1, backward_depth=1, sampling=old.sampling), 0),
        lambda: expected_recurrences(old),
    ):
        with pytest.raises(InputError, match=r"log-normal-poisson.*huginn"):
            refused()


def test_the_same_seed_and_step_give_the_same_depths() -> None:
    config = training(batch_sequences=64)
    assert (sample_depths(config, 5) == sample_depths(config, 5)).all()
    assert (sample_depths(config, 5) != sample_depths(config, 6)).any()
    assert (sample_depths(config, 5) != sample_depths(training(batch_sequences=64, seed=1), 5)).any()
