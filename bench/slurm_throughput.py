"""How many tiny runs go through a real SLURM on this machine: two nodes of two CPUs that share the host.

    python bench/slurm_throughput.py [RUNS] [SECONDS]      as root, on Debian

Submits RUNS (2,000 unless given) runs of six steps, watches for SECONDS (600) at most, calls off the rest,
and says how long the submission took, how many runs were done in what time, and what a run costs beyond its
training: most of it is starting Python and torch, and evaluating.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeps.folders.paths import Study

ROOT = Path(__file__).parent.parent
CLUSTER = ROOT / "tests" / "slurm" / "cluster.sh"
HOME = Path("/var/tmp/parcae-slurm")
BIN = Path(sys.executable).parent
BUDGET = "3e8"  # six steps of nano
LOOK_SECONDS = 5.0


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    limit = float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
    HOME.mkdir(exist_ok=True)
    with (HOME / "in-use").open("a") as lock, tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([CLUSTER, "install"], check=True)
        subprocess.run([CLUSTER, "start"], check=True, env={**os.environ, "MAX_ARRAY_SIZE": "1001"})
        try:
            measure(Path(folder), runs, limit)
        finally:
            subprocess.run([CLUSTER, "stop"], check=True)


def measure(folder: Path, runs: int, limit: float) -> None:
    environment = {**os.environ, "SLURM_CONF": str(HOME / "etc" / "slurm.conf")}

    def sweep(*words: str) -> float:
        started = time.perf_counter()
        subprocess.run(
            [BIN / "parcae-sweep", *words], cwd=folder, env=environment, check=True, capture_output=True
        )
        return time.perf_counter() - started

    seeds = ",".join(str(seed) for seed in range(runs))
    sweep("plan", "--model", "nano", "--flops", BUDGET, "--recurrences", "1", "--seeds", seeds)
    print(f"submit {runs:,} runs:                {sweep('submit'):8.2f} s", flush=True)
    started = time.perf_counter()
    study = Study(folder / "results.duckdb")
    results: list[Path] = []
    while len(results) < runs and time.perf_counter() - started < limit:
        time.sleep(LOOK_SECONDS)
        results = list(study.runs.glob("*/result.json"))
    seconds = time.perf_counter() - started
    print(f"status while {runs - len(results):,} of them wait or run: {sweep('status'):8.2f} s")
    sweep("cancel")
    trained = sum(json.loads(path.read_text())["seconds"] for path in results) / max(1, len(results))
    print(f"{len(results):,} of {runs:,} runs done in {seconds:.0f} s: {len(results) / seconds:.2f} a second")
    print(f"of a run's {4 * seconds / max(1, len(results)):.2f} s on its CPU, training took {trained:.2f} s")


if __name__ == "__main__":
    main()
