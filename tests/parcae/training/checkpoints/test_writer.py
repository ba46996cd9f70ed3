"""What is written is the moment of the snapshot, one at a time, and what goes wrong is heard of."""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from parcae.config import ExecutionConfig
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.training.checkpoints.checkpoint import Checkpoint, resume
from parcae.training.checkpoints.writer import FLOOR_SECONDS, SHARE, CheckpointWriter, Pace
from parcae.training.distributed import Processes
from parcae.training.run import train
from tests.parcae.models import TINY, training
from tests.parcae.training.checkpoints.test_checkpoint import limited, names


def checkpoint(step: int, weights: torch.Tensor) -> Checkpoint:
    return Checkpoint(
        identity="mine",
        step=step,
        model={"w": weights},
        optimisers=[{"state": {0: {"step": torch.tensor(float(step)), "momentum": 2 * weights}}}],
        spikes=[],
        threads=1,
        seconds=1.5,
    )


def written(folder: Path) -> tuple[int, torch.Tensor] | None:
    found = resume(folder, "mine", Processes(0, 1))
    return None if found is None else (found.step, found.model["w"])


class Gate:
    """Holds the writing thread before it writes."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.open.wait(60)


@contextmanager
def writer(folder: Path, gate: Gate, interval: float = 0.0) -> Iterator[CheckpointWriter]:
    made = CheckpointWriter(folder, gate, interval=interval, state_bytes=0)
    try:
        yield made
    finally:
        gate.open.set()
        made.close()


def test_what_is_written_is_the_moment_of_the_snapshot(tmp_path: Path) -> None:
    weights, gate = torch.arange(10.0), Gate()
    with writer(tmp_path, gate) as checkpoints:
        checkpoints.save(checkpoint(1, weights))
        assert gate.reached.wait(60)
        weights.add_(100)
        assert written(tmp_path) is None  # the logs come first
    step, found = written(tmp_path) or (0, weights)
    assert step == 1
    assert torch.equal(found, torch.arange(10.0))


def test_a_second_snapshot_waits_for_the_first_and_takes_its_memory(tmp_path: Path) -> None:
    """The weights have another shape and type then: memory is taken where it fits."""
    gate = Gate()
    gate.open.set()
    with writer(tmp_path, gate) as checkpoints:
        for step, weights in enumerate((torch.ones(10), torch.ones(10) * 2, torch.ones(3, 4).double())):
            checkpoints.save(checkpoint(step, weights))
    assert names(tmp_path) == ["step-000000001.pt", "step-000000002.pt"]
    for step, expected in ((2, torch.ones(3, 4).double()), (1, torch.ones(10) * 2)):
        found = written(tmp_path)
        assert found is not None
        assert found[0] == step
        assert torch.equal(found[1], expected)
        (tmp_path / "checkpoint" / f"step-{step:09d}.pt").unlink()


def test_while_one_is_written_none_is_due(tmp_path: Path) -> None:
    gate = Gate()
    with writer(tmp_path, gate) as checkpoints:
        assert checkpoints.is_due()
        checkpoints.save(checkpoint(1, torch.ones(3)))
        assert gate.reached.wait(60)
        assert not checkpoints.is_due()
        gate.open.set()
        checkpoints.save_last(checkpoint(2, torch.ones(3)))
        assert names(tmp_path) == ["step-000000001.pt", "step-000000002.pt"]


def test_closing_waits_for_the_one_that_is_written(tmp_path: Path) -> None:
    gate = Gate()
    with writer(tmp_path, gate) as checkpoints:
        checkpoints.save(checkpoint(1, torch.ones(3)))
        assert gate.reached.wait(60)
        assert written(tmp_path) is None
    assert names(tmp_path) == ["step-000000001.pt"]


def test_a_checkpoint_costs_what_its_thread_works_and_not_what_it_waits(tmp_path: Path) -> None:
    def work_and_wait() -> None:
        deadline = time.thread_time() + 0.1
        while time.thread_time() < deadline:
            pass
        time.sleep(0.5)

    checkpoints = CheckpointWriter(tmp_path, work_and_wait, interval=None, state_bytes=0)
    checkpoints.save(checkpoint(1, torch.ones(3)))
    checkpoints.save_last(checkpoint(2, torch.ones(3)))
    checkpoints.close()
    assert 0.1 <= checkpoints.pace.spent < 0.5


def test_a_disk_that_is_full_ends_the_training_that_fills_it(tmp_path: Path) -> None:
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return False

    with limited(resource.RLIMIT_FSIZE, 20_000), pytest.raises((OSError, RuntimeError)) as caught:
        train(
            TINY,
            training(steps=200),
            load_corpus(EMBEDDED),
            tmp_path,
            stop=stop,
            execution=ExecutionConfig(checkpoint_seconds=0),
        )
    assert steps < 200
    chain, error = [], caught.value
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    assert any(isinstance(error, OSError) and "large" in str(error) for error in chain)
    assert names(tmp_path) == []


def saves(cost: float, seconds: float, *, state_bytes: int = 0, step: float = 0.05) -> list[float]:
    """When a run of steps of `step` seconds saves, each at `cost` seconds of its time."""
    pace, elapsed, found = Pace(None, state_bytes), 0.0, []
    while elapsed < seconds:
        elapsed += step
        if pace.is_due(elapsed):
            found.append(elapsed)
            pace.saved(elapsed, cost)
            elapsed += cost
    return found


@pytest.mark.parametrize("cost", [0.0, 0.01, 0.2, 1.0, 10.0])
def test_saving_takes_at_most_one_percent(cost: float) -> None:
    """After the first, which is counted too, and of which nothing was known."""
    found = saves(cost, 20_000)
    assert all(count * cost <= SHARE * at for count, at in enumerate(found[1:], 2))
    possible = 20_000 / max(FLOOR_SECONDS, cost / SHARE)
    assert 0.95 * possible <= len(found) <= possible


def test_a_small_run_loses_seconds_and_a_large_one_does_not_begin_with_a_checkpoint() -> None:
    assert saves(0.002, 29) == pytest.approx([5, 10, 15, 20, 25], abs=0.5)
    first, second, third = saves(0.5, 300, state_bytes=500_000_000)[:3]
    assert first == pytest.approx(50, abs=0.1)
    assert second == pytest.approx(100, abs=0.1)
    assert third == pytest.approx(150, abs=0.1)


def test_a_set_interval_is_kept_whatever_it_costs() -> None:
    pace = Pace(2.0, 10**12)
    assert not pace.is_due(1.9)
    assert pace.is_due(2.0)
    pace.saved(2.0, cost=1e6)
    assert not pace.is_due(3.9)
    assert pace.is_due(4.0)
