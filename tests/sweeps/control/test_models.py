"""`eval` and `export-model` on a run, as a user has it."""

import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch

from parcae.config import ExecutionConfig
from parcae.data.batches import windows
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.data.tokenizer import BYTES, tokenizer_hash
from parcae.errors import InputError
from parcae.evaluation.tasks import Tasks
from parcae.evaluation.texts import evaluate_texts
from parcae.flops import Convention
from parcae.formats.pretrained import Pretrained, load_model
from parcae.records import from_plain
from parcae.training.result import Result
from sweeps.control.models import evaluate_model, find_model
from sweeps.folders.paths import RunFolder, Study
from sweeps.folders.spec import RunSpec
from sweeps.runs.worker import run
from sweeps.store.collect import collect, rebuild
from tests.conftest import Command
from tests.parcae import official
from tests.parcae.evaluation.test_core import write_bundle
from tests.parcae.formats.test_official import saved
from tests.parcae.models import TINY, random_model, training


def trained(folder: Path) -> str:
    """A run of a tiny model, trained to its end; its id."""
    corpus = load_corpus(EMBEDDED)
    spec = RunSpec(
        model_name="tiny",
        model=TINY,
        training=training(test_recurrences=(1, 12)),
        flops_budget=1e9,
        convention=Convention.PAPER,
        corpus=EMBEDDED,
        corpus_hash=corpus.hash,
        tokenizer=BYTES,
        tokenizer_hash=tokenizer_hash(BYTES),
    )
    place = RunFolder(folder / "runs" / spec.run_id)
    place.path.mkdir(parents=True)
    place.spec.write_text(spec.json)
    assert run(place, ExecutionConfig(), stop=lambda: False)
    return spec.run_id


def test_a_run_is_evaluated_and_exported(command: Command, tmp_path: Path) -> None:
    run_id = trained(tmp_path)
    result = json.loads((tmp_path / "runs" / run_id / "result.json").read_text())
    assert result.pop("model_flops_utilisation") is None  # a CPU has no peak worth the name
    assert (
        from_plain(Result, result, "it", more_keys=True).model_flops_utilisation is None
    )  # written before it existed
    found = command("parcae-sweep", "eval", run_id, "--recurrences", "12,1", "--json").json
    (held_out,) = found["texts"]
    assert held_out["losses"] == pytest.approx({t: result["losses"][t] for t in ("1", "12")}, rel=1e-6)
    assert found["mean_recurrence"] == 4

    assert command("parcae-sweep", "export-model", run_id, "--output", "model").code == 0
    model = load_model(tmp_path / "model")
    assert torch.equal(model.embedding.weight, load_model(tmp_path / "runs" / run_id).embedding.weight)
    (tmp_path / "one.txt").write_bytes(bytes(range(256)) * 3 + b"tail")
    (tmp_path / "two.txt").write_bytes(b"a word")
    texts = ("--text", "one.txt", "--text", "two.txt")
    table = command("parcae-sweep", "eval", "model", *texts, "--recurrences", "2,4")
    lines = [line.split("\t") for line in table.out.splitlines()]
    assert [line[:3] for line in lines[1:]] == [
        ["one.txt", "771", "2"],
        ["one.txt", "771", "4"],
        ["two.txt", "5", "2"],
        ["two.txt", "5", "4"],
    ]
    text = torch.tensor(list(b"a word"))[None]
    losses = torch.nn.functional.cross_entropy(model.logits_at(text[:, :-1], 4)[0], text[0, 1:])
    assert float(lines[-1][3]) == pytest.approx(float(losses.detach()), abs=0.02)  # another h_0
    refused = command("parcae-sweep", "eval", "0123456789abcdef")
    assert refused.code == 2
    assert "'0123456789abcdef'" in refused.sentence


def test_a_run_goes_on_with_a_text(command: Command, tmp_path: Path) -> None:
    """Cached, the command gives the tokens of whole passes without a cache, at every T."""
    run_id = trained(tmp_path)
    model = load_model(tmp_path / "runs" / run_id)
    for recurrences in (1, 3, 8):
        more = ("--prompt", "def", "--tokens", "9", "--recurrences", str(recurrences), "--json")
        found = command("parcae-sweep", "generate", run_id, *more).json
        tokens = [0, *b"def"]
        with torch.no_grad():
            for _ in range(9):
                tokens.append(int(model.logits_at(torch.tensor([tokens]), recurrences)[0, -1].argmax()))
        assert found["tokens"] == tokens[4:]
        assert found["recurrences"] == [recurrences] * 9
        assert found["text"] == bytes(tokens[4:]).decode(errors="replace")
    early = command("parcae-sweep", "generate", run_id, "--tokens", "12", "--exit-below", "1e9")
    assert early.code == 0, early.err
    assert "T per token, 2 on average: 2 2 2" in early.err  # the first comparison is at T = 2
    refused = command("parcae-sweep", "generate", run_id, "--tokens", "13")
    assert (refused.code, "do not fit" in refused.err) == (2, True)


def test_scores_are_kept_in_the_run_and_collected(command: Command, tmp_path: Path) -> None:
    run_id = trained(tmp_path)
    (tmp_path / "runs" / "sweeps").mkdir()
    (tmp_path / "w.txt").write_text(" = A = \n\n some words \n")
    bundle = write_bundle(tmp_path / "bundle")
    study, words_of = Study(tmp_path / "results.duckdb"), Tasks(wikitext=[tmp_path / "w.txt"])
    first = evaluate_model(study, run_id, [], [], [1], 100, words_of).to_dict()
    assert first["texts"] == []
    more = ("--core", "bundle", "--seeds", "1,2", "--baselines", "bundle", "--recurrences", "2,1", "--json")
    ran = command("parcae-sweep", "eval", run_id, "--wikitext", "w.txt", *more)
    assert ran.code == 0, ran.err
    second = ran.json
    stored = {(s["task"], s["metric"], s["seed"]): s for s in second["scores"]}
    words = stored["wikitext", "word_perplexity", 0]
    assert set(words["values"]) == {"1", "2"}
    assert words["values"]["1"] == first["scores"][1]["values"]["1"]
    (core,) = (s for s in second["summaries"] if s["task"] == "core")
    each = [stored["core", "centred", seed]["values"]["2"] for seed in (1, 2)]
    assert (core["seeds"], core["version"][-6:]) == ([1, 2], "bundle")
    assert core["mean"]["2"] == pytest.approx(sum(each) / 2)
    assert core["deviation"]["2"] == pytest.approx(abs(each[0] - each[1]) / 2**0.5)

    def rows() -> list[tuple[object, ...]]:
        with duckdb.connect(tmp_path / "results.duckdb", read_only=True) as connection:
            return connection.execute(
                "SELECT run_id, step, test_recurrence, task, seed, version, metric, value FROM scores"
            ).fetchall()

    collect(tmp_path / "results.duckdb")
    assert len(rows()) == len(set(rows())) == sum(len(s["values"]) for s in second["scores"])
    assert (run_id, 12, 1, "wikitext", 0, words["version"], "word_perplexity", words["values"]["1"]) in rows()
    evaluate_model(study, run_id, [], [], [3], 100, words_of)
    before = len(rows())
    collect(tmp_path / "results.duckdb")
    assert len(rows()) == before + 2
    everything = sorted(rows(), key=repr)
    rebuild(tmp_path / "results.duckdb")
    assert sorted(rows(), key=repr) == everything

    table = command("parcae-sweep", "eval", run_id, "--recurrences", "1").out
    assert f"core\tcentred\t2\t{core['mean']['2']:.4g}" in table
    (bundle / "eval_data" / "schema.jsonl").unlink()
    refused = command("parcae-sweep", "eval", run_id, *more)
    assert refused.code == 2
    assert "schema.jsonl for its task winograd" in refused.sentence
    (tmp_path / "runs" / run_id / "scores.json").write_text("{}")
    collect(tmp_path / "results.duckdb")
    assert rows() == []  # the file that is wrong concerns that file alone
    with pytest.raises(InputError, match=r"scores\.json"):
        evaluate_model(study, run_id, [], [], [1], 100, words_of)


def test_texts_that_cannot_be_evaluated_are_named(tmp_path: Path) -> None:
    model = Pretrained(model=random_model(TINY), mean_recurrence=4, backward_depth=2, tokenizer=BYTES)
    (tmp_path / "empty.txt").touch()
    for name in ("empty.txt", "absent.txt"):
        with pytest.raises(InputError, match=name):
            evaluate_texts(model, [tmp_path / name], [1], 100)
    with pytest.raises(InputError, match="0 recurrences"):
        evaluate_texts(model, [], [0, 1], 100)


def test_a_model_of_another_tokenizer_is_a_sentence(tmp_path: Path) -> None:
    config = official.parcae_config(vocab_size=250)
    saved(tmp_path / "official", config, official.random_state(config))
    model = find_model(Study(tmp_path / "results.duckdb"), str(tmp_path / "official"))
    with pytest.raises(InputError, match="another tokenizer"):
        evaluate_texts(model, [], [1], 100)


def test_windows_predict_every_token_once_or_a_sample() -> None:
    text = np.arange(100, dtype=np.uint8)
    parts = windows(text, 16)
    assert [tokens.shape for tokens, _ in parts] == [(6, 16), (1, 3)]
    assert sorted(int(t) for _, targets in parts for t in targets.flatten()) == list(range(1, 100))
    assert all((targets == tokens + 1).all() for tokens, targets in parts)
    ((tokens, _),) = windows(text, 16, most=40)
    assert tokens[:, 0].tolist() == [0, 48]
    ((tokens, targets),) = windows(text[:5], 16, most=2)
    assert (tokens.tolist(), targets.tolist()) == ([[0, 1, 2, 3]], [[1, 2, 3, 4]])
