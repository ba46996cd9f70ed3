"""The isoFLOP grid spends its budgets, and the same request is the same runs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parcae.errors import InputError
from parcae.flops import Convention
from parcae.presets import PRESETS
from sweeps.grid import AXES, RECURRENCES, Text, default_sweep_name, isoflop_grid, token_grid
from sweeps.spec import RunSpec

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
