"""RunSpec: everything that decides a run's numbers, and the hash that names the run."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from parcae.config import ModelConfig, TrainConfig
from parcae.errors import InputError
from parcae.flops import Convention, flops_per_token, parameter_count


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run of a study. Two specs that are equal are one run, whoever plans them and when."""

    model_name: str
    """The preset that `model` came from, or any name for a shape of one's own."""
    model: ModelConfig
    training: TrainConfig
    flops_budget: float
    """C, the FLOPs that the run was planned to spend."""
    convention: Convention
    corpus: str
    """Which text: `python-stdlib` is the embedded corpus."""
    corpus_hash: str
    tokenizer: str
    """`bytes`: one token a byte."""
    tokenizer_hash: str

    @cached_property
    def run_id(self) -> str:
        """16 hexadecimal digits of SHA-256 over the canonical JSON of the spec."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:16]

    @property
    def tokens(self) -> int:
        """D, training tokens: whole optimiser steps."""
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

    def to_dict(self) -> dict[str, Any]:
        return {
            "model_name": self.model_name,
            "model": self.model.to_dict(),
            "training": self.training.to_dict(),
            "flops_budget": self.flops_budget,
            "convention": self.convention,
            "corpus": self.corpus,
            "corpus_hash": self.corpus_hash,
            "tokenizer": self.tokenizer,
            "tokenizer_hash": self.tokenizer_hash,
        }

    @cached_property
    def json(self) -> str:
        """Canonical JSON: sorted keys, no white space, shortest exact floats."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The spec that ``to_dict`` wrote; ``InputError`` for anything else."""
        expected = set(cls.__dataclass_fields__)
        if values.keys() != expected:
            wrong = sorted(values.keys() ^ expected)
            raise InputError(f"cannot read a run spec: keys {wrong} are unknown or missing")
        return cls(
            **{
                **values,
                "model": ModelConfig.from_dict(values["model"]),
                "training": TrainConfig.from_dict(values["training"]),
                "flops_budget": float(values["flops_budget"]),
                "convention": Convention(values["convention"]),
            }
        )
