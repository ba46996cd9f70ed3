"""Trains one run in its folder, from its newest checkpoint to its result.

metrics.jsonl      one line per logged step
layers.jsonl       if telemetry is `extreme`: norms through the model, one line per logged step
checkpoint/        the last two checkpoints
result.json        written last: the run has ended
"""

import hashlib
import json
import math
import platform
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from parcae.config import ExecutionConfig, ModelConfig, Precision, Telemetry, TrainConfig
from parcae.data.batches import Batches, validation_set
from parcae.data.windows import Text
from parcae.errors import InputError
from parcae.files import clear_leftovers
from parcae.flops import Convention, flops_per_token, parameter_count
from parcae.losses.evaluate import evaluate
from parcae.records import to_plain
from parcae.training.checkpoints.checkpoint import Checkpoint, map_tensors, resume
from parcae.training.checkpoints.writer import CheckpointWriter
from parcae.training.depth import realised_flops
from parcae.training.distributed import Processes, choose_device, find_launch, joined
from parcae.training.folder import LAYERS, METRICS, RESULT
from parcae.training.hardware import model_flops_utilisation
from parcae.training.initial_weights import new_model
from parcae.training.metrics import JsonLines, Metrics, log_interval
from parcae.training.optimisers.groups import build_optimisers, clip_gradients, move, set_rates
from parcae.training.result import Divergence, Result, read_result
from parcae.training.stability import finite, has_diverged, injection_norm
from parcae.training.step import Gradients, Measured
from parcae.training.telemetry import SpikeCounter, spectral_norms


def train(
    model: ModelConfig,
    training: TrainConfig,
    text: Text,
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    execution: ExecutionConfig = ExecutionConfig(),  # noqa: B008 (frozen)
    convention: Convention = Convention.PAPER,
) -> Result | None:
    """Trains `model` on `text`, resuming from the folder's checkpoint if there is one.

    Returns the result when the run is done or has diverged, immediately if it had ended before; None if
    `stop`, which is called after every step, became true: then a checkpoint has been written. On a CPU a run
    that was interrupted, however often and however abruptly, ends with the numbers of one that was not.
    `convention` says how the result counts the FLOPs that were spent.

    Where torchrun or SLURM started several processes, each calls this with the same arguments, trains on its
    share of every batch and gets the same answer; `stop` need become true for one of them only. The first
    one alone writes to `folder`, but each reads the checkpoint there.
    """
    launch = find_launch()
    device = choose_device(execution.device, launch.local_rank)
    threads_before = torch.get_num_threads()
    with joined(launch, device) as processes:
        ended = processes.from_first(read_result(folder) if processes.is_first else None)
        if ended is not None:
            return ended
        try:
            return _Run(model, training, text, folder, execution, convention, device, processes).go(stop)
        finally:
            torch.set_num_threads(threads_before)


class _Run:
    """The state of one run between its steps."""

    def __init__(
        self,
        model: ModelConfig,
        training: TrainConfig,
        text: Text,
        folder: Path,
        execution: ExecutionConfig,
        convention: Convention,
        device: torch.device,
        processes: Processes,
    ) -> None:
        if model.vocabulary < text.vocabulary:
            raise InputError(
                f"vocabulary is {model.vocabulary}; the text {text.name} needs at least {text.vocabulary}"
            )
        if training.precision is Precision.BFLOAT16_WEIGHTS:
            raise InputError(
                "the run was planned for weights in bfloat16, in which most small steps are lost; plan it "
                "anew: new runs keep float32 weights and compute in bfloat16, under new ids"
            )
        if training.batch_sequences % processes.count:
            raise InputError(
                f"batch_sequences is {training.batch_sequences}, which {processes.count} processes cannot "
                "share equally; use a number of processes that divides it"
            )
        self.training, self.text, self.folder, self.execution = training, text, folder, execution
        self.convention, self.device, self.processes = convention, device, processes
        self.identity = _identity(model, training, text)
        if processes.is_first:
            folder.mkdir(parents=True, exist_ok=True)
            clear_leftovers(folder / RESULT)
        checkpoint = resume(folder, self.identity, processes)
        self.threads = checkpoint.threads if checkpoint else execution.threads
        torch.set_num_threads(self.threads)
        batches = Batches(
            text, context=model.context, batch_sequences=training.batch_sequences, seed=training.seed
        )
        self.model = new_model(model, training.seed, self.device, training.initial_weights)
        if training.precision is Precision.FLOAT64:  # any other is of arithmetic alone: weights are float32
            self.model.double()
        self.optimisers = build_optimisers(self.model, training)
        self.step, self.seconds_before = 0, 0.0
        if checkpoint:
            self.model.load_state_dict(checkpoint.model)
            for optimiser, state in zip(self.optimisers, checkpoint.optimisers, strict=True):
                # Else states on the CPU would go on living in the file.
                optimiser.load_state_dict(map_tensors(state, lambda x: x.to(self.device, copy=True)))
            self.step, self.seconds_before = checkpoint.step, checkpoint.seconds
        processes.give(self.model.state_dict().values())
        self.gradients = Gradients(self.model, training, execution, batches, processes)
        spikes: list[list[float]] = checkpoint.spikes if checkpoint else [[0.0] * 4] * 2
        self.loss_spikes, self.gradient_spikes = map(SpikeCounter, spikes)
        self.metrics: JsonLines | None = None
        self.layers: JsonLines | None = None
        self.checkpoints: CheckpointWriter | None = None
        if processes.is_first:
            self._open()
        self.started = time.monotonic()

    def _open(self) -> None:
        """Opens the files that the first process writes during training."""
        self.metrics = JsonLines(self.folder / METRICS, self.step)
        if self.metrics.last_step < self.step - self.step % log_interval(self.training.steps):
            gap = f"{self.folder / METRICS} lacks lines before step {self.step}, at which the run goes on"
            print(gap, file=sys.stderr)
        if self.execution.telemetry is Telemetry.EXTREME:
            self.layers = JsonLines(self.folder / LAYERS, self.step)
        weights = sum(parameter.nbytes for parameter in self.model.parameters())
        self.checkpoints = CheckpointWriter(
            self.folder,
            self._sync_logs,
            interval=self.execution.checkpoint_seconds,
            state_bytes=3 * weights,  # with the optimiser's two moments
        )

    def _sync_logs(self) -> None:
        for lines in (self.metrics, self.layers):
            if lines:
                lines.sync()

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    @property
    def tokens(self) -> int:
        return self.step * self.training.batch_sequences * self.model.config.context

    def go(self, stop: Callable[[], bool]) -> Result | None:
        try:
            while self.step < self.training.steps:
                divergence = self._advance()
                if divergence is not None:
                    return self._end(divergence)
                stopping = self.processes.any(stop())
                if self.checkpoints:
                    if stopping or self.step == self.training.steps:
                        self.checkpoints.save_last(self._checkpoint())
                    elif self.checkpoints.is_due():
                        self.checkpoints.save(self._checkpoint())
                if stopping:
                    self.processes.any(False)  # all wait until the checkpoint is written
                    return None
            return self._end(None)
        finally:
            for files in (self.checkpoints, self.metrics, self.layers):  # checkpoints still sync the others
                if files:
                    files.close()

    def _advance(self) -> Divergence | None:
        """One optimiser step."""
        rate = set_rates(self.optimisers, self.training, self.step)
        measured = self.gradients.compute(self.step)
        gradient_norm = float(clip_gradients(self.model, self.training.gradient_clip))
        diverged = has_diverged(
            measured.loss, measured.state_norm, gradient_norm, width=self.model.config.width
        )
        if not diverged:
            move(self.optimisers, self.step)
        self.step += 1
        self.loss_spikes.add(measured.loss)
        self.gradient_spikes.add(math.log(gradient_norm) if gradient_norm > 0 else -math.inf)
        if diverged or self.step == self.training.steps or self.step % log_interval(self.training.steps) == 0:
            self._log(measured, rate, gradient_norm)
        if not diverged:
            return None
        return Divergence(
            step=self.step,
            loss=finite(measured.loss),
            state_norm=finite(measured.state_norm),
            injection_norm=injection_norm(self.model),
        )

    def _log(self, measured: Measured, rate: float, gradient_norm: float) -> None:
        if self.metrics:
            self.metrics.append(
                to_plain(
                    Metrics(
                        step=self.step,
                        tokens=self.tokens,
                        loss=finite(measured.loss),
                        learning_rate=rate,
                        gradient_norm=finite(gradient_norm),
                        state_norm=finite(measured.state_norm),
                        recurrent_residual=finite(measured.recurrent_residual),
                        **spectral_norms(self.model),
                        loss_spikes=self.loss_spikes.spikes,
                        gradient_spikes=self.gradient_spikes.spikes,
                        seconds=round(self.seconds, 3),
                    )
                )
            )
        if self.layers:
            self.layers.append({"step": self.step, "norms": self.gradients.layer_norms(self.step - 1)})

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            identity=self.identity,
            step=self.step,
            model=self.model.state_dict(),
            optimisers=[optimiser.state_dict() for optimiser in self.optimisers],
            spikes=[self.loss_spikes.state, self.gradient_spikes.state],
            threads=self.threads,
            seconds=self.seconds,
        )

    def _end(self, divergence: Divergence | None) -> Result:
        """The result, which the first process computes and writes."""
        result = self.processes.from_first(self._conclude(divergence) if self.metrics else None)
        assert result is not None
        return result

    def _conclude(self, divergence: Divergence | None) -> Result:
        """Evaluates the model unless it has diverged, and writes the result."""
        assert self.metrics is not None
        seconds = self.seconds
        tokens, targets = validation_set(self.text, self.model.config.context)
        losses = {}
        if divergence is None:
            losses = evaluate(self.model, tokens, targets, self.training.test_recurrences)
            if not all(torch.isfinite(torch.tensor(list(losses.values())))):
                divergence = Divergence(
                    step=self.step, loss=None, state_norm=None, injection_norm=injection_norm(self.model)
                )
        self.metrics.sync()
        result = Result(
            status="done" if divergence is None else "diverged",
            steps=self.step,
            tokens=self.tokens,
            val_loss=losses[self.training.mean_recurrence] if divergence is None else None,
            losses={str(t): loss for t, loss in losses.items()} if divergence is None else {},
            validation_sequences=len(tokens),
            run_id=self.folder.absolute().name,
            parameters=parameter_count(self.model.config),
            diverged_at=divergence,
            injection_norm=injection_norm(self.model),
            seconds=seconds,
            tokens_per_second=self.tokens / seconds,
            model_flops_utilisation=model_flops_utilisation(
                flops_per_token(
                    self.model.config,
                    mean_recurrence=self.training.mean_recurrence,
                    backward_depth=self.training.backward_depth,
                ),
                self.tokens / seconds,
                _device_name(self.device),
                self.processes.count,
            ),
            realised_flops=realised_flops(
                self.model.config, replace(self.training, steps=self.step), self.convention
            ),
            environment={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "device": _device_name(self.device),
                "threads": self.threads,
                "processes": self.processes.count,
                "host": socket.gethostname(),
            },
        )
        result.write(self.folder)
        return result


def _identity(model: ModelConfig, training: TrainConfig, text: Text) -> str:
    """A hash of everything that determines a run's numbers."""
    parts = [model.to_dict(), training.to_dict(), text.hash]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
