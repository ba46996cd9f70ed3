"""Generation with a cache, against whole passes without one."""

from itertools import pairwise

import pytest
import torch

from parcae.config import Keep, Recipe
from parcae.errors import InputError
from parcae.evaluation.generation import generate
from parcae.model.transformer import LoopedTransformer, initial_state
from tests.parcae.models import FAMILIES, TINY, random_model, shape

PROMPT = [7, 200, 31]
COUNT = TINY.context + 1 - len(PROMPT)  # to the last position that the model reads


def uncached(model: LoopedTransformer, recurrences: int, temperature: float = 0.0) -> list[int]:
    tokens, generator = list(PROMPT), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(COUNT):
            logits = model.logits_at(torch.tensor([tokens]), recurrences)[0, -1]
            if temperature:
                odds = (logits.float() / temperature).softmax(-1)
                tokens.append(int(torch.multinomial(odds, 1, generator=generator)))
            else:
                tokens.append(int(logits.argmax()))
    return tokens[len(PROMPT) :]


@pytest.mark.parametrize("recurrences", [1, 2, 5, 8])
@pytest.mark.parametrize("family", FAMILIES)
def test_cached_is_uncached_token_for_token(family: str, recurrences: int) -> None:
    model = random_model(FAMILIES[family])
    result = generate(model, PROMPT, COUNT, recurrences)
    assert list(result.tokens) == uncached(model, recurrences)
    drawn = uncached(model, recurrences, 1.0)
    assert len(set(drawn)) > 5  # greedy ones may repeat, and a wrong cache go unnoticed
    assert list(generate(model, PROMPT, COUNT, recurrences, temperature=1.0).tokens) == drawn
    assert set(result.recurrences) == {recurrences if model.config.has_loop else 1}


def test_grouped_heads_and_samples() -> None:
    model = random_model(shape(key_value_heads=1, recipe=Recipe.RDM))
    assert list(generate(model, PROMPT, COUNT, 4).tokens) == uncached(model, 4)
    assert list(generate(model, PROMPT, COUNT, 4, temperature=0.7).tokens) == uncached(model, 4, 0.7)


def test_a_threshold_too_small_to_meet_changes_nothing() -> None:
    model = random_model(TINY)
    assert generate(model, PROMPT, COUNT, 6, exit_below=1e-300) == generate(model, PROMPT, COUNT, 6)


def test_only_the_last_recurrence_is_exact_without_depth_and_an_approximation_with_it() -> None:
    model = random_model(TINY)
    assert generate(model, PROMPT, COUNT, 1, keep=Keep.LAST) == generate(model, PROMPT, COUNT, 1)
    assert generate(model, PROMPT, COUNT, 6, keep=Keep.LAST) != generate(model, PROMPT, COUNT, 6)


def test_early_exit_is_a_whole_pass_in_which_positions_stop() -> None:
    """With one recurrent layer a position's keys follow from its state before the recurrence alone, so one
    that stops at t_i is one that enters every later recurrence as it entered its last."""
    model, most, threshold = random_model(shape(recurrent_layers=1)), 8, 1e-3
    result = generate(model, PROMPT, COUNT, most, exit_below=threshold)
    assert len(set(result.recurrences)) > 2
    tokens, depths = list(PROMPT), [most] * (len(PROMPT) - 1)
    with torch.no_grad():
        for token, spent in zip(result.tokens, result.recurrences, strict=True):
            predictions = _predictions(model, tokens, [*depths, most], most)
            moved = [float((now.exp() * (now - before)).sum()) for before, now in pairwise(predictions)]
            assert next((t for t, kl in enumerate(moved, start=2) if kl < threshold), most) == spent
            assert int(predictions[spent - 1].argmax()) == token
            tokens, depths = [*tokens, token], [*depths, spent]


def _predictions(
    model: LoopedTransformer, tokens: list[int], depths: list[int], most: int
) -> list[torch.Tensor]:
    """log p after the last token at T = 1 to `most`, the position i stopped after depths[i]."""
    encoded = model.encode(torch.tensor([tokens]))
    entering = initial_state(model.config, [0], model.embedding.weight)[:, : len(tokens)]
    left, states = entering, []
    for t in range(1, most + 1):
        active = torch.tensor([t <= depth for depth in depths])[:, None]
        entering = torch.where(active, left, entering) if t > 1 else entering
        left = torch.where(active, model.recur(entering, encoded), left)
        states.append(left[:, -1:])
    ends = [torch.cat([left[:, :-1], state], dim=1) for state in states]  # those before it have ended
    return [model.logits(model.finish(h, encoded))[0, -1].log_softmax(-1) for h in ends]


@pytest.mark.parametrize(
    ("prompt", "count", "recurrences", "said"),
    [
        ([], 1, 1, "empty"),
        ([256], 1, 1, "the model's are 0 to 255"),
        ([1], 13, 1, "do not fit"),
        ([1], 0, 1, "at least 1"),
        ([1], 1, 0, "at least 1"),
    ],
)
def test_bad_requests(prompt: list[int], count: int, recurrences: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        generate(random_model(TINY), prompt, count, recurrences)
