"""Log-likelihoods in batches, against direct passes, one sequence at a time."""

import numpy as np
import pytest
import torch

from parcae.errors import InputError
from parcae.evaluation.likelihood import Stretch, continuation, document, likelihoods
from parcae.evaluation.reader import reader_of
from parcae.formats.pretrained import Pretrained
from parcae.model.transformer import LoopedTransformer
from tests.parcae.models import FAMILIES, TINY, random_model, shape

READER = reader_of(
    Pretrained(model=random_model(TINY), mean_recurrence=4, backward_depth=2, tokenizer="bytes")
)


def direct(model: LoopedTransformer, stretch: Stretch, recurrences: int) -> tuple[float, bool]:
    """One pass over one sequence, without padding."""
    tokens = torch.tensor([list(stretch.tokens)])
    with torch.no_grad():
        odds = model.logits_at(tokens[:, :-1], recurrences)[0].log_softmax(-1)[stretch.start - 1 :]
    targets = tokens[0, stretch.start :]
    return float(odds.gather(1, targets[:, None]).sum()), bool((odds.argmax(-1) == targets).all())


def some(count: int = 20) -> list[Stretch]:
    """Stretches of many lengths, the longest as long as the context allows."""
    random = np.random.default_rng(0)
    lengths = [2, TINY.context + 1, *random.integers(2, TINY.context + 2, size=count - 2).tolist()]
    return [
        Stretch(random.integers(0, 256, size=length).tolist(), int(random.integers(1, length)))
        for length in lengths
    ]


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_and_padded_is_direct(family: str, batch: int) -> None:
    model, stretches = random_model(FAMILIES[family]).float(), some()
    found = likelihoods(model, stretches, [1, 8], batch)
    for t, row in found.items():
        expected = [direct(model, stretch, t) for stretch in stretches]
        assert [each.total for each in row] == pytest.approx([total for total, _ in expected], rel=1e-5)
        assert [each.greedy for each in row] == [greedy for _, greedy in expected]
        assert [each.count for each in row] == [len(s.tokens) - s.start for s in stretches]
    assert set(found) == ({1, 8} if model.config.has_loop else {1})


def test_windows_predict_each_token_once_with_as_much_before_it_as_fits() -> None:
    text = "abcdefghij"
    assert document(READER, text, 4) == [
        Stretch([0, *b"abcd"], 1),
        Stretch(list(b"defgh"), 1),
        Stretch(list(b"fghij"), 3),
    ]
    (whole,) = document(READER, text, 12)
    assert whole == Stretch([0, *b"abcdefghij"], 1)
    assert document(READER, "", 4) == []


def test_rolling_windows_give_the_total_of_one_long_window_where_both_fit() -> None:
    """Without attention, and from the same h_0 everywhere, no token depends on what a window leaves out."""
    model = random_model(shape(state_init="zero"))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("attention.out.weight"):
                weight.zero_()
    short, (long,) = (
        likelihoods(model, document(READER, "eleven char", context), [3])[3] for context in (5, TINY.context)
    )
    assert [each.count for each in short] == [5, 5, 1]
    assert sum(each.total for each in short) == pytest.approx(long.total, rel=1e-12)


def test_a_continuation_begins_where_its_context_ends() -> None:
    assert continuation(READER, "ab", " cd") == Stretch([0, *b"ab cd"], 3)
    assert continuation(READER, "ab ", "cd") == Stretch(
        [0, *b"ab cd"], 3
    )  # the space belongs to what follows
    assert continuation(READER, "", "cd") == Stretch([0, *b"cd"], 1)


def test_what_is_too_long_loses_its_beginning() -> None:
    stretch = Stretch(list(range(20)), 18)
    assert stretch.within(12) == Stretch(list(range(7, 20)), 11)
    assert Stretch(list(range(20)), 2).within(12) == Stretch(list(range(7, 20)), 1)
    model = random_model(TINY)
    (found,) = likelihoods(model, [stretch], [2])[2]
    assert (found.total, found.greedy) == pytest.approx(direct(model, stretch.within(12), 2))


def test_bad_requests() -> None:
    model = random_model(TINY)
    with pytest.raises(InputError, match="T = 0"):
        likelihoods(model, some(3), [0, 1])
    with pytest.raises(InputError, match="without a token before it"):
        likelihoods(model, [Stretch([1, 2], 0)], [1])
