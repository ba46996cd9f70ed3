"""Rate, decay and momentum over a run."""

import pytest

from parcae.training.optimisers.schedule import decay_scale, momentum, rate_scale


def test_rate_is_constant_then_linear_to_zero() -> None:
    scales = [rate_scale(step, 10, 0.5) for step in range(10)]
    assert scales == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert [rate_scale(step, 4, 0.0) for step in range(4)] == [1] * 4
    assert [rate_scale(step, 4, 1.0) for step in range(4)] == pytest.approx([1, 0.75, 0.5, 0.25])


def test_decay_is_linear_over_the_whole_run() -> None:
    assert [decay_scale(step, 4) for step in range(4)] == pytest.approx([1, 0.75, 0.5, 0.25])


def test_momentum_rises_over_300_steps_and_stays() -> None:
    assert [momentum(step) for step in (0, 150, 300, 10_000)] == pytest.approx([0.85, 0.9, 0.95, 0.95])
