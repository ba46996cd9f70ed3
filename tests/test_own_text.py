"""A study on a text of one's own, from the first command to the report, as a user walks it."""

from pathlib import Path

import duckdb
import numpy as np

from sweeps.control.models import find_model
from sweeps.folders.paths import Study
from tests.conftest import Command, Ran

SWEEP, FIT = "parcae-sweep", "parcae-fit"


def write_parquet(folder: Path, documents: int = 1500) -> None:
    """Sentences of a small language, in two files."""
    random = np.random.default_rng(0)
    syllables = [f"{a}{b}" for a in "bdfgklmnprstvz" for b in ("a", "e", "in", "o", "ur")]
    words = ["".join(random.choice(syllables, size=random.integers(1, 4))) for _ in range(2000)]
    texts = [
        " ".join(words[i % len(words)] for i in random.zipf(1.2, size=int(random.integers(20, 300))))
        for _ in range(documents)
    ]
    folder.mkdir()
    for number in (0, 1):
        rows = duckdb.from_query("SELECT unnest(?) AS text", params=[texts[number::2]])
        rows.write_parquet(str(folder / f"{number}.parquet"))


def refused(ran: Ran) -> str:
    assert ran.code == 2, ran.err
    return ran.sentence


def test_from_a_folder_of_parquet_to_a_report(command: Command, tmp_path: Path) -> None:
    planned = command(SWEEP, "plan", "--flops", "1e19", "--json")
    assert planned.code == 0, planned.err
    assert all(2 < run["predicted_loss"] < 4 for run in planned.json["runs"])
    assert all(run["gpu_hours"] > 1 and run["memory_gib"] > 3 for run in planned.json["runs"])
    sentence = refused(command(SWEEP, "submit", "--cluster", "local"))
    assert "`parcae-sweep data prepare fineweb-edu --out data/fineweb-edu`" in sentence
    assert "hours" in sentence

    write_parquet(tmp_path / "source")
    prepare = (SWEEP, "data", "prepare", "source", "--out", "mine")
    made = command(*prepare, "--vocabulary", "1024", "--context", "64", "--held-out-one-in", "10", "--json")
    assert made.code == 0, made.err
    assert made.json["vocabulary"] == 1024
    assert made.json["bytes_per_token"] > 1.5
    assert command(SWEEP, "data", "verify", "mine").code == 0

    plan = (SWEEP, "plan", "--data", "mine", "--model", "nano", "--recurrences", "1,2,4,6", "--sweep", "own")
    plan += ("--flops", "2e9", "--flops", "4e9", "--flops", "8e9", "--epochs-allowed", "200")
    own = command(*plan, "--json")
    assert own.code == 0, own.err
    assert all(run["predicted_loss"] is None for run in own.json["runs"])  # nothing of this text is known
    assert "--epochs-allowed" in refused(command(*plan[:-1], "0.01"))
    started = command(SWEEP, "submit", "--cluster", "local", "--sweep", "own")
    assert started.code == 0, started.err
    status = command(SWEEP, "status", "--sweep", "own", "--json").json
    assert status["counts"] == {"done": 12}
    assert all(2 < run["val_loss"] < 6.5 for run in status["runs"])  # uniform is 6.93

    run_id = status["runs"][0]["run_id"]
    (tmp_path / "own.txt").write_text("kana losto miren " * 50)
    texts = ("--data", "mine", "--data", "python-stdlib", "--text", "own.txt", "--tokens", "3000")
    found = command(SWEEP, "eval", run_id, *texts, "--recurrences", "1", "--json")
    file, held_out, other = found.json["texts"]
    assert other["tokens"] == 3000
    assert held_out["losses"]["1"] == status["runs"][0]["val_loss"]
    assert file["bytes"] == 17 * 50
    for text in (file, held_out, other):
        bits = text["losses"]["1"] / np.log(2) * text["tokens"] / text["bytes"]
        assert np.isclose(text["bits_per_byte"]["1"], bits)
        assert np.isclose(text["perplexity"]["1"], np.exp(text["losses"]["1"]))

    generated = command(SWEEP, "generate", run_id, "--prompt", "kana", "--tokens", "5", "--json").json
    assert len(generated["pieces"]) == len(generated["tokens"]) == 5
    assert max(generated["tokens"]) > 255  # entries of its own tokenizer
    assert generated["text"] == "".join(generated["pieces"])

    study = Study(tmp_path / "results.duckdb")
    by_id, by_folder = (find_model(study, name) for name in (run_id, str(tmp_path / "runs" / run_id)))
    assert (
        by_id.tokenizer_file == by_folder.tokenizer_file == next(tmp_path.glob("runs/texts/*/tokenizer.json"))
    )

    report = command(FIT, "report", "--sweep", "own")
    assert report.code == 0, report.err
    assert next(tmp_path.glob("*.pdf")).read_bytes().startswith(b"%PDF")

    assert command(*plan[:-1], "200", "--seeds", "1").code == 0
    shard = next((tmp_path / "mine").glob("train-*.bin"))
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    assert f"{shard.name} has changed" in refused(
        command(SWEEP, "submit", "--cluster", "local", "--sweep", "own")
    )
