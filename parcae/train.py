"""One run: train(model, training, corpus, folder) leaves metrics.jsonl, checkpoint/ and result.json.

Everything random comes from (seed, step), and a checkpoint holds all else, so that a run that was killed and
resumed ends with the same numbers, to the bit, as one that was not.
"""

import json
import math
import os
import platform
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from parcae import checkpoint
from parcae.config import ModelConfig, TrainConfig
from parcae.corpus import Corpus
from parcae.data import Batches, validation_windows
from parcae.depth import sample_depths
from parcae.evaluate import losses_at_depths
from parcae.files import write_atomically
from parcae.flops import parameter_count
from parcae.model import LoopedTransformer, Output
from parcae.optim import make_optimiser
from parcae.schedule import rate_factor
from parcae.stability import has_diverged

LOGGED_STEPS = 200
"""Metrics are logged about this often in a run."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended, as it stands in result.json."""

    status: str
    """`done` or `diverged`."""
    steps: int
    tokens: int
    val_loss: float | None
    """Held-out loss at T = mean recurrence, nats a token; None if the run diverged."""
    losses: dict[str, float] | None
    """Held-out loss at each T in test_recurrences."""
    validation_sequences: int
    parameters: int
    diverged_at: dict[str, Any] | None
    """Step, loss, state norm and rho(Abar) where the run diverged; a number that was not finite is null."""
    injection_norm: float
    """rho(Abar) at the end."""
    seconds: float
    tokens_per_second: float
    environment: dict[str, Any]


def train(
    model: ModelConfig,
    training: TrainConfig,
    corpus: Corpus,
    folder: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = 10.0,
    device: str | None = None,
    threads: int = 1,
) -> Result | None:
    """Trains to the end, from the folder's checkpoint where there is one.

    None when `stop()` became true first: a checkpoint then holds all that was done. A folder with a result
    is not trained again.
    """
    finished = folder / "result.json"
    if finished.exists():
        return Result(**json.loads(finished.read_text()))
    run = _Run(model, training, corpus, folder, device, threads)
    if not run.train(stop, checkpoint_seconds):
        return None
    result = run.result()
    write_atomically(finished, (json.dumps(asdict(result), allow_nan=False) + "\n").encode())
    return result


class _Run:
    def __init__(
        self,
        model: ModelConfig,
        training: TrainConfig,
        corpus: Corpus,
        folder: Path,
        device: str | None,
        threads: int,
    ) -> None:
        self.training, self.corpus, self.folder = training, corpus, folder
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.batches = Batches(corpus, model.context, training.batch_sequences, training.seed)
        self.model = LoopedTransformer(model)
        self.model.initialise(training.seed)
        self.model.to(self.device)
        self.optimiser = make_optimiser(self.model, training)
        self.step, self.seconds, self.threads = 0, 0.0, threads
        self.diverged_at: dict[str, Any] | None = None
        self.metrics_path = folder / "metrics.jsonl"
        self._resume()
        torch.set_num_threads(self.threads)  # sums depend on how they are split

    def _resume(self) -> None:
        saved = checkpoint.load_latest(self.folder / "checkpoint")
        if saved is not None:
            self.model.load_state_dict(saved["model"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.seconds, self.threads = saved["step"], saved["seconds"], saved["threads"]
        with self.metrics_path.open("ab") as file:
            file.truncate(saved["metrics_bytes"] if saved else 0)

    def _save(self) -> None:
        checkpoint.save(
            self.folder / "checkpoint",
            self.step,
            {
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "seconds": self.seconds,
                "threads": self.threads,
                "metrics_bytes": self.metrics_path.stat().st_size,
            },
        )

    def train(self, stop: Callable[[], bool], checkpoint_seconds: float) -> bool:
        """True at the end, False when told to stop."""
        every = max(1, self.training.steps // LOGGED_STEPS)
        saved_at, last = time.monotonic(), time.monotonic()
        with self.metrics_path.open("a") as metrics:
            while self.step < self.training.steps and self.diverged_at is None:
                if stop():
                    metrics.flush()
                    os.fsync(metrics.fileno())
                    self._save()
                    return False
                logging = (self.step + 1) % every == 0 or self.step + 1 == self.training.steps
                line = self._one_step(logging)
                now = time.monotonic()
                self.seconds, last = self.seconds + now - last, now
                if line is not None:
                    metrics.write(json.dumps(line | {"seconds": round(self.seconds, 3)}) + "\n")
                    metrics.flush()
                if now - saved_at > checkpoint_seconds:
                    os.fsync(metrics.fileno())
                    self._save()
                    saved_at = time.monotonic()
        return True

    def _one_step(self, logging: bool) -> dict[str, Any] | None:
        """One optimiser step; its metrics when they are to be logged."""
        training = self.training
        tokens, targets = (torch.from_numpy(part).to(self.device) for part in self.batches.at(self.step))
        generator = torch.Generator().manual_seed(hash_seed(training.seed, self.step))
        state = self.model.initial_state(tokens.shape, generator).to(self.device)
        depths = torch.from_numpy(sample_depths(training, self.step).copy())
        output = self.model.training_loss(tokens, targets, depths, state, training.backward_depth)
        self.optimiser.zero_grad()
        output.loss.backward()
        gradient_norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.gradient_clip)
        loss, state_norm = float(output.loss.detach()), float(output.state_norm)
        if has_diverged(loss, state_norm):
            self.diverged_at = {
                "step": self.step + 1,
                "loss": _finite(loss),
                "state_norm": _finite(state_norm),
                "injection_norm": self._injection_norm(),
            }
            return None
        factor = rate_factor(self.step, training.steps, training.cooldown)
        for group in self.optimiser.param_groups:
            group["lr"] = training.learning_rate * factor
        self.optimiser.step()
        self.step += 1
        return self._metrics(output, float(gradient_norm)) if logging else None

    def _metrics(self, output: Output, gradient_norm: float) -> dict[str, Any]:
        return {
            "step": self.step,
            "tokens": self.step * self.training.batch_sequences * self.model.config.context,
            "loss": float(output.loss.detach()),
            "learning_rate": self.optimiser.param_groups[0]["lr"],
            "gradient_norm": _finite(gradient_norm),
            "state_norm": float(output.state_norm),
            "recurrent_residual": float(output.recurrent_residual),
            "injection_norm": self._injection_norm(),
        }

    def _injection_norm(self) -> float:
        return self.model.injection.spectral_norm() if self.model.config.has_loop else 0.0

    def result(self) -> Result:
        """Scores the final model."""
        tokens, targets = validation_windows(self.corpus, self.model.config.context)
        losses = None
        if self.diverged_at is None:
            scored = losses_at_depths(self.model, tokens, targets, self.training.test_recurrences)
            losses = {str(depth): loss for depth, loss in scored.items()}
        seen = self.step * self.training.batch_sequences * self.model.config.context
        return Result(
            status="done" if losses else "diverged",
            steps=self.step,
            tokens=seen,
            val_loss=losses[str(self.training.mean_recurrence)] if losses else None,
            losses=losses,
            validation_sequences=len(tokens),
            parameters=parameter_count(self.model.config),
            diverged_at=self.diverged_at,
            injection_norm=self._injection_norm(),
            seconds=self.seconds,
            tokens_per_second=seen / self.seconds if self.seconds else 0.0,
            environment={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "device": str(self.device),
                "threads": self.threads,
                "host": socket.gethostname(),
            },
        )


def hash_seed(seed: int, step: int) -> int:
    """A seed for torch from (seed, step); neighbours give unrelated streams."""
    import numpy as np

    return int(np.random.SeedSequence((seed, step, 2)).generate_state(1, "uint64")[0] >> 1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
