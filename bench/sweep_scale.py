"""How planning, ingesting and asking scale: 20,000 runs from run folders.

    python bench/sweep_scale.py [RUNS]

Prints seconds for each stage, a command as a user runs it, and ingesting as a ratio against reading the same
folders one file at a time without a database, in the same run. The run folders are written here, not trained.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.folders.paths import Study
from sweeps.folders.spec import RunSpec
from sweeps.plan.manifest import find_sweep, read_manifest
from sweeps.store.database import read_sweep

METRIC_LINES = 200
BIN = Path(sys.executable).parent


@contextmanager
def timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    started, worked = time.perf_counter(), _cpu_seconds()
    yield
    seconds[stage] = time.perf_counter() - started
    print(f"{stage:48s} {seconds[stage]:8.2f} s, of CPU {_cpu_seconds() - worked:8.2f} s", flush=True)


def _cpu_seconds() -> float:
    """Of this process and of the commands that it waited for: on a busy machine, the number to look at."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def finish(study: Study, spec: RunSpec) -> None:
    """Leaves what a finished run leaves."""
    folder = study.run(spec.run_id)
    folder.path.mkdir()
    folder.spec.write_text(spec.json)
    loss = 1.5 + 10 / math.log(spec.tokens)
    losses = {str(depth): loss + math.exp(-depth) for depth in range(1, 25)}
    steps = spec.training.steps
    result = {
        "status": "done",
        "steps": steps,
        "tokens": spec.tokens,
        "val_loss": losses[str(spec.training.mean_recurrence)],
        "losses": losses,
        "validation_sequences": 1024,
        "parameters": spec.parameters,
        "diverged_at": None,
        "injection_norm": 0.4,
        "seconds": 20.0,
        "tokens_per_second": spec.tokens / 20,
        "environment": {},
    }
    folder.result.write_text(json.dumps(result))
    lines = [
        json.dumps(
            {
                "step": 1 + line * steps // METRIC_LINES,
                "tokens": spec.tokens * line // METRIC_LINES,
                "loss": loss + 1 / (1 + line),
                "learning_rate": 0.01,
                "gradient_norm": 0.5,
                "state_norm": 10.0,
                "recurrent_residual": 1.0,
                "injection_norm": 0.4,
                "input_norm": 0.8,
                "readout_norm": 1.0,
                "loss_spikes": 0,
                "gradient_spikes": 0,
                "seconds": 0.1 * line,
            }
        )
        for line in range(METRIC_LINES)
    ]
    folder.metrics.write_text("\n".join(lines) + "\n")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        study = Study(Path(name) / "results.duckdb")

        def timed_command(stage: str, *words: str) -> None:
            with timed(stage, seconds):
                subprocess.run([BIN / words[0], *words[1:]], cwd=name, check=True, capture_output=True)

        seeds = ",".join(str(seed) for seed in range(math.ceil(runs / 40)))
        timed_command(
            f"plan {runs:,} runs",
            *("parcae-sweep", "plan", "--model", "nano", "--recurrences", "1,2,3,4,5,6,7,8,9,10"),
            *("--flops", "1e11", "--flops", "2e11", "--flops", "4e11", "--flops", "8e11", "--seeds", seeds),
        )
        manifest = read_manifest(study, find_sweep(study, None))
        assert manifest is not None
        specs = list(manifest.specs.values())
        for spec in specs:
            finish(study, spec)
        with timed("read the same folders, no database", seconds):
            for spec in specs:
                folder = study.run(spec.run_id)
                json.loads(folder.result.read_text())
                [json.loads(line) for line in folder.metrics.read_text().splitlines()]
        timed_command("ingest: collect", "parcae-sweep", "collect")
        timed_command("ingest again, nothing new: collect", "parcae-sweep", "collect")
        timed_command("status", "parcae-sweep", "status")
        assert {run.state for run in read_sweep(study.db, None).runs} == {"done"}
        ratio = seconds["ingest: collect"] / seconds["read the same folders, no database"]
        print(f"ingest / plain reading: {ratio:.2f}", flush=True)
        timed_command("report", "parcae-fit", "report")


if __name__ == "__main__":
    main()
