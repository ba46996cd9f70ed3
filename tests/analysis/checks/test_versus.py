"""Two recipes at equal compute: simulated truths, differences by hand, and the command."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.checks.versus import Answer, Side, difference, side_of, versus
from analysis.data.points import ModelPoints
from analysis.engine.intervals import Interval
from analysis.laws import TRAINING
from analysis.prediction.shape import shape_of
from parcae.errors import InputError
from tests.conftest import Command

from ..points import published_study

TRUTH = np.array([[2.67, 4.1e6, 3.06e4, 0.928, 0.516]])
LOOP = published_study().models["small-140m"]


def simulated(name: str, noise: float, seed: int, scale: float = 1.0) -> Side:
    """The published grid under the training law, its Y times `scale`."""
    row = TRUTH * [1, 1, scale, 1, 1]
    loss = TRAINING.predict(row, {"N": LOOP.effective_parameters, "D": LOOP.tokens})[0]
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(loss)))
    return side_of(name, replace(LOOP, loss=loss), resamples=200, seed=seed)


def lowest(row: np.ndarray, flops: float) -> float:
    """Of the truth, by brute force over the trained recurrences."""
    shape = shape_of(LOOP)
    assert shape is not None
    depths = np.arange(2.0, 13.0)
    sizes = LOOP.once_parameters[0] + depths * LOOP.recurrent_parameters[0]
    return float(TRAINING.predict(row, {"N": sizes, "D": flops / shape.price(depths)})[0].min())


def test_limits_of_a_difference_are_those_of_zou_and_donner() -> None:
    a, b = Interval(value=5, low=2, high=6), Interval(value=3, low=-1, high=7)
    found = difference(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((2, 2 - 5, 2 + np.sqrt(1 + 16)))
    alike = difference(a, b, correlation=0.5)
    assert alike.low == pytest.approx(2 - np.sqrt(9 + 16 - 12))


def test_a_better_recipe_is_found_with_its_gain() -> None:
    found = versus(simulated("new", 0.0005, 1), simulated("old", 0.0005, 2, scale=1.1))
    top = float(LOOP.flops.max())
    ours, theirs = lowest(TRUTH, top), lowest(TRUTH * [1, 1, 1.1, 1, 1], top)
    assert found.answer is Answer.BETTER
    assert "new is better than old at 6.4e+19 FLOPs" in found.message
    assert found.decisive.difference_percent.low < 100 * (ours / theirs - 1)
    assert found.decisive.difference_percent.high > 100 * (ours / theirs - 1)
    grid = np.geomspace(top, 4 * top, 400)
    losses = [lowest(TRUTH * [1, 1, 1.1, 1, 1], c) for c in grid]
    gain = float(np.interp(-ours, -np.array(losses), grid / top))
    assert gain > 1.05
    assert found.compute_gain.low < gain < found.compute_gain.high
    assert [one.flops for one in found.budgets] == sorted(set(LOOP.flops))


def test_the_other_way_round_it_is_worse() -> None:
    one, other = simulated("new", 0.0005, 1), simulated("old", 0.0005, 2, scale=1.1)
    there, back = versus(one, other), versus(other, one)
    assert back.answer is Answer.WORSE
    ratio = 1 + there.decisive.difference_percent.value / 100
    assert back.decisive.difference_percent.value == pytest.approx(100 * (1 / ratio - 1))
    assert back.compute_gain.value < 1 < there.compute_gain.value


def test_equals_are_not_resolved_and_noise_says_how_many_runs_would() -> None:
    found = versus(simulated("a", 0.003, 3), simulated("b", 0.003, 4))
    assert found.answer is Answer.NOT_RESOLVED
    assert "is not resolved by these runs" in found.message
    assert found.decisive.difference_percent.low < 0 < found.decisive.difference_percent.high
    assert found.compute_gain.low < 1 < found.compute_gain.high


def test_shared_noise_narrows_the_difference() -> None:
    apart = versus(simulated("a", 0.002, 5), simulated("b", 0.002, 6, scale=1.02))
    together = versus(simulated("a", 0.002, 5), simulated("b", 0.002, 5, scale=1.02))
    widths = [
        c.decisive.difference_percent.high - c.decisive.difference_percent.low for c in (apart, together)
    ]
    assert together.pairs == len(LOOP)
    assert together.correlation > 0.9
    assert apart.correlation < 0.5
    assert widths[1] < 0.6 * widths[0]


def test_without_a_loop_the_budget_buys_tokens() -> None:
    flat = fixed()
    found = versus(simulated("looped", 0.0005, 7), side_of("fixed", flat, resamples=200))
    size, cost = flat.effective_parameters[0], flat.flops[0] / flat.tokens[0]
    for one in found.budgets:
        expected = TRAINING.predict(TRUTH, {"N": np.array([size]), "D": np.array([one.flops / cost])})[0, 0]
        assert one.loss_b.value == pytest.approx(expected, rel=2e-3)
    assert np.isnan(found.gamma_mean_recurrence.value)


def fixed() -> ModelPoints:
    """A model without a loop, three seeds of each budget."""
    points = LOOP.select(np.isin(LOOP.mean_recurrence, (2, 4, 6)))
    size = points.once_parameters + points.recurrent_parameters
    tokens = points.flops / (6 * size)
    loss = TRAINING.predict(TRUTH, {"N": size, "D": tokens})[0]
    noise = 0.0005 * np.random.default_rng(8).standard_normal(len(loss))
    return replace(
        points,
        model="fixed",
        architecture="no loop",
        mean_recurrence=np.ones(len(loss)),
        tokens=tokens,
        effective_parameters=size,
        once_parameters=size,
        recurrent_parameters=np.zeros(len(loss)),
        loss=loss * np.exp(noise),
        seeds=np.tile([0.0, 1.0, 2.0], len(loss) // 3),
    )


def test_runs_that_share_no_budget_are_refused() -> None:
    small = LOOP.select(LOOP.flops < 3e18)
    large = LOOP.select(LOOP.flops > 1e19)
    with pytest.raises(InputError, match="share no budget"):
        versus(side_of("small", small, resamples=50), side_of("large", large, resamples=50))
    with pytest.raises(InputError, match="at least two budgets"):
        side_of("one", LOOP.select(LOOP.flops == 4e18))


def test_the_command_answers(command: Command, tmp_path: Path) -> None:
    names = ("published:small-140m", "published:medium-370m")
    found: dict[str, Any] = command("parcae-fit", "versus", *names, "--json").json
    assert found["answer"] in {"better", "worse", "not resolved"}
    assert {one["flops"] for one in found["budgets"]} == {3.2e19, 6.4e19}
    text = command("parcae-fit", "versus", *names).out
    assert text.splitlines()[0].startswith(names[0])
    assert "compute-equivalent gain of A" in text
    refused = command("parcae-fit", "versus", "published:nano", names[1])
    assert refused.code == 2
    assert "there is no model 'nano' in the sweep 'published'" in refused.err
    json.dumps(found, allow_nan=False)
