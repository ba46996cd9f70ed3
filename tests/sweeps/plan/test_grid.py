"""The isoFLOP grid spends its budgets, and the same request is the same runs."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parcae.config import DepthSampling, Discretisation, InitialWeights, Precision
from parcae.errors import InputError
from parcae.flops import Convention
from parcae.presets import PRESETS
from sweeps.folders.spec import RunSpec
from sweeps.plan.grid import AXES, RECURRENCES, Text, default_sweep_name, isoflop_grid, token_grid

TEXT = {"text": Text("text", "0", "bytes", "0")}


def grid(
    model: str, budgets: list[float], recurrences: list[int] | None = None, **options: object
) -> list[RunSpec]:
    return isoflop_grid(model, budgets, recurrences or RECURRENCES, **TEXT, **options)  # type: ignore[arg-type]


@given(
    st.sampled_from(sorted(name for name, known in PRESETS.items() if known.model.has_loop)),
    st.floats(1.0, 1e6),
    st.integers(1, 32),
    st.sampled_from(Convention),
)
def test_a_run_spends_its_budget_to_the_nearest_step(
    model: str, steps: float, recurrence: int, convention: Convention
) -> None:
    preset = PRESETS[model]
    one_step = grid(model, [1e20], [recurrence], convention=convention)[0]
    flops_per_step = one_step.flops_per_token * preset.batch_sequences * preset.model.context
    (spec,) = grid(model, [steps * flops_per_step], [recurrence], convention=convention)
    assert spec.training.steps == pytest.approx(steps, abs=0.5 + 1e-6 * steps)
    assert spec.tokens == spec.training.steps * preset.batch_sequences * preset.model.context
    assert spec.training.backward_depth == math.ceil(recurrence / 2)


@given(st.permutations([1e18, 2e18, 1e18]), st.permutations([1, 8, 2, 8]), st.permutations([0, 3, 0]))
def test_order_and_repetition_do_not_matter(
    budgets: list[float], recurrences: list[int], seeds: list[int]
) -> None:
    specs = grid("small-140m", budgets, recurrences, seeds=seeds)
    assert [s.run_id for s in specs] == [
        s.run_id for s in grid("small-140m", [1e18, 2e18], [1, 2, 8], seeds=[0, 3])
    ]
    assert len({spec.run_id for spec in specs}) == len(specs) == 12


def test_the_published_grid_costs_what_the_paper_counts() -> None:
    """small-140m at recurrence 8, backward depth 4: (2 N1 + 6 N2) plus attention, by hand (appendix D)."""
    d, length, vocabulary, layers = 768, 2048, 32_768, 2
    block = layers * (12 * d * d)
    gate = 32 * 6  # value-embedding gate of the one gated layer in each stage
    attention = 4 * d * length
    once = 2 * (block + gate) + 2 * d * d + vocabulary * d
    expected = 6 * once + 3 * 2 * layers * attention
    expected += (2 * (block + gate) + layers * attention) * 8 + (
        4 * (block + gate) + 2 * layers * attention
    ) * 4
    (spec,) = grid("small-140m", [1e19], [8])
    assert spec.flops_per_token == expected
    assert spec.tokens == pytest.approx(1e19 / expected, rel=1e-4)


@pytest.mark.parametrize(
    ("budgets", "recurrences", "seeds", "named"),
    [
        ([-1e18], [1], [0], "-1e\\+18"),
        ([0.0], [1], [0], "0 FLOPs"),
        ([math.nan], [1], [0], "nan"),
        ([math.inf], [1], [0], "inf"),
        ([1e6], [1], [0], "one step costs"),
        ([1e19], [0], [0], "recurrence of 0"),
        ([1e19], [1], [-1], "seed -1"),
        ([], [1], [0], "without a budget"),
    ],
)
def test_a_wrong_request_is_refused(
    budgets: list[float], recurrences: list[int], seeds: list[int], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        grid("small-140m", budgets, recurrences, seeds=seeds)


def test_an_unknown_model_gets_the_list_of_known_ones() -> None:
    with pytest.raises(InputError, match=r"nano.*small-140m"):
        grid("huge", [1e19])


def test_sweep_names() -> None:
    assert default_sweep_name("small-140m", [1e19]) == "small-140m-1e19"
    assert default_sweep_name("nano", [4e11, 1e9]) == "nano-1e9-to-4e11"


def test_a_baseline_is_planned_under_a_name_of_its_own() -> None:
    for baseline, injection in (("concat", "concat"), ("add", "add"), ("residual-norm", "concat")):
        specs = grid(f"nano-{baseline}", [1e10])
        assert {spec.training.mean_recurrence for spec in specs} == set(RECURRENCES)
        assert {spec.model.injection for spec in specs} == {injection}
        assert {spec.model_name for spec in specs} == {f"nano-{baseline}"}
        assert all(spec.model.residual_norm is (baseline == "residual-norm") for spec in specs)


def test_a_model_without_a_loop_has_one_recurrence() -> None:
    (spec,) = isoflop_grid("nano-fixed", [1e10], **TEXT)
    assert (spec.training.mean_recurrence, spec.training.backward_depth) == (1, 1)
    with pytest.raises(InputError, match="no loop"):
        isoflop_grid("nano-fixed", [1e10], [1, 2], **TEXT)


def test_axes_make_a_grid_and_a_default_written_out_changes_nothing() -> None:
    known = PRESETS["small-140m"]
    defaults = {
        "learning_rate": [known.learning_rate],
        "adamw_learning_rate": [known.adamw_learning_rate],
        "weight_decay": [known.weight_decay],
        "batch_sequences": [known.batch_sequences],
        "context": [known.model.context],
        "cooldown": [0.5],
        "sampling": [DepthSampling.PER_SEQUENCE],
        "precision": [known.precision],
        "initial_weights": [known.initial_weights],
        "discretisation": [known.model.discretisation],
    }
    assert defaults.keys() == AXES.keys() - {"backward_depth"}
    plain = grid("small-140m", [1e19], [4])
    assert grid("small-140m", [1e19], [4], axes=defaults) == plain
    assert grid("small-140m", [1e19], [4], axes={"backward_depth": [2]}) == plain
    varied = grid(
        "small-140m", [1e19], [4], axes={"learning_rate": [4e-3, 8e-3], "batch_sequences": [128, 256]}
    )
    assert len({spec.run_id for spec in varied}) == 4
    assert plain[0] in varied
    others = {
        "learning_rate": 4e-3,
        "adamw_learning_rate": 4e-3,
        "weight_decay": 0.1,
        "batch_sequences": 128,
        "context": 1024,
        "backward_depth": 1,
        "cooldown": 0.25,
        "sampling": DepthSampling.HUGINN,
        "precision": Precision.FLOAT32,
        "initial_weights": InitialWeights.NORMAL,
        "discretisation": Discretisation.ZERO_ORDER_HOLD,
    }
    assert others.keys() == AXES.keys()
    for name, other in others.items():
        (spec,) = grid("small-140m", [1e19], [4], axes={name: [other]})
        assert spec.run_id != plain[0].run_id, name
        part = spec.model if name in ("context", "discretisation") else spec.training
        assert getattr(part, name) == other


def test_a_batch_or_context_still_spends_the_budget() -> None:
    for axes in ({"batch_sequences": [64]}, {"context": [512]}, {"backward_depth": [8]}):
        (spec,) = grid("small-140m", [1e19], [8], axes=axes)
        assert spec.tokens * spec.flops_per_token == pytest.approx(1e19, rel=1e-3)


def test_tokens_instead_of_a_budget() -> None:
    specs = token_grid("small-140m", [1e9], [1, 8], **TEXT)
    assert [spec.tokens for spec in specs] == [pytest.approx(1e9, rel=1e-3)] * 2
    assert all(spec.flops_budget == spec.tokens * spec.flops_per_token for spec in specs)
    for wrong in (0.0, math.nan, 1e30, 5.0):
        with pytest.raises(InputError, match="tokens"):
            token_grid("small-140m", [wrong], **TEXT)


def test_a_rate_under_adamw_alone_is_one_rate() -> None:
    (spec,) = grid("nano-32", [1e10], [1], axes={"learning_rate": [3e-3]})
    assert spec.training.learning_rate == spec.training.adamw_learning_rate == 3e-3
    with pytest.raises(InputError, match="AdamW alone"):
        grid("nano-32", [1e10], [1], axes={"adamw_learning_rate": [3e-3]})


def test_what_no_fit_may_take_together_has_a_variant() -> None:
    def variant(model: str = "small-140m", **axes: object) -> str | None:
        (spec,) = grid(
            model, [1e19 if model == "small-140m" else 1e10], [8], axes={k: [v] for k, v in axes.items()}
        )
        return spec.variant

    assert variant() is None
    assert variant("nano-32") is None
    for name, value in (
        ("learning_rate", 1e-3),
        ("weight_decay", 0.0),
        ("batch_sequences", 64),
        ("cooldown", 0.2),
    ):
        assert variant(**{name: value}) is None
    assert variant(context=512) == "context 512"
    assert variant(discretisation=Discretisation.ZERO_ORDER_HOLD) == "discretisation zero-order-hold"
    assert variant(initial_weights=InitialWeights.NORMAL) == "normal initial weights"
    assert variant(precision=Precision.FLOAT32) == "float32"
    assert variant(sampling=DepthSampling.HUGINN) == "huginn depths"
    assert variant(backward_depth=8) == "backward depth 8"
    (spec,) = grid("small-140m", [1e19], [8])
    old = dataclasses.replace(
        spec,
        training=dataclasses.replace(
            spec.training,
            precision=Precision.BFLOAT16_WEIGHTS,
            initial_weights=InitialWeights.NORMAL,
        ),
    )
    assert old.variant == "normal initial weights, bfloat16 weights"
