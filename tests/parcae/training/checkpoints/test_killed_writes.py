"""Killed in the middle of writing checkpoints, a run ends as one that was never interrupted.

Ten times: KILLS=10 pytest tests/parcae/training/checkpoints/test_killed_writes.py
"""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import torch

from parcae.config import ExecutionConfig
from parcae.training.checkpoints.checkpoint import newest_first
from parcae.training.run import train
from tests.parcae.models import shape, training
from tests.parcae.training.test_run import CORPUS, numbers

KILLS = int(os.environ.get("KILLS", "3"))
SECONDS = 60
MODEL = shape(width=64, mlp_width=512, recurrent_layers=1)
TRAINING = training(steps=150, batch_sequences=1, mean_recurrence=2, weight_decay=0.2, test_recurrences=(2,))
CHECKPOINT_BYTES = 2_000_000
SERVER = multiprocessing.get_context("forkserver")  # imports torch once; its children start at once
SERVER.set_forkserver_preload(["tests.parcae.training.checkpoints.test_killed_writes"])


def train_always_saving(folder: Path) -> None:
    train(MODEL, TRAINING, CORPUS, folder, execution=ExecutionConfig(checkpoint_seconds=0))


def halves(folder: Path) -> list[Path]:
    """Checkpoints that are being written, or were when their writer died."""
    return list((folder / "checkpoint").glob(".step-*.tmp"))


def kill_in_mid_write(folder: Path, at_bytes: int) -> bool:
    """Trains in another process until it has saved once, then kills it when it has written so much of the
    next checkpoint. Whether it died with that one half written."""
    before = newest_first(folder)[:1]
    process = SERVER.Process(target=train_always_saving, args=(folder,))
    process.start()
    deadline = time.monotonic() + SECONDS

    def size() -> int:
        try:
            return max((path.stat().st_size for path in halves(folder)), default=-1)
        except FileNotFoundError:
            return -1

    while newest_first(folder)[:1] in ([], before) or size() < at_bytes:
        assert process.exitcode is None
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return len(halves(folder)) == 1


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    train(MODEL, TRAINING, CORPUS, whole)
    (whole_end, *_) = newest_first(whole)
    assert whole_end.stat().st_size > CHECKPOINT_BYTES
    random.seed(0)
    kills = 0
    for _ in range(3 * KILLS):
        kills += kill_in_mid_write(folder, random.randrange(CHECKPOINT_BYTES))
        if kills == KILLS:
            break
    assert kills == KILLS
    assert newest_first(folder)[0].name < whole_end.name
    train_always_saving(folder)
    assert halves(folder) == []
    assert numbers(folder) == numbers(whole)
    (end, *_) = newest_first(folder)
    assert end.name == whole_end.name
    one, other = (torch.load(path, weights_only=True) for path in (end, whole_end))
    for part in ("model", "optimisers"):
        assert leaves(one[part]) == leaves(other[part])


def leaves(values: object) -> list[object]:
    """What a nested state holds, tensors bit by bit."""
    if isinstance(values, dict):
        return [leaf for key in values for leaf in (key, *leaves(values[key]))]
    if isinstance(values, list):
        return [leaf for value in values for leaf in leaves(value)]
    return [values.numpy().tobytes() if isinstance(values, torch.Tensor) else values]
