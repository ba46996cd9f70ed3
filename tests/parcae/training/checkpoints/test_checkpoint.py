"""A checkpoint that cannot be used is set aside in a sentence, and the one before it used."""

import os
import pickle
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from parcae.errors import InputError
from parcae.training.checkpoints.checkpoint import Checkpoint, resume, write_checkpoint
from parcae.training.distributed import Processes


def checkpoint(step: int, identity: str = "mine", numbers: int = 1000) -> Checkpoint:
    return Checkpoint(
        identity=identity,
        step=step,
        model={"w": torch.arange(float(numbers)) + step},
        optimisers=[{"state": {0: {"step": torch.tensor(1.0)}}}],
        spikes=[],
        threads=1,
        seconds=1.5,
    )


def step_of(folder: Path) -> int | None:
    found = resume(folder, "mine", Processes(0, 1))
    return None if found is None else found.step


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoint").iterdir())


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    assert step_of(tmp_path) is None
    for step in (3, 20, 100):
        write_checkpoint(tmp_path, checkpoint(step))
    assert names(tmp_path) == ["step-000000020.pt", "step-000000100.pt"]
    found = resume(tmp_path, "mine", Processes(0, 1))
    assert found is not None
    assert found.step == 100
    assert torch.equal(found.model["w"], checkpoint(100).model["w"])


DAMAGES = (
    *("truncated", "flipped", "empty", "text", "code", "zip", "other tensors"),
    *("foreign", "older format", "newer format", "another step"),
)


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    folder, step = path.parent.parent, int(path.stem.removeprefix("step-"))
    if kind == "truncated":
        path.write_bytes(content[:middle])
    elif kind == "flipped":
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no checkpoint")
    elif kind == "code":
        torch.save(Code(folder / "executed"), path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme", "no checkpoint")
    elif kind == "other tensors":
        torch.save({"model": {"w": torch.zeros(3)}}, path)
    elif kind == "foreign":
        write_checkpoint(folder, checkpoint(step, identity="another"))
    elif kind == "older format":
        write_checkpoint(folder, replace(checkpoint(step), format=2))
    elif kind == "newer format":
        write_checkpoint(folder, replace(checkpoint(step), format=5))
    elif kind == "another step":
        path.with_name("step-000000001.pt").rename(path)


class Code:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_is_not_whole_and_ones_own_is_set_aside(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path, checkpoint(1))
    write_checkpoint(tmp_path, checkpoint(2))
    path = tmp_path / "checkpoint" / "step-000000002.pt"
    damage(path, kind)
    content = path.read_bytes()
    if kind == "another step":
        write_checkpoint(tmp_path, checkpoint(1))
    assert step_of(tmp_path) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(path) in message
    assert path.with_name(f"{path.name}.refused").read_bytes() == content
    assert not (tmp_path / "executed").exists()
    assert step_of(tmp_path) == 1
    assert capsys.readouterr().err == ""


def test_a_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(1))
    path = tmp_path / "checkpoint" / "step-000000001.pt"
    path.write_bytes(pickle.dumps(Code(tmp_path / "executed")))
    with pytest.raises(InputError, match="none of the 1 checkpoints"):
        step_of(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_refused_ones_do_not_cost_those_written_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (50, 60):
        write_checkpoint(tmp_path, replace(checkpoint(step), format=5))
    for _ in range(2):  # and no later start begins again at step 0 either
        with pytest.raises(InputError, match=r"none of the 2 checkpoints.*begin again at step 0"):
            step_of(tmp_path)
    first, second = capsys.readouterr().err.splitlines()
    assert "step-000000060.pt is refused" in first
    assert "step-000000050.pt is refused" in second
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, checkpoint(step))
        assert step_of(tmp_path) == step
    kept = ["step-000000002.pt", "step-000000003.pt"]
    assert names(tmp_path) == [*kept, "step-000000050.pt.refused", "step-000000060.pt.refused"]
    assert capsys.readouterr().err == ""


def test_what_was_just_written_stays_whatever_lies_beside_it(tmp_path: Path) -> None:
    for step in (7, 8, 9):
        write_checkpoint(tmp_path, checkpoint(step))
    write_checkpoint(tmp_path, checkpoint(1))
    assert names(tmp_path) == ["step-000000001.pt", "step-000000009.pt"]


def test_set_aside_twice_is_kept_twice(tmp_path: Path) -> None:
    for _ in range(2):
        write_checkpoint(tmp_path, checkpoint(4, identity="another"))
        with pytest.raises(InputError):
            step_of(tmp_path)
    assert names(tmp_path) == ["step-000000004.pt.refused", "step-000000004.pt.refused1"]


def test_leftovers_of_killed_writes_are_cleared(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(4))
    (tmp_path / "checkpoint" / ".step-000000005.pt.4242.tmp").write_text("half")
    (tmp_path / "checkpoint" / "notes").write_text("a user's own")
    assert step_of(tmp_path) == 4
    assert names(tmp_path) == ["notes", "step-000000004.pt"]


@contextmanager
def limited(kind: int, soft: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@pytest.mark.parametrize("lacking", ["files", "memory"])
def test_a_machine_that_fails_refuses_nothing(tmp_path: Path, lacking: str) -> None:
    """Nothing may be open, or the file is larger than the memory that is left."""
    write_checkpoint(tmp_path, checkpoint(4, numbers=2**24))
    status = Path("/proc/self/status").read_text()
    (mapped,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize"))
    limit = (resource.RLIMIT_NOFILE, 0) if lacking == "files" else (resource.RLIMIT_AS, mapped * 1024 + 2**25)
    with (
        limited(*limit),
        pytest.raises((OSError, RuntimeError), match=r"Too many open files|allocate memory"),
    ):
        step_of(tmp_path)
    assert names(tmp_path) == ["step-000000004.pt"]
    assert step_of(tmp_path) == 4
