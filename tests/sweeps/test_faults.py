"""The n-th file operation of a small sweep fails, or its process dies there; then it goes on as a user would.

No run is lost, none is trained twice to its end, none ends with another loss, and every error is a sentence.
Every n instead of a sample: `make faults`.
"""

import errno
import multiprocessing
import os
import random
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from parcae.config import ExecutionConfig
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.tokenizer import BYTES, tokenizer_hash
from parcae.errors import InputError, WorkFailed
from parcae.training.result import read_result
from sweeps.control.cluster import Cluster
from sweeps.control.launch import choose_profiles, launch
from sweeps.folders.paths import Study
from sweeps.folders.records import Attempt, read_lines
from sweeps.plan.grid import Text, isoflop_grid
from sweeps.plan.manifest import plan_sweep
from sweeps.runs.states import RETRIABLE, State
from sweeps.runs.worker import run
from sweeps.store.collect import collect_sweep

Kind = Literal["error", "kill"]
ALL = os.environ.get("FAULTS") == "all"
SAMPLE = 2
KILLED = 137
NEVER = 10**9
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.scandir", "os.listdir", "os.link", "os.truncate"}
SERVER = multiprocessing.get_context("forkserver")  # imports torch once; its children start at once
SERVER.set_forkserver_preload(
    ["tests.sweeps.test_faults", "parcae.training.run", "torch._dynamo", "duckdb", "pandas"]
)


def sweep(folder: Path) -> None:
    """What a user does, in one process: plan, submit, train what is queued, look; and retry what failed."""
    study = Study(folder / "results.duckdb")
    text = load_corpus(EMBEDDED)
    named = Text(text.name, text.hash, BYTES, tokenizer_hash(BYTES))
    specs = isoflop_grid("nano", [1e8], [1, 2], text=named)
    plan_sweep(study, "s", specs, [None] * len(specs))
    profiles = choose_profiles(study, None)
    launch(study, "s", Cluster.LOCAL, profiles, states={State.PLANNED, *RETRIABLE}, report=lambda _: None)
    for queued in sorted(study.queue.iterdir()):
        try:
            run(study.run(queued.name), ExecutionConfig(checkpoint_seconds=0), stop=lambda: False)
        finally:
            queued.unlink()
    collect_sweep(study.db, "s")


def child(folder: Path, at: int, kind: Kind) -> None:
    """The sweep; file operation number `at` under `folder` goes wrong. Exits with 3 after a sentence."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in EVENTS and any(isinstance(a, str | Path) and str(folder) in str(a) for a in arguments):
            count += 1
            if count == at and kind == "kill":
                os._exit(KILLED)
            if count == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    sys.addaudithook(hook)
    try:
        sweep(folder)
    except (InputError, WorkFailed, OSError) as error:  # what the commands tell in a sentence
        sys.exit(3 if len(str(error).splitlines()) == 1 else 4)
    finally:
        at = NEVER
        (folder / "count").write_text(str(count))


def go(folder: Path, at: int = NEVER, kind: Kind = "error") -> int | None:
    folder.mkdir(exist_ok=True)
    process = SERVER.Process(target=child, args=(folder, at, kind))
    process.start()
    process.join(120)
    return process.exitcode


def losses(folder: Path) -> dict[str, dict[str, float]]:
    """Run id -> its losses, of the runs that are done."""
    study = Study(folder / "results.duckdb")
    found = {}
    if study.sweeps.is_dir() and any(study.sweeps.glob("*.json")):
        for row in collect_sweep(study.db, "s").runs:
            assert row.reason is None or len(row.reason.splitlines()) == 1
            if row.state is State.DONE:
                result = read_result(study.run(row.run_id).path)
                assert result is not None
                assert row.val_loss == result.val_loss
                found[row.run_id] = result.losses
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, float]], int]:
    """The losses of a sweep without a fault, and the number of its file operations."""
    folder = tmp_path_factory.mktemp("faults") / "whole"
    assert go(folder) == 0
    return losses(folder), int((folder / "count").read_text())


@pytest.mark.parametrize("kind", ["error", "kill"])
def test_whatever_file_operation_fails_the_sweep_ends_as_if_none_had(
    tmp_path: Path, whole: tuple[dict[str, dict[str, float]], int], kind: Kind
) -> None:
    expected, operations = whole
    assert len(expected) == 2
    numbers = range(1, operations + 1)
    chosen = numbers if ALL else random.Random(kind).sample(numbers, SAMPLE)
    for at in chosen:
        folder = tmp_path / str(at)
        assert go(folder, at, kind) in ((0, 3) if kind == "error" else (KILLED,)), at
        assert losses(folder).items() <= expected.items(), at
        for _ in range(2 if ALL else 1):  # the second time finds nothing to do
            assert go(folder) == 0, at
            assert losses(folder) == expected, at
        for run_id in expected:
            attempts = read_lines(Study(folder / "results.duckdb").run(run_id).attempts, Attempt)
            assert [attempt.event for attempt in attempts].count("ended") <= 1, at
    print(f"{kind}: {len(chosen)} of {operations} file operations")
