"""Runs that were handed over by an earlier version, and not started yet, start."""

import json
import os
import subprocess
import sys
from pathlib import Path

from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.tokenizer import BYTES, tokenizer_hash
from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import Text, isoflop_grid
from sweeps.plan.manifest import plan_sweep
from tests.conftest import Command

FORMER = Path(__file__).parent / "former"
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
