"""How long a large file takes to import, as a user does it.

    python bench/importing.py [RUNS]

Prints seconds for `parcae-sweep import` of a CSV file of that many runs (100,000), with names and a further
column.
"""

import csv
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent


def write(path: Path, runs: int) -> None:
    draw = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("run_name", "N", "D", "C", "loss", "seed", "gpu"))
        for i in range(runs):
            n = 10 ** draw.uniform(7, 10)
            d = 20 * n * 10 ** draw.uniform(-1, 1)
            loss = 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28
            writer.writerow(
                (f"run-{i}", f"{n:.0f}", f"{d:.0f}", f"{6 * n * d:.4e}", f"{loss:.6f}", i % 5, "H100")
            )


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "runs.csv", runs)
        started = time.perf_counter()
        command = [BIN / "parcae-sweep", "import", "runs.csv", "--sweep", "large"]
        subprocess.run(command, cwd=folder, check=True)
        times = os.times()
        seconds, worked = time.perf_counter() - started, times.children_user + times.children_system
    print(f"import {runs:,} runs {seconds:.2f} s, of CPU {worked:.2f} s")


if __name__ == "__main__":
    main()
