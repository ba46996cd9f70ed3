"""What saving and resuming 0.5 GB of state costs, against saving in the loop and sending it by pickle.

    python bench/checkpoints.py [--folder FOLDER]      the disk to write to; the current folder unless given

The former way copied the state (`dataclasses.asdict`), wrote it while training waited, and on resuming sent
all of it from the first process to the others as one pickle. Each way runs in processes of its own, one way
after the other in one run. Peaks are what a process takes beyond its model and optimiser before, read from
outside it every 5 ms: of its own memory, and with the pages of the file that it has mapped, which the kernel
may take back.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from parcae.config import ModelConfig
from parcae.files import replacing
from parcae.model.transformer import LoopedTransformer
from parcae.training.checkpoints.checkpoint import Checkpoint, map_tensors, newest_first, resume
from parcae.training.checkpoints.writer import CheckpointWriter
from parcae.training.distributed import Processes, find_launch, joined

MODEL = ModelConfig(
    prelude_layers=2,
    recurrent_layers=2,
    coda_layers=2,
    width=768,
    heads=12,
    mlp_width=3072,
    vocabulary=256,
    context=16,
)
SAVES = 4
SAMPLE_SECONDS = 0.005
IDENTITY = "bench"
MIB = 2**20


class State:
    """A model and its optimiser after a step."""

    def __init__(self) -> None:
        self.model = LoopedTransformer(MODEL)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), fused=True)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.model.parameters():
            torch.nn.init.normal_(parameter, generator=generator)
            parameter.grad = torch.zeros_like(parameter)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def checkpoint(self, step: int) -> Checkpoint:
        return Checkpoint(
            identity=IDENTITY,
            step=step,
            model=self.model.state_dict(),
            optimisers=[self.optimiser.state_dict()],
            spikes=[],
            threads=1,
            seconds=0.0,
        )


def save_formerly(folder: Path, checkpoint: Checkpoint) -> None:
    place = folder / "checkpoint"
    place.mkdir(exist_ok=True)
    with replacing(place / f"step-{checkpoint.step:09d}.pt") as file:
        torch.save(asdict(checkpoint), file)
    for old in newest_first(folder)[2:]:
        old.unlink()


def resume_formerly(folder: Path, processes: Processes) -> dict[str, Any]:
    values = None
    if processes.is_first:
        (path, *_) = newest_first(folder)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
        values = torch.load(path, map_location="cpu", weights_only=True)
    received = processes.from_first(values)
    assert received is not None
    return received


def resumed(folder: Path, processes: Processes) -> dict[str, Any]:
    checkpoint = resume(folder, IDENTITY, processes)
    assert checkpoint is not None
    copied = map_tensors(checkpoint.optimisers, lambda x: x.to("cpu", copy=True))
    return {"model": checkpoint.model, "optimisers": copied}


def saving(way: str, folder: Path) -> dict[str, Any]:
    """Stalls, writing times and steps of a loop that saves."""
    state = State()
    matrix = torch.randn(384, 384)
    writer = CheckpointWriter(folder, lambda: None, interval=0.0, state_bytes=0)

    def step() -> float:
        started = time.perf_counter()
        for _ in range(8):
            matrix @ matrix
        return time.perf_counter() - started

    def of_thread() -> float:
        """Processor seconds of all threads but this one."""
        return time.process_time() - time.thread_time()

    ready()
    stalls, works, threads, writes, beside, quiet = [], [], [], [], [], []
    for count in range(1, SAVES + 1):
        started, worked, others = time.perf_counter(), time.thread_time(), of_thread()
        if way == "former":
            save_formerly(folder, state.checkpoint(count))
        else:
            writer.save(state.checkpoint(count))
        stalls.append(time.perf_counter() - started)
        works.append(time.thread_time() - worked)
        while way != "former" and not writer.is_due():
            beside.append(step())
        writes.append(time.perf_counter() - started)
        threads.append(of_thread() - others)
        quiet += [step() for _ in range(100)]
    writer.close()
    return {
        "stalls": stalls,
        "works": works,
        "threads": threads,
        "writes": writes,
        "slower": statistics.mean(beside) / statistics.mean(quiet) if beside else None,
    }


def resuming(way: str, folder: Path) -> dict[str, Any]:
    with joined(find_launch(), torch.device("cpu")) as processes:
        model = LoopedTransformer(MODEL)
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)
        ready()
        processes.any(False)
        started = time.perf_counter()
        values = (resume_formerly if way == "former" else resumed)(folder, processes)
        model.load_state_dict(values["model"])
        optimiser.load_state_dict(values["optimisers"][0])
        del values
        processes.any(False)
        return {"seconds": time.perf_counter() - started}


def ready() -> None:
    """Tells the measuring process that all is built, and waits for its word."""
    print("ready", flush=True)
    sys.stdin.readline()


def resident(pid: int) -> dict[str, int]:
    """Bytes in memory of a process, its own and with files; zero once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if name in ("RssAnon", "VmRSS")
    }


def measured(what: str, way: str, folder: Path, ranks: int = 1) -> list[dict[str, Any]]:
    """What each of `ranks` processes found, with its peaks beyond where it began."""
    command = [sys.executable, __file__, "--folder", str(folder), "--child", what, way]
    shared = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    if ranks > 1:
        port = str(20_000 + os.getpid() % 10_000)
        shared |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = []
    for rank in range(ranks):
        environment = shared | ({"RANK": str(rank)} if ranks > 1 else {})
        children.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        )
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    before = [resident(child.pid) for child in children]
    peaks: list[dict[str, int]] = [{} for _ in children]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    while any(child.poll() is None for child in children):
        for child, start, peak in zip(children, before, peaks, strict=True):
            for name, size in resident(child.pid).items():
                peak[name] = max(peak.get(name, 0), size - start[name])
        time.sleep(SAMPLE_SECONDS)
    found = []
    for child, peak in zip(children, peaks, strict=True):
        assert child.stdout is not None
        assert child.returncode == 0
        found.append({**json.loads(child.stdout.read()), "peak": peak})
    return found


def row(label: str, *cells: str) -> None:
    print(f"{label:10s}" + "".join(f"{cell:>14s}" for cell in cells), flush=True)


def compare(folder: Path) -> None:
    size = sum(p.nbytes for p in LoopedTransformer(MODEL).parameters()) * 3
    print(f"{size / 1e9:.2f} GB of state, {os.cpu_count()} cores, no GPU, torch {torch.__version__}")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    print("saving: seconds that training waits, of the first and then the median of the others")
    row("", "first", "others", "processor", "in a thread", "until written", "own memory", "steps beside")
    for way in ("former", "now"):
        (found,) = measured("save", way, folder)
        slower = found["slower"]
        row(
            f"    {way}",
            f"{found['stalls'][0]:.2f} s",
            f"{statistics.median(found['stalls'][1:]):.2f} s",
            f"{statistics.median(found['works'][1:]):.2f} s",
            f"{statistics.median(found['threads'][1:]):.2f} s",
            f"{statistics.median(found['writes'][1:]):.2f} s",
            f"{found['peak']['RssAnon'] / MIB:.0f} MiB",
            "-" if slower is None else f"{slower:.2f} times",
        )
    print("resuming in two processes, on one machine")
    row("", "seconds", "own, first", "own, other", "all, first", "all, other")
    for way in ("former", "now"):
        ranks = measured("resume", way, folder, ranks=2)
        row(
            f"    {way}",
            f"{max(rank['seconds'] for rank in ranks):.2f} s",
            *(f"{rank['peak'][name] / MIB:.0f} MiB" for name in ("RssAnon", "VmRSS") for rank in ranks),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        ways: dict[str, Callable[[str, Path], dict[str, Any]]] = {"save": saving, "resume": resuming}
        what, way = options.child
        print(json.dumps(ways[what](way, options.folder)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        compare(Path(name))


if __name__ == "__main__":
    main()
