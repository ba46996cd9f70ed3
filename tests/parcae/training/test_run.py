"""A run ends with the same numbers however it was interrupted; divergence is a result."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from parcae.config import ExecutionConfig, Injection, Optimiser, Precision, TrainConfig
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.errors import InputError
from parcae.presets import preset
from parcae.training.checkpoints.checkpoint import newest_first
from parcae.training.result import Result, read_result
from parcae.training.run import train
from tests.parcae.models import TINY, shape, training

CORPUS = load_corpus(EMBEDDED)
HIGH_RATE = 5e-2  # five times what the nano sizes train best at
OTHERS = {"seconds", "tokens_per_second", "environment", "run_id", "checksum"}


def numbers(folder: Path) -> tuple[dict[str, object], list[dict[str, object]]]:
    """result.json and metrics.jsonl without the time it took and the name of the folder."""
    result = json.loads((folder / "result.json").read_text())
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return (
        {key: value for key, value in result.items() if key not in OTHERS},
        [{key: value for key, value in line.items() if key not in OTHERS} for line in lines],
    )


def test_the_result_is_what_the_folder_says(tmp_path: Path) -> None:
    config = training()
    result = train(TINY, config, CORPUS, tmp_path)
    assert isinstance(result, Result)
    assert result == read_result(tmp_path) == train(TINY, config, CORPUS, tmp_path)
    assert result.status == "done"
    assert result.tokens == config.tokens(TINY.context)
    assert result.val_loss == result.losses["4"]
    assert result.losses.keys() == {"1", "4"}
    assert 0 < result.injection_norm < 1
    lines = numbers(tmp_path)[1]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert lines[0]["loss"] == pytest.approx(5.5, abs=0.3)  # ln 256


@pytest.mark.parametrize("changes", [{}, {"optimiser": Optimiser.MUON, "precision": Precision.BFLOAT16}])
def test_training_learns(tmp_path: Path, changes: dict[str, object]) -> None:
    result = train(TINY, training(steps=60, batch_sequences=16, **changes), CORPUS, tmp_path)
    assert result is not None
    assert result.val_loss is not None
    assert result.val_loss < 4.2


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimiser": Optimiser.MUON, "weight_decay": 0.2},
        {"optimiser": Optimiser.MUON, "precision": Precision.BFLOAT16},
    ],
)
def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path, changes: dict[str, object]) -> None:
    config = training(**changes)
    train(TINY, config, CORPUS, tmp_path / "whole")
    for _ in range(20):
        asked = iter([False, False, False, True])
        if train(TINY, config, CORPUS, tmp_path / "parts", stop=lambda: next(asked)):  # noqa: B023
            break
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")


KILLED = """
import sys
from pathlib import Path
from parcae.config import ExecutionConfig
from parcae.training.run import train
from tests.parcae.models import TINY, training
from tests.parcae.training.test_run import CORPUS
print("started", flush=True)
execution = ExecutionConfig(checkpoint_seconds=0.05)
train(TINY, training(steps=400), CORPUS, Path(sys.argv[1]), execution=execution)
"""


def test_killed_and_resumed_equals_never_killed(tmp_path: Path) -> None:
    train(TINY, training(steps=400), CORPUS, tmp_path / "whole")
    folder = tmp_path / "killed"
    kills = 0
    for delay in (0.3, 0.1, 0.5, 0.2):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert kills >= 2
    train(TINY, training(steps=400), CORPUS, folder)
    assert numbers(folder) == numbers(tmp_path / "whole")


def test_a_truncated_checkpoint_costs_the_way_from_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = training(optimiser=Optimiser.MUON, precision=Precision.BFLOAT16, weight_decay=0.2)
    train(TINY, config, CORPUS, tmp_path / "whole")
    folder = tmp_path / "parts"
    for leave_after in (5, 3):
        asked = iter([False] * (leave_after - 1) + [True])
        train(TINY, config, CORPUS, folder, stop=lambda: next(asked))  # noqa: B023
    newest = folder / "checkpoint" / "step-000000008.pt"
    os.truncate(newest, newest.stat().st_size // 2)
    train(TINY, config, CORPUS, folder)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"checkpoint {newest} is refused" in message
    assert numbers(folder) == numbers(tmp_path / "whole")


def slices(folder: Path, config: TrainConfig, after: int, *damage: Callable[[], object]) -> int:
    """Trains in slices of `after` steps to the end, with one of `damage` done after each of the first slices;
    returns how many were stopped."""
    for count in range(20):
        asked = iter([False] * (after - 1) + [True])
        if train(TINY, config, CORPUS, folder, stop=lambda: next(asked)):  # noqa: B023
            return count
        for act in damage[count : count + 1]:
            act()
    raise AssertionError("it never ends")


def change(path: Path, **values: object) -> None:
    """Writes other values into a checkpoint."""
    torch.save({**torch.load(path, weights_only=True), **values}, path)


def test_a_run_whose_checkpoints_are_refused_begins_again_only_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(TINY, training(), CORPUS, tmp_path / "whole")
    folder = tmp_path / "parts"

    def refuse_all() -> None:
        for path in newest_first(folder):
            change(path, format=2)

    for _ in range(2):
        with pytest.raises(InputError, match="move that folder away to begin again at step 0"):
            slices(folder, training(), 3, lambda: None, refuse_all)
    assert ["is refused" in line for line in capsys.readouterr().err.splitlines()] == [True, True]
    assert len(list((folder / "checkpoint").glob("*.refused"))) == 2
    (folder / "checkpoint").rename(tmp_path / "away")
    assert slices(folder, training(), 3) == 4
    assert numbers(folder) == numbers(tmp_path / "whole")


@pytest.mark.parametrize(
    ("size", "kept"), [(None, 0), (0, 0), (20, 0), (-1, 5)], ids=["lost", "emptied", "truncated", "torn"]
)
def test_a_lost_log_costs_no_step(
    tmp_path: Path, size: int | None, kept: int, capsys: pytest.CaptureFixture[str]
) -> None:
    train(TINY, training(), CORPUS, tmp_path / "whole")
    folder = tmp_path / "parts"
    metrics = folder / "metrics.jsonl"

    def damage() -> None:
        if size is None:
            metrics.unlink()
        else:
            os.truncate(metrics, size if size >= 0 else metrics.stat().st_size + size)

    assert slices(folder, training(), 6, damage) == 2
    assert "metrics.jsonl lacks lines before step 6" in capsys.readouterr().err
    result, lines = numbers(folder)
    whole, all_lines = numbers(tmp_path / "whole")
    assert result == whole
    assert lines == all_lines[:kept] + all_lines[6:]


def test_checkpoints_of_the_format_before_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(TINY, training(), CORPUS, tmp_path / "whole")
    folder = tmp_path / "parts"

    def age() -> None:
        (path,) = newest_first(folder)
        change(path, format=3, metrics_bytes=(folder / "metrics.jsonl").stat().st_size, layers_bytes=0)

    assert slices(folder, training(), 6, age) == 2
    assert capsys.readouterr().err == ""
    assert numbers(folder) == numbers(tmp_path / "whole")


def test_a_resumed_run_holds_nothing_of_the_file_it_read(tmp_path: Path) -> None:
    """Another machine may delete it: what is mapped of it would then end the process."""
    train(TINY, training(), CORPUS, tmp_path, stop=lambda: True)
    (path,) = newest_first(tmp_path)
    seen: list[bool] = []

    def stop() -> bool:
        seen.append(path.name in Path("/proc/self/maps").read_text())
        return False

    train(TINY, training(), CORPUS, tmp_path, stop=stop)
    assert seen == [False] * 11


def test_leftovers_of_a_killed_write_are_cleared(tmp_path: Path) -> None:
    train(TINY, training(), CORPUS, tmp_path, stop=lambda: True)
    left = (tmp_path / ".result.json.4242.tmp", tmp_path / "checkpoint" / ".step-000000002.pt.4242.tmp")
    for path in left:
        path.write_text("half")
    train(TINY, training(), CORPUS, tmp_path)
    assert not any(path.exists() for path in left)


def test_a_resumed_run_keeps_its_threads(tmp_path: Path) -> None:
    train(TINY, training(), CORPUS, tmp_path, stop=lambda: True)
    result = train(TINY, training(), CORPUS, tmp_path, execution=ExecutionConfig(threads=2))
    assert result is not None
    assert result.environment["threads"] == 1


def test_a_checkpoint_of_another_run_is_not_taken_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(TINY, training(), CORPUS, tmp_path / "a", stop=lambda: True)
    with pytest.raises(InputError, match="none of the 1 checkpoints"):
        train(TINY, training(seed=1), CORPUS, tmp_path / "a")
    assert "another model, training or corpus" in capsys.readouterr().err


def test_unconstrained_injection_diverges_where_the_diagonal_one_converges(tmp_path: Path) -> None:
    """The paper's table 2 in miniature."""
    nano = preset("nano-32").model
    config = training(
        mean_recurrence=8, backward_depth=4, steps=60, batch_sequences=8, learning_rate=HIGH_RATE
    )
    unstable = type(nano).from_dict({**nano.to_dict(), "injection": Injection.CONCAT})
    diverged = train(unstable, config, CORPUS, tmp_path / "concat")
    assert diverged is not None
    assert diverged.status == "diverged"
    assert diverged.val_loss is None
    assert diverged.diverged_at is not None
    assert diverged.diverged_at.step == diverged.steps < 60
    assert diverged.diverged_at.injection_norm is not None
    assert diverged.diverged_at.injection_norm > 1
    assert numbers(tmp_path / "concat")[1][-1]["step"] == diverged.steps
    assert train(unstable, config, CORPUS, tmp_path / "concat") == diverged
    stable = train(nano, config, CORPUS, tmp_path / "diagonal")
    assert stable is not None
    assert stable.status == "done"
    assert stable.val_loss is not None
    assert stable.val_loss < 3.3
    assert stable.injection_norm is not None
    assert stable.injection_norm < 1


def test_the_fixed_depth_transformer_trains(tmp_path: Path) -> None:
    config = training(mean_recurrence=1, backward_depth=1, test_recurrences=(1,))
    result = train(shape(injection=Injection.NONE), config, CORPUS, tmp_path)
    assert result is not None
    assert result.injection_norm is None
    assert result.val_loss == result.losses["1"]
