"""A shell in a folder of its own, where SLURM answers: our commands, SLURM's, and waiting for them."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.tokenizer import BYTES, tokenizer_hash
from sweeps.folders.paths import RunFolder, Study, read_json_lines
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import Text, isoflop_grid
from sweeps.plan.manifest import plan_sweep
from sweeps.slurm.arrays import Submissions
from tests.conftest import BIN, Ran

SWEEP = "s"
SHORT, LONG = 3e8, 1.58e10
"""Budgets in FLOPs at recurrence 1: 7 and 388 steps of nano, each a line of its metrics."""


def until(seen: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Waits until `seen` gives something true, and gives it back."""
    deadline = time.monotonic() + seconds
    while not (value := seen()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return value


def specs(flops: float, recurrences: list[int], seeds: list[int]) -> list[RunSpec]:
    corpus = load_corpus(EMBEDDED)
    return isoflop_grid(
        "nano",
        [flops],
        recurrences,
        seeds=seeds,
        text=Text(corpus.name, corpus.hash, BYTES, tokenizer_hash(BYTES)),
    )


@dataclass(frozen=True)
class Shell:
    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        return Study(self.folder / "results.duckdb")

    def plan(self, runs: list[RunSpec]) -> list[RunFolder]:
        """Plans into the sweep, without the second that a command takes."""
        plan_sweep(self.study, SWEEP, runs, [None] * len(runs))
        return [self.study.run(run.run_id) for run in runs]

    def start(self, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [BIN / "parcae-sweep", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, timeout: float = 120, **env: str) -> Ran:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=timeout)
        return Ran(process.returncode, out, err)

    def status(self) -> dict[str, dict[str, Any]]:
        """Run id -> what `status --json` says of it."""
        ran = self("status", "--json")
        assert ran.code == 0, ran.err
        return {run["run_id"]: run for run in ran.json["runs"]}

    def states(self) -> list[str]:
        return [run["state"] for run in self.status().values()]

    def forget(self) -> None:
        """Forgets what SLURM said last, as a minute does."""
        self.study.answer.unlink(missing_ok=True)

    def why(self, run: RunFolder) -> dict[str, Any]:
        told: dict[str, Any] = self("why", run.run_id, "--json").json
        return told

    def slurm(self, *words: str) -> str:
        """What one of SLURM's commands prints."""
        return subprocess.run(
            words, check=True, capture_output=True, text=True, env={**os.environ, **self.env}
        ).stdout

    def job(self, run: RunFolder) -> str:
        """The id of the job that the run was handed to."""
        handed_over = Submissions(self.study, []).job(run)
        assert handed_over is not None
        assert handed_over[1] is not None
        return handed_over[1]

    def job_state(self, job: str) -> str:
        return self.slurm("squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={job}").strip()


def events(run: RunFolder, event: str) -> list[dict[str, Any]]:
    """Lines of the run's attempts.jsonl of one kind."""
    return [attempt for attempt in read_json_lines(run.attempts) if attempt["event"] == event]


def steps_logged(run: RunFolder) -> int:
    return run.metrics.read_bytes().count(b"\n") if run.metrics.exists() else 0


def final_losses(run: RunFolder) -> dict[str, float]:
    losses: dict[str, float] = json.loads(run.result.read_text())["losses"]
    return losses
