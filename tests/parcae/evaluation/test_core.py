"""CORE on a small bundle, with a model whose every answer is known by hand."""

import json
from pathlib import Path

import pytest

from parcae.errors import InputError
from parcae.evaluation.bundle import Baselines, load_bundle
from parcae.evaluation.core import core
from tests.parcae.evaluation.repeating import model_and_reader

CORE_YAML = """
icl_tasks:
- {label: siqa, dataset_uri: choice.jsonl, num_fewshot: [1], icl_task_type: multiple_choice,
   continuation_delimiter: ""}
- {label: winograd, dataset_uri: schema.jsonl, num_fewshot: [0], icl_task_type: schema,
   continuation_delimiter: ""}
"""
EXTENDED_YAML = """
icl_tasks:
- {label: siqa, dataset_uri: choice.jsonl, num_fewshot: [1], icl_task_type: multiple_choice,
   continuation_delimiter: ""}
- {label: lambada, dataset_uri: sub/passage.jsonl, num_fewshot: [0], icl_task_type: language_modeling,
   continuation_delimiter: ""}
"""
BASELINES = "Eval Task,Task Type,Random baseline\nsiqa,multiple choice,50\nwinograd,schema,50\nlambada,lm,0\n"


def write_bundle(folder: Path) -> Path:
    """The model says every byte again: it chooses `aa` after an a, and so on."""
    (folder / "eval_data" / "sub").mkdir(parents=True)
    (folder / "core.yaml").write_text(CORE_YAML)
    (folder / "core_extended.yaml").write_text(EXTENDED_YAML)
    (folder / "eval_meta_data.csv").write_text(BASELINES)
    lines: dict[str, list[dict[str, object]]] = {
        "choice.jsonl": [
            {"query": "a", "choices": ["bb", "aa", "cc"], "gold": 1},  # right
            {"query": "b", "choices": ["bbbbbbb", "ax"], "gold": 0},  # right
            {"query": "c", "choices": ["cx", "xxxxx"], "gold": 0},  # wrong: by the mean, not by the sum
            {"query": "d", "choices": ["x", "d"], "gold": 1},  # right
        ],
        "schema.jsonl": [
            {"context_options": ["xaa", "xzb"], "continuation": "b", "gold": 1},  # right
            {"context_options": ["xa", "xb"], "continuation": "a", "gold": 1},  # wrong
        ],
        "sub/passage.jsonl": [
            {"context": " z ", "continuation": "zz"},  # right: the context loses its spaces
            {"context": "z", "continuation": "zy"},  # wrong: not its last byte
            {"context": "z", "continuation": "y"},  # wrong
            {"context": "q", "continuation": "q"},  # right
        ],
    }
    for name, examples in lines.items():
        (folder / "eval_data" / name).write_text("\n".join(map(json.dumps, examples)))
    return folder


@pytest.mark.parametrize(("baselines", "guessing"), [(Baselines.BUNDLE, 1 / 2), (Baselines.CORRECTED, 1 / 3)])
def test_all_three_kinds_by_hand(tmp_path: Path, baselines: Baselines, guessing: float) -> None:
    bundle = load_bundle(write_bundle(tmp_path), baselines)
    scores = core(*model_and_reader(), bundle, [1, 6], seeds=[1234, 7])
    found = {(score.task, score.metric, score.seed): score.values for score in scores}
    siqa, winograd, lambada = (0.75 - guessing) / (1 - guessing), 0.0, 0.5
    for seed in (1234, 7):
        assert found["siqa", "accuracy", seed] == {1: 0.75, 6: 0.75}
        assert found["winograd", "accuracy", seed] == {1: 0.5, 6: 0.5}
        assert found["lambada", "accuracy", seed] == {1: 0.5, 6: 0.5}
        for t in (1, 6):
            assert found["core", "centred", seed][t] == pytest.approx((siqa + winograd) / 2)
            assert found["core_extended", "centred", seed][t] == pytest.approx((siqa + lambada) / 2)
    assert {score.version for score in scores} == {bundle.version}
    assert bundle.version.endswith(f" {baselines.value}")
    assert {score.task: score.examples for score in scores}["core"] == 2


def test_the_version_follows_every_file(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    before = load_bundle(folder, Baselines.BUNDLE).version
    assert load_bundle(folder, Baselines.BUNDLE).version == before
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.write_bytes(content + b"\n\n")
        assert load_bundle(folder, Baselines.BUNDLE).version != before, path
        path.write_bytes(content)


def test_the_seed_draws_the_examples_before(tmp_path: Path) -> None:
    from parcae.evaluation.core import _drawn

    task = load_bundle(write_bundle(tmp_path), Baselines.BUNDLE).tasks["siqa"]
    drawn = {seed: [_drawn(task, index, seed) for index in range(4)] for seed in range(20)}
    for by_seed in drawn.values():
        for index, examples in enumerate(by_seed):
            assert len(examples) == 1
            assert task.examples[index] not in examples
    assert len({tuple(map(tuple, by_seed)) for by_seed in drawn.values()}) > 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("eval_data/schema.jsonl", None), r"no file .*schema.jsonl for its task winograd"),
        (("core.yaml", None), "it has no core.yaml"),
        (("eval_meta_data.csv", None), "cannot read the baselines"),
        (("eval_meta_data.csv", "Eval Task,Random baseline\nsiqa,50\n"), "no baseline for the task winograd"),
        (("eval_meta_data.csv", "Task,Chance\nsiqa,50\n"), "takes the columns Eval Task"),
        (("core.yaml", "icl_tasks: [{label: a}]"), "is missing"),
        (("core.yaml", "icl_tasks: []"), "lists no task"),
        (("core.yaml", "icl_tasks: ["), "cannot read .*core.yaml"),
        (("eval_data/choice.jsonl", '{"query": "a", "choices": ["b"], "gold": 1}'), "none of its 1 choices"),
        (("eval_data/choice.jsonl", '{"query": "a", "gold": 1}'), "line 1 of .*choices is missing"),
        (("eval_data/choice.jsonl", "{"), "cannot read line 1 of"),
        (("eval_data/choice.jsonl", ""), "holds no example"),
    ],
)
def test_what_a_bundle_lacks_is_one_sentence(
    tmp_path: Path, change: tuple[str, str | None], says: str
) -> None:
    path = write_bundle(tmp_path) / change[0]
    path.unlink() if change[1] is None else path.write_text(change[1])
    with pytest.raises(InputError, match=says):
        load_bundle(tmp_path, Baselines.BUNDLE)


def test_more_shots_than_examples_is_one_sentence(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    (folder / "core.yaml").write_text(CORE_YAML.replace("num_fewshot: [1]", "num_fewshot: [4]"))
    (folder / "core_extended.yaml").unlink()
    with pytest.raises(InputError, match="siqa puts 4 examples before each, of 4"):
        core(*model_and_reader(), load_bundle(folder, Baselines.BUNDLE), [1])
