"""What each way of executing a training step costs or saves, as ratios within one run; on a GPU, its speed.

    python bench/training.py            on the CPU: Muon, compiled layers, micro-batches, memory, telemetry
    python bench/training.py --gpu      tokens per second, MFU and peak memory of small-140m, as it is trained

Both ways of a pair take their steps turn about, on the same batches. CPU figures are processor seconds of one
thread, which other work on the machine hardly changes.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from parcae.config import (
    ExecutionConfig,
    ModelConfig,
    Optimiser,
    Precision,
    TrainConfig,
    default_backward_depth,
)
from parcae.data.batches import Batches
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.flops import flops_per_token
from parcae.presets import preset
from parcae.training.distributed import Processes
from parcae.training.hardware import model_flops_utilisation
from parcae.training.initial_weights import new_model
from parcae.training.optimisers.groups import build_optimisers, clip_gradients, move, set_rates
from parcae.training.stability import root_mean_square_norm
from parcae.training.step import Gradients
from parcae.training.telemetry import SpikeCounter, spectral_norms

CPU_MODEL = replace(preset("nano-128").model, prelude_layers=2, recurrent_layers=2, coda_layers=2)
RECURRENCES = (1, 4, 8)
GPU_SEQUENCES = 32  # of one step: the micro-batch of a larger one


def run_config(recurrence: int, sequences: int, **changes: object) -> TrainConfig:
    plain: dict[str, object] = {
        "mean_recurrence": recurrence,
        "backward_depth": default_backward_depth(recurrence),
        "steps": 1_000,
        "batch_sequences": sequences,
        "learning_rate": 8e-3,
        "adamw_learning_rate": 8e-3,
    }
    return TrainConfig(**{**plain, **changes})  # type: ignore[arg-type]


class Steps:
    """A run without its folder: whole optimiser steps, one a call."""

    def __init__(
        self, model: ModelConfig, training: TrainConfig, execution: ExecutionConfig, device: str = "cpu"
    ) -> None:
        self.training = training
        self.model = new_model(model, 0, torch.device(device))
        self.optimisers = build_optimisers(self.model, training)
        batches = Batches(
            load_corpus(EMBEDDED), context=model.context, batch_sequences=training.batch_sequences, seed=0
        )
        self.gradients = Gradients(self.model, training, execution, batches, Processes(0, 1))
        self.step = 0

    def __call__(self) -> None:
        set_rates(self.optimisers, self.training, self.step)
        self.gradients.compute(self.step)
        float(clip_gradients(self.model, 1.0))
        move(self.optimisers, self.step)
        self.step += 1


def seconds(way: Callable[[], None], clock: Callable[[], float] = time.process_time) -> float:
    started = clock()
    way()
    return clock() - started


def compare(name: str, one: Steps, other: Steps, steps: int, warm_up: int = 2) -> None:
    """Prints median seconds a step of both, and how many times those of `one` the other takes."""
    pairs = [(seconds(one), seconds(other)) for _ in range(warm_up + steps)][warm_up:]
    first, second = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{name:58s} {first:8.3f} s {second:8.3f} s {ratio:6.2f} times", flush=True)


def on_cpu(steps: int) -> None:
    torch.set_num_threads(1)
    plain, run = ExecutionConfig(), run_config(4, 16)
    print(
        f"one CPU thread, torch {torch.__version__}; nano-128 with 2/2/2 layers, mean recurrence 4, 16 x 128"
    )
    print(f"{'processor seconds a step, and the second over the first':58s}")

    def ways(execution: ExecutionConfig, training: TrainConfig = run) -> Steps:
        return Steps(CPU_MODEL, training, execution)

    muon = replace(run, optimiser=Optimiser.MUON, weight_decay=0.2)
    compare("AdamW, Muon", ways(plain), ways(plain, muon), steps)
    compare(
        "whole batch, micro-batches of 4", ways(plain), ways(replace(plain, micro_batch_sequences=4)), steps
    )
    recomputed = replace(plain, activation_checkpointing=True)
    compare("activations kept, recomputed", ways(plain), ways(recomputed), steps)
    half = replace(run, precision=Precision.BFLOAT16)
    compare("float32, bfloat16", ways(plain), ways(plain, half), steps)
    compiled = ways(replace(plain, compile=True))
    started = time.perf_counter()
    for _ in range(8):  # every form of a layer is compiled once
        compiled()
    print(f"compiling: {time.perf_counter() - started:.0f} s for the first 8 steps")
    compare("eager, compiled", ways(plain), compiled, steps)
    telemetry(steps)
    memory()


def telemetry(steps: int) -> None:
    """The part of a logged step, and of one that is not logged, that telemetry takes."""
    for name in ("nano", "nano-32", "nano-128"):
        model = preset(name).model
        step = Steps(model, run_config(4, preset(name).batch_sequences), ExecutionConfig())
        h = torch.randn(preset(name).batch_sequences, model.context, model.width)
        counters = SpikeCounter(), SpikeCounter()

        def always(h: torch.Tensor = h, counters: tuple[SpikeCounter, ...] = counters) -> None:
            for x in (h, h - 0.5 * h):
                float(root_mean_square_norm(x).double().square())
            for counter in counters:
                counter.add(1.0)

        def logged(step: Steps = step, always: Callable[[], None] = always) -> None:
            always()
            spectral_norms(step.model)

        rows = [(seconds(step), seconds(always), seconds(logged)) for _ in range(3 * steps)][steps:]
        whole, every, line = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"telemetry, {name}: {every / whole:.2%} of every step, {line / whole:.2%} of a logged one")


def memory() -> None:
    """Growth of the process over one step, in processes of their own."""
    print("memory that a step adds, mean recurrence 8, 8 sequences of 512, vocabulary 32,768, width 128:")
    for way in ("whole", "micro-batches", "recomputed"):
        command = [sys.executable, __file__, "--memory", way]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        print(f"    {way:16s} {done.stdout.strip()} MiB", flush=True)


def peak_mebibytes() -> float:
    """The most memory that this process held. `resource` gives its parent's, if that was more."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def one_step_of(way: str) -> None:
    executions = {
        "whole": ExecutionConfig(),
        "micro-batches": ExecutionConfig(micro_batch_sequences=2),
        "recomputed": ExecutionConfig(activation_checkpointing=True),
    }
    model = replace(CPU_MODEL, vocabulary=32_768, context=512)
    step = Steps(model, run_config(8, 8), executions[way])
    before = peak_mebibytes()
    step.gradients.compute(0)
    print(round(peak_mebibytes() - before))


def on_gpu(name: str, sequences: int, steps: int, device: str) -> None:
    """Training as the sweep does it: tokens per second, MFU (convention `paper`) and peak memory."""
    model = preset(name).model
    label = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{label}, torch {torch.__version__}; {name}, bfloat16, {sequences} x {model.context}")
    print(f"{'mean recurrence':>16} {'layers':>10} {'tokens/s':>10} {'MFU':>7} {'peak memory':>12}")
    for recurrence in RECURRENCES:
        training = run_config(
            recurrence, sequences, optimiser=Optimiser.MUON, weight_decay=0.2, precision=Precision.BFLOAT16
        )
        for compiled in (False, True):
            step = Steps(model, training, ExecutionConfig(compile=compiled), device)
            for _ in range(steps):  # each of a run's batches has depths, and so shapes, of its own
                step()
            if device == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            spent = sum(seconds(step, time.perf_counter) for _ in range(steps))
            speed = steps * sequences * model.context / spent
            cost = flops_per_token(model, mean_recurrence=recurrence, backward_depth=training.backward_depth)
            used = model_flops_utilisation(cost, speed, label)
            peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
            print(
                f"{recurrence:>16} {'compiled' if compiled else 'eager':>10} {speed:>10,.0f} "
                f"{'-' if used is None else format(used, '.1%'):>7} "
                f"{'-' if peak is None else format(peak, '.1f') + ' GiB':>12}",
                flush=True,
            )
            del step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--steps", type=int, default=12, help="measured steps of each way")
    parser.add_argument("--model", default="small-140m", help="with --gpu")
    parser.add_argument("--sequences", type=int, default=GPU_SEQUENCES, help="of a step, with --gpu")
    parser.add_argument("--device", default="cuda", help="with --gpu; `cpu` tries the same path, slowly")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        one_step_of(options.memory)
    elif not options.gpu:
        on_cpu(options.steps)
    elif options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("there is no GPU here; nothing was measured")
    else:
        on_gpu(options.model, options.sequences, options.steps, options.device)


if __name__ == "__main__":
    main()
