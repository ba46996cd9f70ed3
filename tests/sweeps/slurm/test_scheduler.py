"""What is asked of SLURM, and answers that no SLURM should give. The commands are scripts that print them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.folders.paths import Study
from sweeps.runs.states import State
from sweeps.slurm.scheduler import Answer, ask

Say = Callable[..., None]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Puts a SLURM command into the path that notes its arguments and runs a line of shell."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def script(**commands: str) -> None:
        for name, line in commands.items():
            path = tmp_path / name
            path.write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/asked\n{line}\n')
            path.chmod(0o755)

    script(scontrol="echo 'Slurmctld(primary) at here is UP'", squeue="", sacct="")
    return script


def asked(study: Study, *jobs: str) -> Answer:
    study.slurm.mkdir(parents=True, exist_ok=True)
    study.answer.unlink(missing_ok=True)
    return ask(study, dict.fromkeys(jobs, time.time() - 100))


def test_jobs_are_asked_for_by_id_whoever_asks(study: Study, say: Say, tmp_path: Path) -> None:
    say(squeue="echo '7_0|PENDING|Priority|0:00|2:00|'")
    answer = asked(study, "7_0", "7_1", "9_3")
    lines = (tmp_path / "asked").read_text().splitlines()
    squeue = next(line for line in lines if "/squeue " in line)
    assert "--jobs=7,9" in squeue
    assert "user" not in squeue
    assert answer.status("7_0").state is State.QUEUED
    assert answer.status("9_3").state is State.UNKNOWN


def test_an_answer_to_another_user_is_asked_for_again(study: Study, say: Say) -> None:
    first = asked(study, "7_0")
    assert ask(study, {"7_0": time.time() - 100}).answered_at == first.answered_at
    content = study.answer.read_text()
    assert f'"asked_by": {os.getuid()}' in content
    study.answer.write_text(content.replace(f'"asked_by": {os.getuid()}', '"asked_by": 4242'))
    say(squeue="echo '7_0|RUNNING|None|1:00|2:00|n1'")
    assert ask(study, {"7_0": time.time() - 100}).status("7_0").state is State.RUNNING


@pytest.mark.parametrize(
    "line",
    [
        "echo '|||||'",
        "printf '\\377\\376|\\377|x|y|z|w\\n'",
        "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
        "echo; echo 'Welcome to the cluster'",
    ],
)
def test_an_answer_without_the_job_leaves_it_unknown(study: Study, say: Say, line: str) -> None:
    say(squeue=line, sacct=line)
    status = asked(study, "7_0").status("7_0")
    assert status.state is State.UNKNOWN


def test_a_controller_that_fails_is_silent(study: Study, say: Say) -> None:
    say(squeue="echo 'Unable to contact slurm controller' >&2; exit 1")
    assert asked(study, "7_0").is_silent
