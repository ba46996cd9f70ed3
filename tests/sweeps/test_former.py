"""What an earlier version left: its studies are read, planned, resumed and reported as before, its ids hold,
and runs that it handed over and that had not started yet start.

former/ was written by the version whose modules lay flat: the pickle of a SLURM job, a study with every
state, its database, and what the commands of that version printed of it.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from parcae.config import Injection
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.tokenizer import BYTES, tokenizer_hash
from parcae.presets import PRESETS
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import Text, isoflop_grid
from sweeps.plan.manifest import plan_sweep
from tests.conftest import Command

FORMER = Path(__file__).parent / "former"
EXPECTED = json.loads((FORMER / "expected.json").read_text())
UNFINISHED = "61d59a88ea03c007"
"""The run of the sweep `former` that was stopped after half of its steps."""
REWORDED = {
    "no supervisor works off the queue yet, or any more; `parcae-sweep submit` starts one": (
        "no supervisor is running on this machine; `parcae-sweep submit` starts one"
    )
}
"""What this version says in other words."""
QUEUED = (
    '{"execution": {"activation_checkpointing": false, "checkpoint_seconds": null, "compile": null, '
    '"device": null, "micro_batch_sequences": null, "telemetry": "normal", "threads": 1}}\n'
)
"""An entry of runs/queue, as 0.1.0 wrote it."""


def planned(study: Study) -> RunSpec:
    text = load_corpus(EMBEDDED)
    (spec,) = isoflop_grid("nano", [1e8], [1], text=Text(text.name, text.hash, BYTES, tokenizer_hash(BYTES)))
    plan_sweep(study, "former", [spec], [None])
    folder = study.run(spec.run_id)
    folder.path.mkdir(parents=True)
    folder.spec.write_text(spec.json + "\n")
    return spec


def test_a_job_that_slurm_had_queued_runs(study: Study) -> None:
    folder = study.run(planned(study).run_id)
    folder.submission.write_text('{"array": "parcae-0123456789abcdef", "task": 0}\n')
    script = """
import sys
import tarfile
from dataclasses import replace
from submitit.core.utils import DelayedSubmission
job = DelayedSubmission.load(sys.argv[1]).function
replace(job, folder=sys.argv[2])()
"""
    subprocess.run(
        [sys.executable, "-c", script, FORMER / "submitted.pkl", folder.path],
        check=True,
        env={**os.environ, "SLURM_JOB_ID": "7"},
    )
    assert json.loads(folder.result.read_text())["status"] == "done"


def test_a_run_that_this_machine_had_queued_runs(study: Study, command: Command) -> None:
    spec = planned(study)
    study.queue.mkdir()
    (study.queue / spec.run_id).write_text(QUEUED)
    submitted = command("parcae-sweep", "submit", "--cluster", "local")
    assert submitted.code == 0, submitted.err
    assert json.loads(study.run(spec.run_id).result.read_text())["status"] == "done"


@pytest.fixture
def former(study: Study) -> Study:
    """The study of the earlier version."""
    with tarfile.open(FORMER / "study.tar.xz") as archive:
        archive.extractall(study.db.parent, filter="data")
    return study


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_ids_hold(name: str) -> None:
    recurrences = [1] if PRESETS[name].model.injection is Injection.NONE else [1, 4]
    specs = isoflop_grid(name, [1e20], recurrences, text=Text("text", "0", "bytes", "0"))
    assert [spec.run_id for spec in specs] == EXPECTED["ids"][name]


@pytest.mark.parametrize("sweep", ["former", "states", "others"])
@pytest.mark.parametrize("database", ["as it was", "absent"])
def test_every_state_is_read_as_before(former: Study, command: Command, sweep: str, database: str) -> None:
    if database == "absent":
        former.db.unlink()
    status = command("parcae-sweep", "status", "--sweep", sweep, "--json")
    assert status.code == 0, status.err
    expected = EXPECTED["status"][sweep]
    for run in expected["runs"]:
        run["reason"] = REWORDED.get(run["reason"], run["reason"])
    if sweep == "others":  # of models without a loop, which have a mean recurrence of 1 everywhere now
        expected["runs"] = [run | {"mean_recurrence": 1.0} for run in expected["runs"]]
    seen = status.json
    assert seen.pop("damage") == []
    assert {run.pop("verified") for run in seen["runs"]} <= {None, False}
    assert seen == expected


def test_a_study_of_an_earlier_version_is_reported(former: Study, command: Command) -> None:
    isoflop = command("parcae-fit", "isoflop", "--sweep", "former", "--json")
    assert isoflop.code == 0, isoflop.err
    assert (isoflop.json["runs_fitted"], isoflop.json["left_out"]) == (8, {"planned": 1})
    assert [optimum["runs"] for optimum in isoflop.json["models"]["tiny"]["optima"]] == [4, 3]
    saturation = command("parcae-fit", "saturation", "--sweep", "former", "--json")
    losses = {run["run_id"]: run["best_loss"] for run in saturation.json["runs"]}
    assert losses["37ab7727472024f5"] == 4.959656233637361
    report = command("parcae-fit", "report", "--sweep", "former", "--output", "report.pdf")
    assert report.code == 0, report.err


def test_a_run_of_an_earlier_version_goes_on_from_its_checkpoint(former: Study, command: Command) -> None:
    if load_corpus(EMBEDDED).hash != EXPECTED["corpus_hash"]:
        pytest.skip("the text of this Python's library is another one")
    submitted = command("parcae-sweep", "submit", "--sweep", "former", "--cluster", "local")
    assert submitted.code == 0, submitted.err
    folder = former.run(UNFINISHED)
    loss = json.loads(folder.result.read_text())["val_loss"]
    assert loss == pytest.approx(EXPECTED["uninterrupted_loss"], rel=1e-8)  # sums differ between processors
    steps = [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()]
    assert steps == list(range(1, 16))
    assert "begins again" not in folder.log.read_text()


def test_more_runs_are_planned_into_a_sweep_of_an_earlier_version(former: Study, command: Command) -> None:
    planned = command(
        "parcae-sweep", "plan", "--model", "nano", "--flops", "1e9", "--sweep", "former", "--json"
    )
    assert planned.code == 0, planned.err
    runs = command("parcae-sweep", "status", "--sweep", "former", "--json").json["runs"]
    before = EXPECTED["status"]["former"]["runs"]
    assert [{key: run[key] for key in old} for run, old in zip(runs, before, strict=False)] == before
    assert len(runs) == 9 + len(planned.json["runs"])
