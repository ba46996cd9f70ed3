"""How planning, ingesting and asking scale: 20,000 runs from run folders.

    python bench/sweep_scale.py [RUNS]

Prints seconds for each stage, and ingesting as a ratio against reading the same folders one file at a time
without a database, in the same run. The run folders are written here, not trained.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sweeps.collect import collect
from sweeps.grid import isoflop_grid
from sweeps.paths import Study
from sweeps.spec import RunSpec
from sweeps.store import read_study
from sweeps.sweep import plan_sweep

METRIC_LINES = 200


@contextmanager
def timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - started
    print(f"{stage:48s} {seconds[stage]:8.2f} s", flush=True)


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
        "diverged_at": None,
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
        with timed(f"plan {runs:,} runs", seconds):
            specs = isoflop_grid(
                "nano",
                [1e11, 2e11, 4e11, 8e11],
                range(1, 11),
                seeds=range(math.ceil(runs / 40)),
                corpus="python-stdlib",
                corpus_hash="0",
                tokenizer="bytes",
                tokenizer_hash="0",
            )[:runs]
            plan_sweep(study, "scale", specs, [None] * len(specs))
            collect(study.db)
        for spec in specs:
            finish(study, spec)
        with timed("read the same folders, no database", seconds):
            for spec in specs:
                folder = study.run(spec.run_id)
                json.loads(folder.result.read_text())
                [json.loads(line) for line in folder.metrics.read_text().splitlines()]
        with timed("ingest", seconds):
            collect(study.db)
        with timed("ingest again, nothing new", seconds):
            collect(study.db)
        with timed("ask for every state", seconds):
            collect(study.db)
            assert (read_study(study.db, None).runs["state"] == "done").all()
        ratio = seconds["ingest"] / seconds["read the same folders, no database"]
        print(f"ingest / plain reading: {ratio:.2f}")


if __name__ == "__main__":
    main()
