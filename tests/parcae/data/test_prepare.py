"""Text into shards: what goes in comes out, whatever is killed on the way."""

import json
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pytest

from parcae.data.batches import Batches, validation_set
from parcae.data.manifest import PreparedText, Side, open_prepared, verify
from parcae.data.packing import Packer
from parcae.data.prepare import prepare
from parcae.data.sources import find_files, read_documents
from parcae.data.tokenizer import BOS, load_tokenizer
from parcae.errors import InputError

OPTIONS = {"vocabulary": 300, "context": 64, "held_out_one_in": 5, "part_characters": 2**20}


def documents(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    words = ["the", "loop", "sees", "ünïcode", "日本", "<|bos|>", "a\nline", "0123", "🙂"]
    return [f"{i} " + " ".join(random.choice(words, size=int(random.integers(1, 120)))) for i in range(count)]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    texts = documents(3000)
    lines = "\n".join(json.dumps({"text": text}) for text in texts[:1000])
    (folder / "a.jsonl").write_text(lines, encoding="utf-8")
    for name, part in (("b.parquet", texts[1000:2000]), ("c.jsonl.zst", texts[2000:2990])):
        rows = duckdb.from_query("SELECT unnest(?) AS text", params=[part])
        if name.endswith("parquet"):
            rows.write_parquet(str(folder / name))
        else:
            duckdb.sql(f"COPY (SELECT * FROM rows) TO '{folder / name}' (FORMAT json, COMPRESSION zstd)")
    (folder / "d.txt").write_text("\n".join(texts[2990:]), encoding="utf-8")
    return folder


def decoded(text: PreparedText, side: Side) -> list[str]:
    tokenizer = load_tokenizer(text.folder / "tokenizer.json")
    bos = tokenizer.token_to_id(BOS)
    found = []
    for row in np.concatenate(text.rows(side)):
        starts = np.flatnonzero(row == bos)
        assert starts[0] == 0  # every row starts at a document's beginning
        found += [tokenizer.decode(part[1:].tolist()) for part in np.split(row, starts[1:])]
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_every_document_comes_back_up_to_its_cropped_tail(sources: Path, tmp_path: Path) -> None:
    read = [text for path in find_files([str(sources)]) for text in read_documents(path)]
    assert read == [*documents(3000)[:2990], "\n".join(documents(3000)[2990:])]
    text = prepare([str(sources)], tmp_path / "out", **OPTIONS)
    manifest = text.manifest
    assert manifest.train.documents + manifest.validation.documents == len(read)
    assert 0.1 < manifest.validation.documents / len(read) < 0.3
    numbers = {}
    for side in (manifest.train, manifest.validation):
        parts = decoded(text, side)
        # A part cut within a character ends in the mark for what cannot be decoded.
        numbers[side] = {part.split(" ")[0] for part in parts if " " in part}
        by_number = {t.split(" ")[0]: t for t in read}
        for part in parts:
            if " " in part:
                assert by_number[part.split(" ")[0]].startswith(part.rstrip("\ufffd"))
        # As many beginnings as documents: one cropped to less than its number is there too. The last row's
        # filling begins some again.
        assert 0 <= len(parts) - side.documents <= manifest.context
        kept = side.rows * (manifest.context + 1)
        assert 0 <= kept - (side.tokens - side.cropped) <= manifest.context  # but for the last row's filling
    assert not numbers[manifest.train] & numbers[manifest.validation]
    verify(text)


def test_the_share_done_rises_within_a_file_too(sources: Path, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.parquet", "c.jsonl.zst"):
        heard: list[float] = []
        options = OPTIONS | {"part_characters": 20_000}
        prepare(
            [str(sources / name)],
            tmp_path / name,
            report=lambda what, share, heard=heard: heard.append(share) if what == "tokenising" else None,
            **options,
        )
        assert len(set(heard)) > (1 if name.endswith("zst") else 5)
        assert heard == sorted(heard)
        assert 0 < heard[0] <= 1
        assert heard[-1] == 1


def test_training_reads_the_rows_of_all_shards(sources: Path, tmp_path: Path) -> None:
    text = prepare([str(sources)], tmp_path / "out", **(OPTIONS | {"part_characters": 60_000}))
    assert len(text.manifest.train.shards) > 5
    rows = np.concatenate(text.rows(text.manifest.train))
    batches = Batches(text, context=64, batch_sequences=50, seed=0)
    assert batches.windows == len(rows)
    steps = -(-len(rows) // 50)
    seen = np.concatenate([np.hstack([t, n[:, -1:]]) for t, n in map(batches.batch, range(steps))])
    assert sorted(seen[: len(rows)].tolist()) == sorted(rows.tolist())  # each once an epoch
    short, _ = Batches(text, context=16, batch_sequences=50, seed=0).batch(0)
    assert (short == batches.batch(0)[0][:, :16]).all()
    tokens, targets = validation_set(text, 64)
    held_out = np.concatenate(text.rows(text.manifest.validation))
    assert {tuple(row) for row in tokens.tolist()} <= {tuple(row[:-1]) for row in held_out.tolist()}
    assert (tokens[:, 1:] == targets[:, :-1]).all()
    with pytest.raises(InputError, match=r"prepare it again with --context 65"):
        Batches(text, context=65, batch_sequences=1, seed=0)


def test_killed_at_any_point_it_ends_with_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    options = OPTIONS | {"part_characters": 20_000}
    whole = contents(prepare([str(sources)], tmp_path / "whole", **options).folder)
    assert len(whole) > 20
    out = tmp_path / "killed"
    program = (
        "from pathlib import Path; from parcae.data.prepare import prepare; "
        f"prepare([{str(sources)!r}], Path({str(out)!r}), **{options!r})"
    )
    # Killed after so many more shards, and so at other places of a part.
    for shards in (1, 2, 5):
        process = subprocess.Popen([sys.executable, "-c", program])
        before = len(list(out.glob("*.bin")))
        while len(list(out.glob("*.bin"))) < before + shards and process.poll() is None:
            time.sleep(0.001)
        assert process.poll() is None
        process.kill()
        process.wait()
        assert not (out / "manifest.json").exists()
    prepare([str(sources)], out, **options)
    assert contents(out) == whole


def test_anybodys_tokenizer_will_do(sources: Path, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    own = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    own.save(str(tmp_path / "own.json"))
    options = {"tokenizer": tmp_path / "own.json", "context": 64, "held_out_one_in": 5}
    text = prepare([str(sources)], tmp_path / "out", **options)
    assert text.vocabulary == 257  # each byte, and <|bos|>
    assert text.manifest.bytes_per_token == 1
    assert sum(len(document) for document in text.validation_documents()) > 1000
    own.add_special_tokens(["<s>"])
    own.save(str(tmp_path / "with.json"))
    text = prepare([str(sources)], tmp_path / "with", **(options | {"tokenizer": tmp_path / "with.json"}))
    assert text.vocabulary == 257
    assert all((rows[:, 0] == 256).all() for rows in text.rows(text.manifest.train))


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in documents(4000))
    peaks = []
    for copies in (1, 6):
        source = tmp_path / f"{copies}.jsonl"
        source.write_text(lines * copies)
        options = OPTIONS | {"part_characters": 2**18}
        program = (
            "from pathlib import Path; from parcae.data.prepare import prepare; "
            "from tests.conftest import peak_mebibytes; "
            f"prepare([{str(source)!r}], Path({str(tmp_path / str(copies))!r}), **{options!r}); "
            "print(peak_mebibytes())"
        )
        root = Path(__file__).parents[3]
        ran = subprocess.run(
            [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
        )
        peaks.append(float(ran.stdout))
    assert peaks[1] - peaks[0] < 30  # MiB; the text itself grew by 7


def test_a_part_that_fails_midway_is_made_again(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import parcae.data.prepare as module

    options = OPTIONS | {"part_characters": 20_000}
    whole = contents(prepare([str(sources)], tmp_path / "whole", **options).folder)
    write, out = module.write_atomically, tmp_path / "failing"
    for most in range(1, 60):  # one write more each time, from where the last one stopped
        left = most % 3 + 1

        def failing(path: Path, content: bytes) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device", str(path))
            write(path, content)

        monkeypatch.setattr(module, "write_atomically", failing)
        try:
            prepare([str(sources)], out, **options)
            break
        except OSError:
            continue
    monkeypatch.setattr(module, "write_atomically", write)
    prepare([str(sources)], out, **options)
    assert contents(out) == whole


def test_a_packer_takes_the_longest_that_fits_and_crops_the_shortest() -> None:
    packer = Packer(10)
    for length in (6, 3, 4, 7):
        packer.add(np.full(length, length, dtype=np.uint32))
    rows = packer.finish(np.array([9], dtype=np.uint32))
    assert [row.tolist() for row in rows] == [[7] * 7 + [3] * 3, [6] * 6 + [4] * 4]
    assert packer.cropped == 0
    for length in (8, 5, 14):
        packer.add(np.full(length, length, dtype=np.uint32))
    rows = packer.finish(np.array([9], dtype=np.uint32))
    assert [row.tolist() for row in rows] == [[14] * 10, [8] * 8 + [5] * 2]
    assert packer.cropped == 4 + 3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", b"no parquet", "cannot read"),
        ("a.jsonl", b'{"text": "\xff\xfe"}\n', "cannot read"),
        ("a.txt", b"\xff\xfe", "not UTF-8"),
        ("a.jsonl", b"", "hold no text"),
        ("a.csv", b"text", "names no file"),
    ],
)
def test_a_source_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        prepare([str(folder)], tmp_path / "out", **OPTIONS)
    assert not list((tmp_path / "out").glob("*"))[1:]  # nothing but the working folder


def test_what_has_changed_is_seen(sources: Path, tmp_path: Path) -> None:
    text = prepare([str(sources)], tmp_path / "out", **OPTIONS)
    with pytest.raises(InputError, match="other options"):
        prepare([str(sources)], tmp_path / "out", **(OPTIONS | {"context": 32}))
    shard = tmp_path / "out" / text.manifest.train.shards[0].name
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match="has changed"):
        verify(open_prepared(tmp_path / "out"))
    shard.write_bytes(content[:-2])
    with pytest.raises(InputError, match="cut short"):
        text.rows(text.manifest.train)
