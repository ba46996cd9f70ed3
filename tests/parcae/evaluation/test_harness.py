"""The model type `parcae` of lm-evaluation-harness: against direct passes, and through the harness itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from parcae.evaluation.likelihood import continuation, document
from parcae.formats.pretrained import Pretrained, save_model
from tests.conftest import Command
from tests.parcae.evaluation.repeating import repeating
from tests.parcae.evaluation.test_likelihood import READER, direct
from tests.parcae.models import TINY, random_model

pytestmark = pytest.mark.filterwarnings("ignore")  # of its many dependencies

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
target_delimiter: ""
{more}
metadata: {{version: 3.0}}
"""


def harness(model: Pretrained, recurrences: int, batch: int = 16) -> Any:
    from parcae.evaluation.harness import ParcaeLM

    return ParcaeLM(model, recurrences, batch)


def requests(kind: str, *arguments: tuple[Any, ...]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, number) for number, each in enumerate(arguments)]


@pytest.mark.parametrize("recurrences", [1, 8])
@pytest.mark.parametrize("batch", [1, 16])
def test_log_likelihoods_are_those_of_direct_passes(batch: int, recurrences: int) -> None:
    model = random_model(TINY).float()
    lm = harness(
        Pretrained(model=model, mean_recurrence=4, backward_depth=2, tokenizer="bytes"), recurrences, batch
    )
    pairs = [("a", " b"), ("", "xy"), ("some words ", "more"), ("far too long a context", " and so on")] * 5
    found = lm.loglikelihood(requests("loglikelihood", *pairs))
    stretches = [continuation(READER, *pair).within(TINY.context) for pair in pairs]
    expected = [direct(model, stretch, recurrences) for stretch in stretches]
    assert [total for total, _ in found] == pytest.approx([total for total, _ in expected], rel=1e-5)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    texts = ["short", "a text that takes several windows"]
    rolled = lm.loglikelihood_rolling(requests("loglikelihood_rolling", *((text,) for text in texts)))
    sums = [
        sum(direct(model, window, recurrences)[0] for window in document(READER, text, TINY.context))
        for text in texts
    ]
    assert rolled == pytest.approx(sums, rel=1e-5)


def test_windows_are_the_harness_own() -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    for length in range(1, 30):
        text = "abcdefghijklmnopqrstuvwxyz0123456789"[:length]
        theirs = map(make_disjoint_window, get_rolling_token_windows(list(text.encode()), 0, 12, 1))
        ours = [
            (list(window.tokens[: window.start]), list(window.tokens[window.start :]))
            for window in document(READER, text, 12)
        ]
        assert ours == [(list(context), list(predicted)) for context, predicted in theirs]


def test_generation_stops_at_the_first_of_its_strings() -> None:
    lm = harness(repeating(), 3)
    options = {"until": ["aaa", "\n"], "max_gen_toks": 8}
    assert lm.generate_until(requests("generate_until", ("a", options), ("b", options))) == ["", "b" * 8]
    long = lm.generate_until(requests("generate_until", ("x" * 500 + "y", {"until": []})))
    assert long == ["y" * 32]  # half of the context


def test_tasks_of_local_files_run_through_the_harness(command: Command, tmp_path: Path) -> None:
    """The model says every byte again, so each answer is known by hand."""
    save_model(repeating(), tmp_path / "model")
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    kinds = {
        "multiple_choice": 'doc_to_choice: ["aa", "bb"]\nmetric_list: [{metric: acc}]',
        "generate_until": "generation_kwargs: {max_gen_toks: 2}\nmetric_list: [{metric: exact_match}]",
        "loglikelihood": "metric_list: [{metric: acc}]",
    }
    for kind, more in kinds.items():
        pairs = [("a", "aa"), ("b", "bb"), ("b", "bb"), ("a", "bb")]  # the last one is wrong
        if kind == "loglikelihood":
            pairs[1] = ("b", "cb")  # as is this one
        file = tasks / f"{kind}.jsonl"
        file.write_text("\n".join(json.dumps({"q": q, "a": a}) for q, a in pairs))
        (tasks / f"{kind}.yaml").write_text(
            TASK.format(name=f"again_{kind}", file=file, kind=kind, more=more)
        )
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    names = ",".join(f"again_{kind}" for kind in kinds)
    asked = ("--harness", names, "--include", "tasks", "--recurrences", "1,3", "--json")
    ran = command("parcae-sweep", "eval", "model", *asked, env=offline)
    assert ran.code == 0, ran.err
    found = {(score["task"], score["metric"].split(" ")[0]): score for score in ran.json["scores"]}
    assert found["again_multiple_choice", "acc"]["values"] == {"1": 0.75, "3": 0.75}
    assert found["again_generate_until", "exact_match"]["values"] == {"1": 0.75, "3": 0.75}
    assert found["again_loglikelihood", "acc"]["values"] == {"1": 0.5, "3": 0.5}
    for score in found.values():
        assert score["version"].startswith("3.0 of lm-eval ")
        assert score["examples"] == 4


def test_an_unknown_task_is_one_sentence(tmp_path: Path) -> None:
    from parcae.errors import InputError
    from parcae.evaluation.tasks import Tasks, score

    with pytest.raises(InputError, match="has no task 'no_such_task'"):
        score(repeating(), Tasks(harness=["no_such_task"]), [1])
    with pytest.raises(InputError, match="there is no folder"):
        score(repeating(), Tasks(harness=["again"], include=tmp_path / "none"), [1])
