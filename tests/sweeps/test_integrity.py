"""A file that was damaged or exchanged gives the right number or a sentence, and concerns its own run alone.

Every bit instead of a sample: FLIPS=all pytest tests/sweeps/test_integrity.py
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from parcae.config import ExecutionConfig
from parcae.errors import InputError
from parcae.training.result import read_result
from sweeps.control.explain import explain
from sweeps.control.overview import overview, unverified
from sweeps.folders.paths import Study
from sweeps.folders.records import QueueEntry, read_record, write_record
from sweeps.folders.spec import RunSpec
from sweeps.plan.manifest import plan_sweep, read_manifest
from sweeps.runs.states import State
from sweeps.store.collect import collect_sweep, rebuild
from sweeps.store.rows import RunRow
from tests.conftest import Command
from tests.sweeps.studies import finish, plan

ALL = os.environ.get("FLIPS") == "all"


def finish_sealed(study: Study, spec: RunSpec, loss: float) -> None:
    """What a run leaves that ends today."""
    finish(study, spec, loss)
    result = read_result(study.run(spec.run_id).path)
    assert result is not None
    replace(result, run_id=spec.run_id).write(study.run(spec.run_id).path)


@pytest.fixture
def specs(study: Study) -> list[RunSpec]:
    """A study of four runs, three of them finished, each with another loss."""
    specs = plan(study)
    plan_sweep(study, "s", specs, [None] * 4)
    for number, spec in enumerate(specs[:3]):
        finish_sealed(study, spec, 2.5 + 0.1 * number)
    return specs


def flips(path: Path, sample: int, head: int = 0) -> Iterator[bytes]:
    """The content of `path` with one bit flipped, in the file while it is looked at: each of its first `head`
    bytes, and a sample of all."""
    whole = path.read_bytes()
    bits = range(8 * len(whole))
    for bit in bits if ALL else [*bits[: 8 * head], *random.Random(0).sample(bits, sample)]:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        os.utime(path, ns=(bit, bit))  # two writes may have one time
        yield bytes(flipped)
    path.write_bytes(whole)


def rows(study: Study) -> dict[str, RunRow]:
    return {run.run_id: run for run in collect_sweep(study.db, "s").runs}


def test_a_flipped_bit_of_a_result_never_gives_another_loss(study: Study, specs: list[RunSpec]) -> None:
    before = rows(study)
    damaged = specs[1].run_id
    for content in flips(study.run(damaged).result, 8):
        after = rows(study)
        run = after.pop(damaged)
        assert after == {run_id: row for run_id, row in before.items() if run_id != damaged}
        if run.state is State.DONE:
            assert replace(run, result="", signature="") == replace(before[damaged], result="", signature="")
        else:
            assert (run.state, run.val_loss) == (State.FAILED, None), content
            assert "result.json" in (run.reason or ""), content


def test_a_flipped_bit_of_a_specification_takes_nothing_from_a_finished_run(
    study: Study, specs: list[RunSpec]
) -> None:
    before = rows(study)
    for content in flips(study.run(specs[1].run_id).spec, 4):
        rebuild(study.db)
        assert rows(study) == before, content


def test_a_flipped_bit_of_a_manifest_exchanges_no_run(study: Study, specs: list[RunSpec]) -> None:
    plan_sweep(study, "predicted", specs, [3.0, 3.1, None, 3.3])
    path = study.manifest("predicted")
    before = read_manifest(study, "predicted")
    assert before is not None
    for content in flips(path, 200, head=60):
        after = read_manifest(study, "predicted")
        assert after is not None
        assert after.specs.items() <= before.specs.items(), content
        lost = before.specs.keys() - after.specs.keys()
        assert len(lost) <= 1, content
        changed = {key: loss for key, loss in after.predicted.items() if loss != before.predicted[key]}
        assert set(changed.values()) <= {None}, content
        assert len(lost) + len(changed) == 0 or len(after.damage) == 1, content


def test_a_flipped_bit_of_a_queue_entry_changes_no_setting(study: Study) -> None:
    path = study.db.parent / "0123456789abcdef"
    entry = QueueEntry(execution=ExecutionConfig(threads=2), gpu="1", run_id=path.name)
    write_record(path, entry)
    for content in flips(path, 200):
        with suppress(InputError):
            assert read_record(path, QueueEntry) == entry, content


def test_damage_is_told_by_every_command_that_shows_states_and_planning_again_mends_it(
    study: Study, specs: list[RunSpec], command: Command
) -> None:
    path = study.manifest("s")
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    path.write_text("".join([*lines[:4], lines[4].replace('"seed":0', '"seed":1'), lines[5]]))
    status = command("parcae-sweep", "status")
    assert status.code == 0
    assert "run 4 of the sweep s is left out" in status.err
    assert "3 done" in status.err
    seen = command("parcae-sweep", "status", "--json").json
    assert (len(seen["runs"]), len(seen["damage"])) == (3, 1)
    assert {run["verified"] for run in seen["runs"]} == {True}
    damaged = path.read_text()
    plan(study)
    assert path.with_name("s.json.refused").read_text() == damaged
    assert len(rows(study)) == 4
    assert command("parcae-sweep", "status", "--json").json["damage"] == []


def test_a_run_folder_under_another_name_is_not_that_run(study: Study, specs: list[RunSpec]) -> None:
    source, copy = study.run(specs[0].run_id).path, study.run(specs[1].run_id).path
    shutil.rmtree(copy)
    shutil.copytree(source, copy)
    run = rows(study)[specs[1].run_id]
    assert run.state is State.FAILED
    assert run.reason == f"result.json is that of run {specs[0].run_id}"


OTHER = {"val_loss": 2.0, "losses": {"1": 2.1, "24": 2.0}}


@pytest.mark.parametrize(
    "changes",
    [
        {"val_loss": 2.0},
        {"val_loss": -2.5, "losses": {"1": -2.5, "24": -2.6}},
        {"losses": {}},
        {"losses": {"1": 2.5, "x": 2.5}},
        {"losses": {"1": 2.5, "9" * 30: 2.5}},
        {"losses": {"1": 2.5, "\ud800": 2.5}},
        {"parameters": 7},
        {"status": "diverged"},
        {"\udfff": 1, "val_loss": 2.0},
        OTHER,
    ],
)
def test_an_edited_result_from_before_checksums_is_checked_for_consistency(
    study: Study, changes: dict[str, Any]
) -> None:
    spec = plan(study)[0]
    finish(study, spec, 2.5)
    assert [run.run_id for run in unverified(collect_sweep(study.db, "s"))] == [spec.run_id]
    finish(study, spec, 2.5, **changes)
    os.utime(study.run(spec.run_id).result, ns=(1, 1))
    run = rows(study)[spec.run_id]
    assert (run.state, run.val_loss) == (State.FAILED, None)
    assert len((run.reason or "").splitlines()) == 1


HOSTILE = {
    "deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "a number": "7",
    "a text": '"x"',
    "huge": '{"steps": ' + "9" * 10_000 + "}",
    "no UTF-8": "\xff",
}
FILES: dict[str, Callable[[Study, str], Path]] = {
    "result": lambda study, run_id: study.run(run_id).result,
    "failure": lambda study, run_id: study.run(run_id).failure,
    "submission": lambda study, run_id: study.run(run_id).submission,
    "cancelled": lambda study, run_id: study.run(run_id).cancelled,
    "array": lambda study, run_id: study.array("parcae-0"),
    "answer": lambda study, run_id: study.answer,
    "manifest": lambda study, run_id: study.manifest("notes"),
    "supervisor": lambda study, run_id: study.supervisor_failure,
}


@pytest.mark.parametrize("file", FILES)
def test_odd_json_stops_no_command(study: Study, specs: list[RunSpec], file: str) -> None:
    run_id = specs[3].run_id
    study.run(run_id).path.mkdir()
    before = rows(study)
    path = FILES[file](study, run_id)
    for content in HOSTILE.values():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode("latin-1"))
        after = rows(study)
        assert all(after[spec.run_id] == before[spec.run_id] for spec in specs[:3]), content[:9]
        assert after[run_id].state is not State.DONE
        explained = explain(study, run_id)
        assert len((explained.status.reason or "").splitlines()) <= 1
        overview(study, collect_sweep(study.db, None))


def test_stray_files_among_the_sweeps_are_none_of_ours(
    study: Study, specs: list[RunSpec], command: Command
) -> None:
    for name in ("notes.txt", "s.json~", "s.json.bak", ".hidden.json", "my notes.json", "notes.json"):
        (study.sweeps / name).write_text(json.dumps({"my": "thesis"}))
    (study.sweeps / "folder.json").mkdir()
    for words in (["status"], ["collect"], ["rebuild"], ["why"]):
        done = command("parcae-sweep", *words)
        assert done.code == 0, done.err
    assert "3 done, 1 planned" in command("parcae-sweep", "status").err
