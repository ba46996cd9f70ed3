"""What speaks against starting a sweep, on this machine and on SLURM."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from sweeps.control.costs import price_runs, summary
from sweeps.control.launch import planned_specs
from sweeps.control.objections import objection
from sweeps.folders.paths import Study
from sweeps.folders.records import Cancellation, write_record
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import isoflop_grid
from sweeps.runs.profile import Profile, Profiles
from sweeps.store.collect import collect
from tests.conftest import BIN, Command
from tests.sweeps.studies import TEXT, finish, plan


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def runs(model: str, flops: float, recurrence: int = 4) -> list[RunSpec]:
    return isoflop_grid(model, [flops], [recurrence], **TEXT)


def test_nano_runs_start_without_a_question_and_the_published_sizes_do_not(study: Study) -> None:
    assert objection(study, runs("nano", 1e9), None, 2, None) is None
    found = objection(study, runs("small-140m", 1e19), None, 2, None)
    assert "bfloat16" in found
    assert "hours on this machine, which has no GPU" in found
    one, two = (
        objection(study, runs("nano-128", 1e16), None, slots, None).split("about ")[1].split(" hours")[0]
        for slots in (1, 2)
    )
    assert int(one.replace(",", "")) == pytest.approx(2 * int(two.replace(",", "")), abs=2)
    assert objection(study, runs("nano-128", 1e13), None, 2, None) is None  # an hour


def test_on_slurm_it_is_the_gpus_that_count(study: Study) -> None:
    with_gpus, without = Profiles(Profile(gpus_per_node=1), {}), Profiles(Profile(), {})
    small, large = runs("small-140m", 1e19), runs("xlarge-1.3b", 1e20, 12)
    assert "asks for no GPU" in objection(study, small, without, None, None)
    assert objection(study, small, with_gpus, None, "H100 80GB HBM3") is None
    assert objection(study, large, with_gpus, None, None) is None  # nobody said which GPUs
    assert "GiB of memory" in objection(study, large, with_gpus, None, "GeForce RTX 4090")


def test_a_run_that_ended_says_how_fast_its_shape_is(study: Study) -> None:
    specs = plan(study)
    before = price_runs(study, specs[:2], None)
    assert all("assumption" in each.here.hours_from for each in before)
    finish(
        study,
        specs[0],
        tokens_per_second=1000.0,
        environment={"device": "cpu", "processes": 1},
    )
    collect(study.db)
    first, other = price_runs(study, specs[:2], None)
    assert first.here.hours == pytest.approx(specs[0].tokens / 1000 / 3600)
    assert first.here.hours_from == "as fast as a run of the shape was"
    assert "assumption" in other.here.hours_from
    assert [spec.run_id for spec in planned_specs(study, "s")] == [spec.run_id for spec in specs[1:]]
    assert any("on this machine" in line for line in summary([first, other]))


def test_plan_and_rehearsal_show_the_cost(command: Command) -> None:
    planned = command(
        "parcae-sweep", "plan", "--flops", "1e19", "--recurrences", "8", "--device", "H200", "--json"
    )
    (run,) = planned.json["runs"]
    assert run["device"] == "H200"
    assert run["fits"] is True
    assert run["gpu_hours"] == pytest.approx(7.02, rel=0.01)
    assert run["memory_gib"] == pytest.approx(
        sum(run["memory"][f"{part}_gib"] for part in ("weights", "states", "activations", "logits"))
    )
    json.dumps(planned.json, allow_nan=False)
    rehearsed = command("parcae-sweep", "submit", "--dry-run", "--cluster", "local")
    assert "GPU-hours in all" in rehearsed.err
    assert "on this machine" in rehearsed.err


def test_submit_asks_on_a_terminal_and_refuses_in_a_pipe(command: Command, tmp_path: Path) -> None:
    plan_of_days = ("plan", "--model", "nano-128", "--flops", "1e17", "--recurrences", "4")
    assert "--epochs-allowed" in command("parcae-sweep", *plan_of_days).sentence
    planned = command("parcae-sweep", *plan_of_days, "--epochs-allowed", "2000")
    assert "warning: the largest run sees the" in planned.err
    submit = ("submit", "--cluster", "local")
    refused = command("parcae-sweep", *submit)
    assert refused.code == 2
    assert "hours on this machine" in refused.sentence
    assert "give --yes" in refused.sentence
    terminal, shell = pty.openpty()
    asked = subprocess.Popen(
        [BIN / "parcae-sweep", *submit], cwd=tmp_path, stdin=shell, stderr=subprocess.PIPE, text=True
    )
    os.write(terminal, b"n\n")
    said = asked.communicate(timeout=200)[1]
    assert asked.returncode == 2
    assert "Start them?" in said
    assert "nothing was started" in said
    (run,) = command("parcae-sweep", "status", "--json").json["runs"]
    assert run["state"] == "planned"

    folder = Study(tmp_path / "results.duckdb").run(run["run_id"])
    folder.path.mkdir()
    write_record(folder.cancelled, Cancellation(at=0.0))
    refused = command("parcae-sweep", "retry", "--state", "cancelled", "--cluster", "local")
    assert refused.code == 2
    assert "hours on this machine" in refused.sentence
    assert folder.cancelled.exists()
