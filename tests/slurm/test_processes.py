"""Two processes of one run, a task on each of two nodes, train as one and resume as one."""

import json
from pathlib import Path

from tests.slurm.shell import LONG, Shell, events, final_losses, specs, steps_logged, until

PROFILE = """
nodes = 2
micro_batch_sequences = 4
activation_checkpointing = true
telemetry = "extreme"
"""


def test_two_processes_over_two_nodes_train_as_one_and_resume_as_one(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    (spec,) = specs(LONG, [1], [0])
    shells, runs = [], []
    for name in ("interrupted", "undisturbed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cluster.toml").write_text(PROFILE)
        shells.append(Shell(tmp_path / name, cluster))
        runs += shells[-1].plan([spec])
        assert shells[-1]("submit").code == 0
    interrupted, undisturbed = runs
    job = shells[0].job(interrupted)
    until(lambda: steps_logged(interrupted) >= 3)
    shells[0].slurm("scancel", "--signal=USR2", job)
    assert "n[1-2]" in shells[0].slurm("sacct", "--allocations", "--format=NodeList", f"--jobs={job}")
    until(lambda: len(events(interrupted, "started")) == 2)
    for run in runs:
        until(run.result.exists)
        assert json.loads(run.result.read_text())["environment"]["processes"] == 2
        assert steps_logged(run) == spec.training.steps
        assert (run.path / "layers.jsonl").stat().st_size > 0
    assert final_losses(interrupted) == final_losses(undisturbed)
    assert len(list(shells[0].study.slurm.glob(f"{job}_[01]_log.out"))) == 2
    assert shells[0].states() == ["done"]
