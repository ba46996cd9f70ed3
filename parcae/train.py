"""Trains one run in its folder, from wherever it stands, to its result.

metrics.jsonl      one line a logged step
checkpoint/        the last two
result.json        written last: the run has ended
"""

import hashlib
import json
import platform
import socket
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from parcae.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from parcae.config import ExecutionConfig, ModelConfig, TrainConfig
from parcae.corpus import Corpus
from parcae.data import Batches, validation_set
from parcae.depth import sample_depths
from parcae.errors import InputError
from parcae.evaluate import evaluate
from parcae.flops import parameter_count
from parcae.metrics import MetricsLog, log_interval
from parcae.model import LoopedTransformer, initial_state
from parcae.optim import build_optimiser, clip_gradients, set_rates
from parcae.randomness import Stream, torch_seeds
from parcae.result import Divergence, Result, read_result
from parcae.stability import finite, has_diverged, injection_norm, root_mean_square_norm


def train(
    model: ModelConfig,
    training: TrainConfig,
    corpus: Corpus,
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    execution: ExecutionConfig = ExecutionConfig(),  # noqa: B008 (frozen)
) -> Result | None:
    """Trains `model` on `corpus`, resuming from the folder's checkpoint if there is one.

    Returns the result when the run is done or has diverged, at once if it had ended before; None when
    `stop`, asked after every step, became true: a checkpoint has then been written. On a CPU a run that
    was interrupted, however often and however abruptly, ends with the numbers of one that was not.
    """
    ended = read_result(folder)
    if ended is not None:
        return ended
    folder.mkdir(parents=True, exist_ok=True)
    threads_before = torch.get_num_threads()
    try:
        return _Run(model, training, corpus, folder, execution).go(stop)
    finally:
        torch.set_num_threads(threads_before)


def new_model(model: ModelConfig, seed: int, device: torch.device) -> LoopedTransformer:
    """The model with the initial weights of `seed`, drawn on the CPU so that every device has the same."""
    built = LoopedTransformer(model)
    generator = torch.Generator().manual_seed(torch_seeds(seed, Stream.WEIGHTS, 0, 1)[0])
    built.reset(generator)
    return built.to(device)


class _Run:
    """The state of one run between its steps."""

    def __init__(
        self,
        model: ModelConfig,
        training: TrainConfig,
        corpus: Corpus,
        folder: Path,
        execution: ExecutionConfig,
    ) -> None:
        if model.vocabulary < 256:
            raise InputError(f"vocabulary is {model.vocabulary}; bytes need at least 256")
        self.training, self.corpus, self.folder, self.execution = training, corpus, folder, execution
        self.device = torch.device(execution.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.identity = _identity(model, training, corpus)
        checkpoint = load_checkpoint(folder, self.identity)
        self.threads = checkpoint.threads if checkpoint else execution.threads
        torch.set_num_threads(self.threads)
        self.batches = Batches(
            corpus, context=model.context, batch_sequences=training.batch_sequences, seed=training.seed
        )
        self.model = new_model(model, training.seed, self.device)
        self.optimiser = build_optimiser(self.model, training)
        self.step, self.seconds_before = 0, 0.0
        if checkpoint:
            self.model.load_state_dict(checkpoint.model)
            self.optimiser.load_state_dict(checkpoint.optimiser)
            self.step, self.seconds_before = checkpoint.step, checkpoint.seconds
        self.metrics = MetricsLog(folder, keep_bytes=checkpoint.metrics_bytes if checkpoint else 0)
        self.started = self.saved = time.monotonic()

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
                stopping = stop()
                if (
                    stopping
                    or self.step == self.training.steps
                    or time.monotonic() - self.saved >= self.execution.checkpoint_seconds
                ):
                    self._save()
                if stopping:
                    return None
            return self._end(None)
        finally:
            self.metrics.close()

    def _advance(self) -> Divergence | None:
        """One optimiser step."""
        rate = set_rates(self.optimiser, self.training, self.step)
        loss, h, previous = self._forward_backward()
        gradient_norm = float(clip_gradients(self.model, self.training.gradient_clip))
        state_norm = float(root_mean_square_norm(h))
        diverged = has_diverged(loss, state_norm, gradient_norm, self.model.config.width)
        if not diverged:
            self.optimiser.step()
        self.step += 1
        if diverged or self.step == self.training.steps or self.step % log_interval(self.training.steps) == 0:
            residual = float(root_mean_square_norm(h - previous))
            norm = injection_norm(self.model)
            self.metrics.append(
                {
                    "step": self.step,
                    "tokens": self.tokens,
                    "loss": finite(loss),
                    "learning_rate": rate,
                    "gradient_norm": finite(gradient_norm),
                    "state_norm": finite(state_norm),
                    "recurrent_residual": finite(residual),
                    "injection_norm": norm,
                    "seconds": round(self.seconds, 3),
                }
            )
            if diverged:
                return Divergence(
                    step=self.step, loss=finite(loss), state_norm=finite(state_norm), injection_norm=norm
                )
        return None

    def _forward_backward(self) -> tuple[float, Tensor, Tensor]:
        """(loss, h_T, h_T-1) of this step's batch; leaves the gradients in the parameters."""
        tokens, targets = self.batches.batch(self.step)
        depths = sample_depths(self.training, self.step)
        order = (-depths).argsort(kind="stable")  # deepest first, as the loop wants them
        seeds = torch_seeds(self.training.seed, Stream.STATE, self.step, len(depths))
        state = initial_state(self.model.config, [seeds[i] for i in order], self.model.embedding.weight)
        y, h, previous = self.model(
            torch.from_numpy(tokens[order]).to(self.device),
            state,
            depths[order].tolist(),
            self.training.backward_depth,
        )
        expected = torch.from_numpy(targets[order]).to(self.device)
        loss = F.cross_entropy(self.model.logits(y).flatten(0, 1), expected.flatten())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        return float(loss.detach()), h.detach(), previous.detach()

    def _save(self) -> None:
        save_checkpoint(
            self.folder,
            Checkpoint(
                identity=self.identity,
                step=self.step,
                model=self.model.state_dict(),
                optimiser=self.optimiser.state_dict(),
                metrics_bytes=self.metrics.sync(),
                threads=self.threads,
                seconds=self.seconds,
            ),
        )
        self.saved = time.monotonic()

    def _end(self, divergence: Divergence | None) -> Result:
        """Evaluates what has not diverged and writes the result."""
        seconds = self.seconds
        tokens, targets = validation_set(self.corpus, self.model.config.context)
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
            parameters=parameter_count(self.model.config),
            diverged_at=divergence,
            injection_norm=injection_norm(self.model),
            seconds=seconds,
            tokens_per_second=self.tokens / seconds,
            environment={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "device": _device_name(self.device),
                "threads": self.threads,
                "host": socket.gethostname(),
            },
        )
        result.write(self.folder)
        return result


def _identity(model: ModelConfig, training: TrainConfig, corpus: Corpus) -> str:
    """Names what decides a run's numbers."""
    parts = [model.to_dict(), training.to_dict(), corpus.hash]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
