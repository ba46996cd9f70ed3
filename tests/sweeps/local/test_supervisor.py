"""This machine as a cluster: several shells at once, Ctrl-C, cancel and retry, through the real commands."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.folders.locks import is_locked, signal_owner
from sweeps.folders.paths import Study
from sweeps.folders.records import Attempt, json_or_none, read_lines
from sweeps.local.supervisor import enqueue
from sweeps.plan.manifest import read_manifest
from sweeps.runs.profile import Profile
from sweeps.store.collect import rebuild
from tests.conftest import BIN, Command
from tests.sweeps.store.test_collect import content

PLAN = ("plan", "--model", "nano", "--sweep", "s", "--recurrences", "1", "--json", "--flops")


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [BIN / arguments[0], *arguments[1:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(seen: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_many_shells_at_once_start_each_run_once(command: Command, tmp_path: Path) -> None:
    runs = command("parcae-sweep", *PLAN, "3e9", "--seeds", "0,1,2").json["runs"]
    submit = ("parcae-sweep", "submit", "--cluster", "local", "--detach")
    status, collect = ("parcae-sweep", "status", "--json"), ("parcae-sweep", "collect")
    report = ("parcae-fit", "report", "--sweep", "published")
    shells = [start(tmp_path, *words) for words in (submit, status, submit, collect, submit, report, status)]
    said = [shell.communicate(timeout=120) for shell in shells]
    assert [shell.returncode for shell in shells] == [0] * len(shells), said
    handed_over = [found[1] for _, err in said if (found := re.search(r"(\d+) of 3 runs handed to", err))]
    assert sorted(handed_over) == ["0", "0", "3"]
    assert command("parcae-sweep", "watch").code == 0
    study = Study(tmp_path / "results.duckdb")
    for run in runs:
        attempts = [attempt.event for attempt in read_lines(study.run(run["run_id"]).attempts, Attempt)]
        assert attempts == ["started", "ended"]
    before = content(study)
    rebuild(study.db)
    assert content(study) == before


def test_ctrl_c_stops_watching_and_a_second_one_the_runs(command: Command, tmp_path: Path) -> None:
    (run,) = command("parcae-sweep", *PLAN, "1e13").json["runs"]
    folder = Study(tmp_path / "results.duckdb").run(run["run_id"])

    def states() -> list[str]:
        return [now["state"] for now in command("parcae-sweep", "status", "--json").json["runs"]]

    def ctrl_c(shell: "subprocess.Popen[str]", times: int) -> str:
        assert shell.stderr is not None
        said = ""
        for _ in range(times):
            shell.send_signal(signal.SIGINT)
            while "second Ctrl-C" not in said:
                said += shell.stderr.readline()
        return said + shell.communicate(timeout=60)[1]

    shell = start(tmp_path, "parcae-sweep", "submit", "--cluster", "local")
    until(lambda: folder.metrics.exists() and folder.metrics.read_bytes())
    assert "the runs go on" in ctrl_c(shell, 1)
    assert shell.returncode == 130
    assert states() == ["running"]

    shell = start(tmp_path, "parcae-sweep", "watch")
    assert shell.stderr is not None
    assert "running" in shell.stderr.readline()
    assert "1 runs cancelled" in ctrl_c(shell, 2)
    until(lambda: states() == ["cancelled"])
    steps = json.loads(folder.metrics.read_bytes().splitlines()[-1])["step"]
    assert "0 of 1" in command("parcae-sweep", "submit", "--cluster", "local").err

    assert (
        command("parcae-sweep", "retry", "--state", "cancelled", "--cluster", "local", "--detach").code == 0
    )
    until(lambda: json.loads(folder.metrics.read_bytes().splitlines()[-1])["step"] > steps)
    assert command("parcae-sweep", "cancel", run["run_id"][:6]).code == 0
    until(lambda: states() == ["cancelled"])
    refused = command("parcae-sweep", "cancel", run["run_id"])
    assert (refused.code, "is cancelled" in refused.sentence) == (2, True)


def test_each_run_has_a_gpu_of_its_own(command: Command, tmp_path: Path) -> None:
    """As the shell names them; the runs find no such GPUs here, and train on the processor."""
    planned = command("parcae-sweep", *PLAN, "1e13", "--seeds", "0,1,2").json["runs"]
    study = Study(tmp_path / "results.duckdb")
    submit = ("submit", "--cluster", "local", "--detach")
    assert command("parcae-sweep", *submit, env={"CUDA_VISIBLE_DEVICES": "3,5"}).code == 0

    def held() -> dict[str, str]:
        """Run id -> its GPU, of the runs that train."""
        ids = [run["run_id"] for run in planned if is_locked(study.run(run["run_id"]).lock)]
        started = {run_id: json_or_none(study.queue / run_id) for run_id in ids}
        return {run_id: plain["gpu"] for run_id, plain in started.items() if plain and plain["gpu"]}

    until(lambda: len(held()) == 2)
    before = held()
    assert sorted(before.values()) == ["3", "5"]

    signal_owner(study.supervisor_lock, signal.SIGKILL)
    until(lambda: not is_locked(study.supervisor_lock))
    assert command("parcae-sweep", *submit, env={"CUDA_VISIBLE_DEVICES": "3,5"}).code == 0
    ended = next(run_id for run_id, gpu in before.items() if gpu == "3")
    assert command("parcae-sweep", "cancel", ended).code == 0
    until(lambda: len(held().keys() - {ended}) == 2)
    assert sorted(held().values()) == ["3", "5"]
    assert command("parcae-sweep", "cancel").code == 0
    until(lambda: not held())


def test_a_run_whose_result_is_wrong_can_be_retried(command: Command, tmp_path: Path) -> None:
    (run,) = command("parcae-sweep", *PLAN, "3e9").json["runs"]
    folder = Study(tmp_path / "results.duckdb").run(run["run_id"])
    folder.path.mkdir()
    folder.result.write_text("{}")
    assert "1 failed" in command("parcae-sweep", "status").err
    (tmp_path / "cluster.toml").write_text('telemetry = "extreme"\n')
    assert command("parcae-sweep", "retry", run["run_id"], "--cluster", "local").code == 0
    assert "1 done" in command("parcae-sweep", "status").err
    assert (folder.path / "result.json.refused").read_text() == "{}"
    assert (folder.path / "layers.jsonl").stat().st_size > 0


def test_what_is_wrong_with_one_queued_run_concerns_no_other(command: Command, tmp_path: Path) -> None:
    seeds = ",".join(map(str, range(8)))
    ids = [run["run_id"] for run in command("parcae-sweep", *PLAN, "1e8", "--seeds", seeds).json["runs"]]
    study = Study(tmp_path / "results.duckdb")
    kind, folder, key, flipped, half, foreign, locked, good = ids
    manifest = read_manifest(study, "s")
    assert manifest is not None
    for run_id in ids:
        study.run(run_id).path.mkdir()
        study.run(run_id).spec.write_text(manifest.specs[run_id].json)
    enqueue(study, {Profile(): ids})
    entries = {run_id: study.queue / run_id for run_id in ids}
    entries[kind].write_text('{"execution": {"threads": "many"}}')
    shutil.rmtree(study.run(folder).path)
    entries[key].write_text(json.dumps(json.loads(entries[key].read_text()) | {"added_later": 1}))
    entries[flipped].write_text(entries[flipped].read_text().replace('"threads": 1', '"threads": 3'))
    entries[half].write_text(entries[half].read_text()[:30])
    entries[foreign].write_bytes(entries[good].read_bytes())
    study.run(locked).lock.mkdir()  # as a stand-in for any error of the disk
    (study.queue / "0123456789abcdef").write_text("{}")
    (study.queue / "notes.txt").write_text("a user's own")
    (study.queue / "folder").mkdir()

    supervisor = (sys.executable, "-m", "sweeps.local.supervisor", str(study.db), "--slots", "2")
    assert subprocess.run(supervisor, timeout=60).returncode == 0
    watched = command("parcae-sweep", "watch")
    assert (watched.code, "1 done, 6 failed, 1 unknown" in watched.err) == (1, True), watched.err
    assert f"cannot look at {study.run(locked).lock}: Is a directory" in command("parcae-sweep", "why").out
    study.run(locked).lock.rmdir()
    runs = command("parcae-sweep", "status", "--json").json["runs"]
    why = {run["run_id"]: run["reason"] for run in runs}
    assert why.pop(good) is None
    assert "execution.threads is 'many'; it takes a whole number" in why[kind]
    assert "its folder was deleted while it was queued; retry it" in why[folder]
    assert "damaged or was edited" in why[key]
    assert "damaged or was edited" in why[flipped]
    assert "is not whole JSON" in why[half]
    assert f"is the entry of run {good}" in why[foreign]
    assert "could not be started 3 times, the last because of IsADirectoryError" in why[locked]
    assert why[folder] in command("parcae-sweep", "why", folder).out
    assert sorted(path.name for path in study.queue.iterdir()) == ["folder", "notes.txt"]


def test_files_in_the_working_folder_are_not_imported(command: Command, tmp_path: Path) -> None:
    for name in ("parcae", "analysis", "typer", "torch", "json", "random", "numpy"):
        (tmp_path / f"{name}.py").write_text("print(1)\n")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "__init__.py").write_text("")
    assert command("parcae-sweep", *PLAN, "3e9").code == 0
    submitted = command("parcae-sweep", "submit", "--cluster", "local")
    assert submitted.code == 0, submitted.err
    assert "1 done" in command("parcae-sweep", "status").err


def test_no_python_that_a_run_starts_imports_from_the_working_folder(tmp_path: Path) -> None:
    """torch starts some to compile."""
    (tmp_path / "random.py").write_text("print('executed')")
    starting = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import random'], check=True)"
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            f"from sweeps.runs.environment import import_safely\nimport_safely()\n{starting}",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""


def test_a_supervisor_that_is_killed_again_and_again_is_given_up_and_told(
    command: Command, tmp_path: Path
) -> None:
    """Another program, or the kernel for lack of memory, kills each as soon as it starts."""
    (tmp_path / "deadly").mkdir()
    (tmp_path / "deadly" / "sitecustomize.py").write_text(
        "import os, sys\nif 'sweeps.local.supervisor' in sys.orig_argv:\n    os.kill(os.getpid(), 9)\n"
    )
    assert command("parcae-sweep", *PLAN, "1e8").code == 0
    paths = filter(None, [str(tmp_path / "deadly"), os.environ.get("PYTHONPATH")])
    submit = ("parcae-sweep", "submit", "--cluster", "local")
    submitted = command(*submit, env={"PYTHONPATH": os.pathsep.join(paths)}, timeout=60)
    assert (submitted.code, "failed with signal 9" in submitted.err) == (1, True)
    watching = start(tmp_path, "parcae-sweep", "watch")
    assert watching.stderr is not None
    said = ""
    while "waiting: " not in said:
        said = watching.stderr.readline()
        assert said
    assert "failed with signal 9" in said
    assert command(*submit).code == 0
    assert "1 done" in watching.communicate(timeout=60)[1]


def test_leftovers_of_killed_writes_are_cleared_at_the_next_start(command: Command, tmp_path: Path) -> None:
    (run,) = command("parcae-sweep", *PLAN, "1e8").json["runs"]
    study = Study(tmp_path / "results.duckdb")
    folder = study.run(run["run_id"]).path
    old = [study.sweeps / ".s.json.7.tmp", study.queue / ".x.7.tmp", folder / ".spec.json.7.tmp"]
    under_way = study.sweeps / ".t.json.7.tmp"
    for path in (*old, under_way):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in old:
        os.utime(path, (1, 1))
    assert command("parcae-sweep", "submit", "--cluster", "local", "--detach").code == 0
    assert [path for path in (*old, under_way) if path.exists()] == [under_way]
    assert command("parcae-sweep", "watch").code == 0


def test_a_long_tmpdir_stops_no_run(command: Command, tmp_path: Path) -> None:
    long = tmp_path / ("t" * (107 - len(str(tmp_path)) - 1))
    long.mkdir()
    assert command("parcae-sweep", *PLAN, "3e9").code == 0
    submitted = command("parcae-sweep", "submit", "--cluster", "local", env={"TMPDIR": str(long)}, timeout=60)
    assert submitted.code == 0, submitted.err


@pytest.mark.parametrize("more", [(), ("--detach",)])
def test_a_supervisor_that_cannot_start_is_reported(
    command: Command, tmp_path: Path, more: tuple[str, ...]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(
        "import sys\nif 'sweeps.local.supervisor' in sys.orig_argv:\n    sys.exit('no supervisor today')\n"
    )
    assert command("parcae-sweep", *PLAN, "3e9").code == 0
    paths = filter(None, [str(tmp_path / "broken"), os.environ.get("PYTHONPATH")])
    broken = {"PYTHONPATH": os.pathsep.join(paths)}
    submitted = command("parcae-sweep", "submit", "--cluster", "local", *more, env=broken, timeout=60)
    assert submitted.code == 1
    assert "exit code 1 (SystemExit: no supervisor today)" in submitted.err.splitlines()[-1]
    (seen,) = command("parcae-sweep", "status", "--json").json["runs"]
    assert seen["state"] == "queued"
    assert "no supervisor today" in seen["reason"]
    assert seen["reason"] in command("parcae-sweep", "why", seen["run_id"]).out
    assert command("parcae-sweep", "submit", "--cluster", "local").code == 0
    assert "1 done" in command("parcae-sweep", "status").err
