"""Several real processes train what one trains, through crashes too."""

import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parcae.config import ExecutionConfig, Injection, ModelConfig, Optimiser, Precision, TrainConfig
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.errors import InputError
from parcae.training.distributed import Launch, Processes, choose_device, find_launch, first_node
from parcae.training.result import read_result
from parcae.training.run import train
from tests.parcae.models import TINY, shape, training
from tests.parcae.training.test_run import numbers

SECONDS = 60
SERVER = multiprocessing.get_context("forkserver")  # imports torch once; its children start at once
SERVER.set_forkserver_preload(["tests.parcae.training.test_distributed"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def by_torchrun(rank: int, port: int) -> dict[str, str]:
    numbers = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(number) for name, number in numbers.items()}}


def by_srun(rank: int, port: int) -> dict[str, str]:
    """The port follows from the job's number."""
    numbers = {"PROCID": rank, "LOCALID": rank, "STEP_NUM_TASKS": 2, "JOB_ID": port}
    return {"SLURM_STEP_NODELIST": "n1", **{f"SLURM_{name}": str(value) for name, value in numbers.items()}}


def one_of_two(
    environment: dict[str, str],
    model: ModelConfig,
    config: TrainConfig,
    folder: Path,
    answer: Path,
    stop_after: int | None,
) -> None:
    """What each process does: trains, and leaves what `train` gave it in `answer`."""
    os.environ.update(environment)
    steps = iter(range(1, config.steps + 1))
    execution = ExecutionConfig(checkpoint_seconds=0.05)
    try:
        result = train(
            model,
            config,
            load_corpus(EMBEDDED),
            folder,
            stop=lambda: next(steps) == stop_after,
            execution=execution,
        )
        answer.write_text(json.dumps(None if result is None else asdict(result)))
    except Exception as error:
        answer.write_text(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


@contextmanager
def two(
    folder: Path,
    config: TrainConfig,
    launched: Callable[[int, int], dict[str, str]] = by_torchrun,
    stop_after: tuple[int | None, int | None] = (None, None),
    model: ModelConfig = TINY,
) -> Iterator[list[BaseProcess]]:
    """Two processes that train in `folder`; killed when the block ends."""
    port = free_port()
    running: list[BaseProcess] = [
        SERVER.Process(
            target=one_of_two,
            args=(launched(rank, port), model, config, folder, answer(folder, rank), stop_after[rank]),
        )
        for rank in range(2)
    ]
    for process in running:
        process.start()
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.join()


def answer(folder: Path, rank: int) -> Path:
    return folder.with_name(f"{folder.name}-answer-{rank}")


def finish(folder: Path, running: list[BaseProcess], code: int = 0) -> list[str]:
    """What the processes answer, once both have ended with `code`."""
    for process in running:
        process.join(timeout=SECONDS)
    answers = [answer(folder, rank).read_text() for rank in range(2)]
    assert [process.exitcode for process in running] == [code, code], answers
    return answers


@pytest.mark.parametrize("launched", [by_torchrun, by_srun])
def test_two_processes_equal_one(tmp_path: Path, launched: Callable[[int, int], dict[str, str]]) -> None:
    config = training(precision=Precision.FLOAT64, batch_sequences=8)
    with two(tmp_path / "two", config, launched) as running:
        first, second = finish(tmp_path / "two", running)
    train(TINY, config, load_corpus(EMBEDDED), tmp_path / "one")
    result, single = read_result(tmp_path / "two"), read_result(tmp_path / "one")
    assert result is not None
    assert single is not None
    assert first == second == json.dumps(asdict(result))
    assert (result.environment["processes"], single.environment["processes"]) == (2, 1)
    (one, lines), (other, other_lines) = numbers(tmp_path / "one"), numbers(tmp_path / "two")
    assert len(lines) == config.steps
    for line, other_line in zip(lines, other_lines, strict=True):
        assert other_line == pytest.approx(line, rel=1e-10)
    assert other["losses"] == pytest.approx(one["losses"], rel=1e-6)


def test_two_processes_killed_and_resumed_equal_two_never_killed(tmp_path: Path) -> None:
    config = training(steps=60, optimiser=Optimiser.MUON, weight_decay=0.2)
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    with two(whole, config) as running:
        finish(whole, running)
    for killed in (0, 1):
        with two(folder, config) as running:
            before, deadline = newest(folder), time.monotonic() + SECONDS
            while newest(folder) == before and time.monotonic() < deadline:
                time.sleep(0.005)
            os.kill(running[killed].pid or 0, signal.SIGKILL)
            running[1 - killed].join(timeout=SECONDS)  # it does not wait for the dead
            assert running[1 - killed].exitcode == 1
    assert read_result(folder) is None
    with two(folder, config) as running:
        finish(folder, running)
    assert numbers(folder) == numbers(whole)


def newest(folder: Path) -> str:
    return max((path.name for path in (folder / "checkpoint").glob("step-*.pt")), default="")


def test_all_resume_from_the_checkpoint_that_the_first_chooses(tmp_path: Path) -> None:
    """The newest is damaged, which the others do not look for."""
    whole, folder = tmp_path / "whole", tmp_path / "parts"
    with two(whole, training()) as running:
        finish(whole, running)
    for step in (3, 5):
        with two(folder, training(), stop_after=(step if step == 3 else 2, None)) as running:
            finish(folder, running)
    path = folder / "checkpoint" / newest(folder)
    assert path.name == "step-000000005.pt"
    content = path.read_bytes()
    path.write_bytes(content[:-2000] + bytes(1000) + content[-1000:])
    with two(folder, training()) as running:
        finish(folder, running)
    assert path.with_name("step-000000005.pt.refused").exists()
    assert numbers(folder) == numbers(whole)


def test_all_leave_at_the_step_at_which_one_is_told_to(tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    with two(folder, training(), stop_after=(None, 3)) as running:
        assert finish(folder, running) == ["null", "null"]
    assert newest(folder) == "step-000000003.pt"


def test_divergence_is_the_same_verdict_for_all(tmp_path: Path) -> None:
    folder, unstable = tmp_path / "diverged", shape(injection=Injection.CONCAT)
    config = training(mean_recurrence=8, backward_depth=4, learning_rate=1.0, steps=30, batch_sequences=2)
    with two(folder, config, model=unstable) as running:
        first, second = finish(folder, running)
    result = read_result(folder)
    assert result is not None
    assert first == second == json.dumps(asdict(result))
    assert result.diverged_at is not None
    assert result.diverged_at.step == result.steps < 30


def test_a_batch_that_cannot_be_shared_equally_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    with two(folder, training(batch_sequences=3)) as running:
        for refusal in finish(folder, running, code=1):
            assert refusal.startswith("InputError: batch_sequences is 3, which 2 processes cannot share")


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_shares_are_a_partition_of_equal_size_and_nearly_equal_work(count: int, each: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    depths = sorted(torch.randint(1, 20, (count * each,), generator=generator).tolist(), reverse=True)
    shares = [Processes(rank, count).share(depths) for rank in range(count)]
    assert sorted((depth for share in shares for depth in share), reverse=True) == depths
    assert {len(share) for share in shares} == {each}
    assert all(share == sorted(share, reverse=True) for share in shares)
    work = [sum(share) for share in shares]
    assert max(work) - min(work) <= depths[0] - depths[-1]


STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "12007"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Launch()),
        (
            {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", **STEP},
            Launch(rank=3, count=4, local_rank=1, rendezvous="env://"),
        ),
        (
            {**STEP, "SLURM_STEP_NODELIST": "n7"},
            Launch(rank=3, count=4, local_rank=1, rendezvous="tcp://127.0.0.1:20007"),
        ),
        (
            {**STEP, "SLURM_STEP_NODELIST": "localhost,n8"},
            Launch(rank=3, count=4, local_rank=1, rendezvous="tcp://localhost:20007"),
        ),
        (
            {**STEP, "SLURM_STEP_NODELIST": "n[1-2]", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"},
            Launch(rank=3, count=4, local_rank=1, rendezvous="tcp://10.0.0.1:5"),
        ),
        (
            {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NODELIST": "n7"},
            Launch(rank=1, count=2, rendezvous="tcp://127.0.0.1:20000"),
        ),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, Launch()),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_TASK_PID": "77"}, Launch()),  # a batch script
        ({"SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "n[1-2]"}, Launch()),  # a shell of salloc
    ],
)
def test_the_environment_says_who_one_is(environment: Mapping[str, str], expected: Launch) -> None:
    assert find_launch(environment) == expected


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[1-2]", "n1"),
        ("gpu[08-11,20],big1", "gpu08"),
        ("a[3,5]-ib", "a3-ib"),
        ("r[1-2]n[04-07]", "r1n04"),
        ("", ""),
    ],
)
def test_the_first_of_a_node_list(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_a_device_that_is_not_here_is_refused() -> None:
    assert choose_device("cpu", 3) == torch.device("cpu")
    with pytest.raises(InputError, match="there are cpu and cuda"):
        choose_device("gpu0", 0)
    with pytest.raises(InputError, match="GPUs here"):
        choose_device("cuda:99", 0)
