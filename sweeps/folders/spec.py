"""RunSpec: everything that determines a run's numbers, and the hash that names the run."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property

from parcae.config import DepthSampling, ModelConfig, Precision, TrainConfig, default_backward_depth
from parcae.flops import Convention, flops_per_token, parameter_count
from parcae.presets import PRESETS
from parcae.records import Record


@dataclass(frozen=True, kw_only=True)
class RunSpec(Record):
    """One run of a study. Equal specs are the same run."""

    model_name: str
    """The preset of `model`, or any name for another shape."""
    model: ModelConfig
    training: TrainConfig
    flops_budget: float
    """C, the planned training FLOPs."""
    convention: Convention
    corpus: str
    """The text: `python-stdlib` is the embedded one."""
    corpus_hash: str
    tokenizer: str
    """`bytes`: one token per byte."""
    tokenizer_hash: str

    @cached_property
    def run_id(self) -> str:
        """16 hexadecimal digits of SHA-256 over the canonical JSON of the spec."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:16]

    @property
    def tokens(self) -> int:
        """D, training tokens, a whole number of optimiser steps."""
        return self.training.tokens(self.model.context)

    @property
    def flops_per_token(self) -> float:
        return flops_per_token(
            self.model,
            mean_recurrence=self.training.mean_recurrence,
            backward_depth=self.training.backward_depth,
            convention=self.convention,
        )

    @property
    def parameters(self) -> int:
        return parameter_count(self.model)

    @cached_property
    def variant(self) -> str | None:
        """How this run's model or training differs from its preset, in words; None if it does not.

        No fit mixes variants. Learning rates, weight decay, cooldown, batch, budget and seed make no variant:
        runs that differ only in those are the same model, trained better or worse.
        """
        words = []
        training = self.training
        if self.model_name in PRESETS:
            known = PRESETS[self.model_name]
            own, preset = self.model.to_dict(), known.model.to_dict()
            defaults = {field.name: field.default for field in fields(ModelConfig)}
            for name in defaults:
                value = own.get(name, defaults[name])
                if value != preset.get(name, defaults[name]):
                    words.append(f"{name.replace('_', ' ')} {value}")
            if training.initial_weights is not known.initial_weights:
                words.append(f"{training.initial_weights.value} initial weights")
            if training.optimiser is not known.optimiser:
                words.append(training.optimiser.value)
            if training.precision not in (known.precision, Precision.BFLOAT16_WEIGHTS):
                words.append(training.precision.option)
        if training.precision is Precision.BFLOAT16_WEIGHTS:
            words.append("bfloat16 weights")
        if training.sampling is not DepthSampling.PER_SEQUENCE:
            words.append(f"{training.sampling.value} depths")
        if training.backward_depth != default_backward_depth(training.mean_recurrence):
            words.append(f"backward depth {training.backward_depth}")
        return ", ".join(words) or None

    @cached_property
    def json(self) -> str:
        """Canonical JSON: sorted keys, no white space, shortest exact floats."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
