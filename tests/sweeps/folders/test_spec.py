"""The hash that names a run: equal specs are one run, any change is another."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parcae.config import DepthSampling, Injection, Optimiser, Precision, TrainConfig
from parcae.errors import InputError
from parcae.flops import Convention
from parcae.presets import PRESETS
from sweeps.folders.spec import RunSpec

TRAINING = st.builds(
    TrainConfig,
    mean_recurrence=st.just(8),
    backward_depth=st.integers(1, 8),
    sampling=st.sampled_from(DepthSampling),
    steps=st.integers(1, 10**6),
    batch_sequences=st.integers(1, 512),
    optimiser=st.sampled_from(Optimiser),
    precision=st.sampled_from(Precision),
    learning_rate=st.floats(1e-6, 1.0),
    adamw_learning_rate=st.floats(1e-6, 1.0),
    seed=st.integers(0, 2**63 - 1),
    test_recurrences=st.lists(st.integers(1, 64), max_size=5).map(tuple),
)
SPECS = st.builds(
    RunSpec,
    model_name=st.sampled_from(sorted(PRESETS)),
    model=st.sampled_from([p.model for p in PRESETS.values()]).map(
        lambda model: dataclasses.replace(model, injection=Injection.CONCAT)
    ),
    training=TRAINING,
    flops_budget=st.floats(1e9, 1e24),
    convention=st.sampled_from(Convention),
    corpus=st.text(max_size=20),
    corpus_hash=st.text("0123456789abcdef", min_size=4, max_size=16),
    tokenizer=st.just("bytes"),
    tokenizer_hash=st.just("0"),
)


@given(SPECS)
def test_a_spec_survives_json(spec: RunSpec) -> None:
    again = RunSpec.from_dict(json.loads(spec.json))
    assert again == spec
    assert again.run_id == spec.run_id


@given(SPECS, SPECS)
def test_ids_are_equal_exactly_when_specs_are(one: RunSpec, other: RunSpec) -> None:
    assert (one.run_id == other.run_id) == (one == other)


@given(SPECS, st.data())
def test_every_field_of_training_counts(spec: RunSpec, data: st.DataObject) -> None:
    changed = data.draw(TRAINING)
    again = dataclasses.replace(spec, training=changed)
    assert (again.run_id == spec.run_id) == (changed == spec.training)


@given(SPECS, st.sampled_from(["model", "training", "corpus_hash"]))
def test_a_missing_or_unknown_key_is_refused(spec: RunSpec, key: str) -> None:
    plain = spec.to_dict()
    del plain[key]
    with pytest.raises(InputError, match=key):
        RunSpec.from_dict(plain)
    with pytest.raises(InputError, match="surprise"):
        RunSpec.from_dict({**spec.to_dict(), "surprise": 1})


def test_the_id_never_changes_between_versions() -> None:
    """Run folders outlive the program that wrote them: this literal changes only with the format."""
    spec = RunSpec(
        model_name="nano",
        model=PRESETS["nano-32"].model,
        training=TrainConfig(
            mean_recurrence=4,
            backward_depth=2,
            steps=10,
            batch_sequences=4,
            learning_rate=0.01,
            adamw_learning_rate=0.01,
        ),
        flops_budget=1e9,
        convention=Convention.PAPER,
        corpus="python-stdlib",
        corpus_hash="0123",
        tokenizer="bytes",
        tokenizer_hash="4567",
    )
    assert spec.run_id == "76d03e0e260608d6"
