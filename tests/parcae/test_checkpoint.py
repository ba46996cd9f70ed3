"""A checkpoint that is damaged, foreign or code is refused in a sentence, and the one before it used."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from parcae.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def checkpoint(step: int, identity: str = "mine", metrics_bytes: int = 0) -> Checkpoint:
    weights = {"w": torch.arange(1000.0) + step}
    return Checkpoint(
        identity=identity,
        step=step,
        model=weights,
        optimisers=[{"state": {0: {"step": torch.tensor(1.0)}}}],
        metrics_bytes=metrics_bytes,
        layers_bytes=0,
        spikes=[],
        threads=1,
        seconds=1.5,
    )


def step_of(folder: Path) -> int | None:
    found = load_checkpoint(folder, "mine")
    return None if found is None else found.step


def newest(folder: Path) -> Path:
    return max((folder / "checkpoint").iterdir())


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    assert step_of(tmp_path) is None
    for step in (3, 20, 100):
        save_checkpoint(tmp_path, checkpoint(step))
    assert len(list((tmp_path / "checkpoint").iterdir())) == 2
    found = load_checkpoint(tmp_path, "mine")
    assert found is not None
    assert found.step == 100
    assert torch.equal(found.model["w"], checkpoint(100).model["w"])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "code", "foreign", "metrics"])
def test_what_is_not_whole_and_ones_own_is_refused(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    save_checkpoint(
        tmp_path,
        checkpoint(
            2,
            identity="another" if damage == "foreign" else "mine",
            metrics_bytes=1 if damage == "metrics" else 0,
        ),
    )
    path = newest(tmp_path)
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("no checkpoint")
    elif damage == "code":
        path.write_bytes(pickle.dumps(Code(tmp_path / "executed")))
    assert step_of(tmp_path) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(path) in message
    assert not (tmp_path / "executed").exists()


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)
