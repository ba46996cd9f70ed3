"""However a step is executed, in pieces, recomputed or compiled, its loss and gradients are the same."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from parcae.config import ExecutionConfig, Injection, ModelConfig, Precision, Recipe
from parcae.data.batches import Batches
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.model.layers import Layer
from parcae.model.transformer import LoopedTransformer, active_counts, initial_state
from parcae.training.depth import sample_depths
from parcae.training.distributed import Processes
from parcae.training.step import COMPILED_FORMS, Gradients, Measured, compile_layers
from tests.parcae.models import FAMILIES, TINY, random_model, random_tokens, shape, training

CORPUS = load_corpus(EMBEDDED)


def computed(
    config: ModelConfig = TINY,
    execution: ExecutionConfig = ExecutionConfig(),  # noqa: B008 (frozen)
    precision: Precision = Precision.FLOAT64,
    steps: int = 1,
) -> tuple[list[Measured], dict[str, Tensor]]:
    """What each step measures, and the gradients of the last one."""
    run = training(
        mean_recurrence=4, backward_depth=2, batch_sequences=8, precision=precision, steps=max(2, steps)
    )
    model = random_model(
        config, torch.float64 if precision is Precision.FLOAT64 else torch.float32, scale=0.1
    )
    batches = Batches(CORPUS, context=config.context, batch_sequences=8, seed=0)
    gradients = Gradients(model, run, execution, batches, Processes(0, 1))
    measured = [gradients.compute(step) for step in range(steps)]
    return measured, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", ["parcae", "rdm-residual-norm", "fixed-depth"])
@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_micro_batches_add_up_to_the_batch(family: str, at_once: int) -> None:
    (whole,), gradients = computed(FAMILIES[family])
    (pieces,), accumulated = computed(FAMILIES[family], ExecutionConfig(micro_batch_sequences=at_once))
    for name in ("loss", "state_norm", "recurrent_residual"):
        assert getattr(pieces, name) == pytest.approx(getattr(whole, name), rel=1e-12)
    torch.testing.assert_close(accumulated, gradients, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("precision", Precision)
def test_recomputed_activations_give_the_same_gradients_to_the_bit(precision: Precision) -> None:
    plain = computed(precision=precision)
    recomputed = computed(execution=ExecutionConfig(activation_checkpointing=True), precision=precision)
    assert recomputed[0] == plain[0]
    torch.testing.assert_close(recomputed[1], plain[1], rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_loses_digits_and_no_gradient(family: str) -> None:
    """Not even where weights were cast for recurrences without one, as autocast's cache once had it."""
    (exact,), gradients = computed(FAMILIES[family], precision=Precision.FLOAT32)
    (half,), rounded = computed(FAMILIES[family], precision=Precision.BFLOAT16)
    assert half.loss != exact.loss
    assert half.loss == pytest.approx(exact.loss, rel=1e-2)
    assert rounded.keys() == gradients.keys()
    for name, gradient in rounded.items():
        assert gradient.dtype == torch.float32
        error = torch.linalg.vector_norm(gradient - gradients[name])
        assert error < 0.1 * torch.linalg.vector_norm(gradients[name]), name


@pytest.mark.parametrize("family", FAMILIES)
def test_in_half_precision_the_residual_stream_is_not(family: str) -> None:
    config = FAMILIES[family]
    model, tokens = random_model(config, torch.float32), random_tokens(config, 2)
    seen = set()
    for module in model.modules():
        if isinstance(module, Layer):
            module.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(tokens, initial_state(config, [1, 2], model.embedding.weight), [2, 1], 1)
    assert seen | {output.dtype for output in outputs} == {torch.float32}


def test_a_share_that_does_not_fit_is_halved_until_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = computed(steps=2)
    forward: Callable[..., tuple[Tensor, Tensor, Tensor]] = LoopedTransformer.forward
    tried = []

    def small_memory(model: LoopedTransformer, tokens: Tensor, *rest: object, **more: object) -> object:
        tried.append(len(tokens))
        if len(tokens) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(model, tokens, *rest, **more)

    monkeypatch.setattr(LoopedTransformer, "forward", small_memory)
    measured, gradients = computed(steps=2)
    assert tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert [m.loss for m in measured] == pytest.approx([m.loss for m in expected[0]], rel=1e-12)
    torch.testing.assert_close(gradients, expected[1], rtol=1e-9, atol=1e-13)


@pytest.fixture
def compiler() -> Iterator[dict[str, Counter[str]]]:
    """The compiler's counters, from nothing."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
def test_layers_have_no_graph_break_and_few_forms_however_many_sequences_are_active(
    compiler: dict[str, Counter[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 6
    run = training(mean_recurrence=4, backward_depth=2, batch_sequences=8, steps=steps)
    counts = [n for step in range(steps) for _, n in active_counts(sorted(sample_depths(run, step))[::-1])]
    assert len(set(counts)) > 6
    plain = computed(steps=steps)
    fast = functools.partial(compile_layers, backend="aot_eager")  # traced, but no machine code
    monkeypatch.setattr("parcae.training.step.compile_layers", fast)
    traced = computed(execution=ExecutionConfig(compile=True), steps=steps)
    assert not compiler["graph_break"]
    # With and without value embeddings, with gradient and without, for one sequence and for any number.
    assert 4 <= compiler["stats"]["unique_graphs"] <= 12 < COMPILED_FORMS
    assert [m.loss for m in traced[0]] == pytest.approx([m.loss for m in plain[0]], rel=1e-12)
    torch.testing.assert_close(traced[1], plain[1], rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("compiler")
def test_compiled_layers_compute_what_layers_compute() -> None:
    config = shape(recipe=Recipe.RDM, injection=Injection.NONE)
    plain = computed(config, precision=Precision.FLOAT32)
    compiled = computed(config, ExecutionConfig(compile=True), precision=Precision.FLOAT32)
    assert compiled[0][0].loss == pytest.approx(plain[0][0].loss, rel=1e-5)
    torch.testing.assert_close(compiled[1], plain[1], rtol=1e-3, atol=1e-6)
