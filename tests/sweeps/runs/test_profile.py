"""cluster.toml: what is asked of SLURM for each model, and refusals in a sentence."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from parcae.config import ExecutionConfig, Telemetry
from parcae.errors import InputError
from sweeps.folders.paths import Study
from sweeps.runs.profile import Profile, read_profiles
from sweeps.slurm.submit import check_cap, script

DOCS = Path(__file__).parents[3] / "docs" / "clusters.md"


def read(tmp_path: Path, text: str) -> Profile:
    (tmp_path / "cluster.toml").write_text(text)
    return read_profiles(tmp_path / "cluster.toml").of("nano")


def test_without_a_file_the_defaults(tmp_path: Path) -> None:
    assert read_profiles(tmp_path / "cluster.toml").of("nano") == Profile()


def test_a_models_own_table_overrides_the_rest(tmp_path: Path) -> None:
    text = 'partition = "a"\ntime_minutes = 60\n[model.nano]\ntime_minutes = 5\n'
    assert read(tmp_path, text) == Profile(partition="a", time_minutes=5)
    assert read_profiles(tmp_path / "cluster.toml").of("small-140m") == Profile(
        partition="a", time_minutes=60
    )


def test_a_process_for_each_gpu(tmp_path: Path) -> None:
    profile = read(tmp_path, "nodes = 2\ngpus_per_node = 4\ntime_minutes = 90\n")
    assert (profile.tasks_per_node, profile.processes, profile.devices) == (4, 8, 8)
    assert profile.device_hours == 12


def test_how_a_run_is_executed_is_for_its_processes(tmp_path: Path) -> None:
    text = "cpus_per_task = 3\nmicro_batch_sequences = 8\nactivation_checkpointing = true\ncompile = false\n"
    text += 'telemetry = "extreme"\ncheckpoint_seconds = 600\n'
    assert read(tmp_path, text).execution == ExecutionConfig(
        checkpoint_seconds=600,
        threads=3,
        micro_batch_sequences=8,
        activation_checkpointing=True,
        compile=False,
        telemetry=Telemetry.EXTREME,
    )
    assert Profile().execution == ExecutionConfig()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("partitoin = 'a'", "the key partitoin is unknown; there are partition, account"),
        ("time_minutes = '60'", "'60'"),
        ("time_minutes = true", "True"),
        ("time_minutes = 0", "at least 1"),
        ("gpus_per_node = -1", "negative"),
        ("setup = 'module load cuda'", "it takes a list"),
        ("gpus_per_node = 8\nconcurrent = 4", "one run uses 8"),
        ("[model.nano]\nqueue = 'a'", "the key queue is unknown"),
        ("time_minutes = ", "cannot read"),
        ("micro_batch_sequences = 0", "at least 1"),
        ("checkpoint_seconds = -1", "negative"),
        ("checkpoint_seconds = nan", "negative"),
        ("checkpoint_seconds = '10'", "a number"),
        ("activation_checkpointing = 1", "true or false"),
        ("compile = 'yes'", "true or false"),
        ("telemetry = 'all'", "'all'; it takes normal or extreme"),
        ("model = 3", "model"),
        ("[model]\nnano = 3", "nano"),
        ("[model.nona]\nnodes = 2", "'nona'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)):
        read(tmp_path, text)


def test_device_hours_are_checked_against_the_cap_before_anything_is_sent() -> None:
    profile = Profile(gpus_per_node=2, time_minutes=30, gpu_hours_cap=3.0)
    check_cap({profile: ["a", "b", "c"]})
    with pytest.raises(InputError, match=r"4 GPU-hours are more than gpu_hours_cap = 3"):
        check_cap({profile: ["a", "b", "c", "d"]})
    with pytest.raises(InputError, match=r"limits of 4 GPU-hours"):
        check_cap({profile: ["a", "b"], replace(profile, cpus_per_task=2): ["c", "d"]})


def test_a_warning_comes_within_the_time_limit(study: Study) -> None:
    assert "--signal=USR2@55" in script(study, Profile(time_minutes=1), runs=1)
    assert "--signal=USR2@90" in script(study, Profile(time_minutes=2), runs=1)


def test_the_example_for_gpus_in_the_docs_asks_for_what_it_says(tmp_path: Path, study: Study) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "cluster.toml").write_text(example)
    profiles = read_profiles(tmp_path / "cluster.toml")
    text = script(study, profiles.of("large-770m"), runs=10)
    for expected in (
        *("--partition=gpu", "--account=lab", "--gpus-per-node=8", "--ntasks-per-node=8", "--nodes=2"),
        *("--array=0-9%4", "--signal=USR2@120", "--cpus-per-task=12", "module load cuda/12", "--requeue"),
    ):
        assert expected in text
    assert profiles.of("small-140m").processes == 1
