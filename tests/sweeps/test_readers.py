"""Who only reads never needs to write: a study on a read-only disk, or open in a notebook, can be looked at;
a damaged database says what mends it; and a wait says for what."""

import math
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from parcae.errors import InputError, WorkFailed
from sweeps.folders.paths import Study
from sweeps.plan.grid import isoflop_grid
from sweeps.plan.manifest import plan_sweep
from sweeps.slurm import scheduler
from sweeps.store.collect import collect, collect_sweep, rebuild
from sweeps.store.database import read_telemetry
from tests.conftest import BIN, Command, tree
from tests.sweeps.studies import TEXT, finish, plan

LOOKS = (
    ("parcae-sweep", "status"),
    ("parcae-sweep", "why"),
    ("parcae-sweep", "export", "--output", "/dev/stdout"),
    ("parcae-fit", "isoflop"),
    ("parcae-fit", "report", "--format", "json", "--output", "{elsewhere}/report.json"),
)


@pytest.fixture
def finished(study: Study) -> Study:
    specs = isoflop_grid("nano", (1e10, 2e10), [1, 2, 4, 8], **TEXT)
    plan_sweep(study, "s", specs, [None] * len(specs))
    for spec in specs:
        finish(study, spec, 2.5 + 0.1 * math.log(spec.training.mean_recurrence / 3) ** 2)
    return study


def bound_by_modes(*words: str) -> tuple[str, ...]:
    """A command that may not write where nobody may, even if it is root's."""
    return ("setpriv", "--bounding-set=-dac_override", *words) if os.getuid() == 0 else words


@pytest.mark.parametrize("database", ["collected", "absent"])
def test_a_read_only_folder_can_be_looked_at(
    finished: Study, tmp_path_factory: pytest.TempPathFactory, database: str
) -> None:
    folder, elsewhere = finished.db.parent, tmp_path_factory.mktemp("elsewhere")
    if database == "collected":
        collect(finished.db)
    before = tree(folder)
    writable = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for path in writable:
        path.chmod(0o555)
    try:
        for words in LOOKS if database == "collected" else LOOKS[:1]:
            done = subprocess.run(
                bound_by_modes(str(BIN / words[0]), *(w.format(elsewhere=elsewhere) for w in words[1:])),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, (words, done.stderr)
            assert "8 done" in done.stderr or words[1] != "status"
        refused = subprocess.run(
            bound_by_modes(str(BIN / "parcae-sweep"), "rebuild"), cwd=folder, capture_output=True, text=True
        )
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "its folder cannot be written" in refused.stderr
    finally:
        for path in writable:
            path.chmod(0o755)
    assert tree(folder) == before


def test_a_notebook_that_reads_the_database_keeps_nobody_waiting(finished: Study, command: Command) -> None:
    collect(finished.db)
    finish(finished, plan(finished, budgets=(4e10,))[0], 2.2)
    with duckdb.connect(str(finished.db), read_only=True) as notebook:
        started = time.monotonic()
        status = command("parcae-sweep", "status")
        assert "9 done, 1 planned" in status.err
        assert time.monotonic() - started < 30
        assert len(collect_sweep(finished.db, None).runs) == 10  # in the process of the notebook
        assert notebook.execute("SELECT count(*) FROM runs").fetchone() == (8,)


@pytest.mark.parametrize("part", range(5))
def test_a_damaged_database_says_that_rebuild_mends_it(finished: Study, part: int) -> None:
    collect(finished.db)
    content = bytearray(finished.db.read_bytes())
    size = (len(content) - 3 * 4096) // 5  # blocks begin after three headers of 4 KiB
    chosen = random.Random(part)
    for _ in range(200):
        content[3 * 4096 + part * size + chosen.randrange(size)] ^= 255
    finished.db.write_bytes(content)
    plan(finished, budgets=(4e10,))

    def look() -> None:
        collect_sweep(finished.db, None)
        read_telemetry(finished.db, "s")

    with pytest.raises((InputError, WorkFailed), match="parcae-sweep rebuild"):
        look()
    rebuild(finished.db)
    look()


@pytest.mark.parametrize(
    "name", ["st*r", "[s]tar", "s{t,x}ar", "ü", "new\nline", "'", "$x", "wh?t", "back\\slash"]
)
def test_a_folder_may_have_any_name_or_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    """Without taking in what a neighbour measured."""
    for each in ("star", name):
        (tmp_path / each).mkdir()
        study = Study(tmp_path / each / "results.duckdb")
        finish(study, plan(study)[0], 2.5)
    if name in ("wh?t", "back\\slash"):
        with pytest.raises(InputError, match="rename the folder"):
            collect(study.db)
        return
    assert [run.state for run in collect_sweep(study.db, None).runs] == ["done"] + ["planned"] * 3
    assert len(read_telemetry(study.db, "s")) == 2


def test_a_locale_without_umlauts_is_enough(tmp_path: Path, command: Command) -> None:
    (tmp_path / "ü").mkdir()
    study = Study(tmp_path / "ü" / "results.duckdb")
    spec, other, *_ = plan(study)
    finish(study, spec, 2.5)
    finish(study, other, 2.5, status="ü")
    db = ("--db", str(study.db))
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for env in ({"LC_ALL": "C"}, plain):
        for words in (["collect", *db], ["status", *db], ["why", *db], ["rebuild", *db]):
            done = command("parcae-sweep", *words, env=env)
            assert "Traceback" not in done.err
            assert done.code == 0 or env is plain, done.err
            assert done.code in (0, 2)


def test_whoever_waits_is_told_for_what(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.folders.locks.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("sweeps.slurm.scheduler.PATIENCE_SECONDS", 0.1)
    release = threading.Event()

    def hold() -> None:
        with study.locked():
            taken.set()
            release.wait(30)

    taken = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait(30)
    threading.Timer(0.5, release.set).start()
    with study.locked():
        pass
    holder.join()
    assert (
        capsys.readouterr().err
        == f"waiting for another plan, submit or cancel, which holds {study.runs / 'lock'}\n"
    )

    hanging = tmp_path / "bin" / "squeue"
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\nsleep 0.5\n")
    hanging.chmod(0o755)
    assert scheduler.command(str(hanging)) == ""
    assert capsys.readouterr().err == f"waiting for SLURM's {hanging}\n"

    plan(study)
    collect(study.db)
    writing = (
        f"import duckdb, sys; c = duckdb.connect({str(study.db)!r}); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", writing], stdin=-1, stdout=-1) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        writer.stdout.readline()
        threading.Timer(0.5, writer.stdin.close).start()
        collect(study.db)
    assert capsys.readouterr().err == f"waiting for another process that has {study.db} open\n"
