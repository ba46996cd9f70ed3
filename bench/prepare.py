"""Preparing text, against tokenizers alone; its peak memory; and the same bytes after kills.

    python bench/prepare.py FOLDER --gib 1 --kills 10

Makes Parquet and JSON lines of that size in FOLDER, trains a tokenizer on a part, and prepares all of it:
once undisturbed, once killed at random times and begun again.
"""

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np

from parcae.data.sources import find_files, read_documents
from parcae.data.tokenizer import load_tokenizer, train_tokenizer

FILE_BYTES = 64 * 2**20
WORDS = 200_000
VOCABULARY = 32_768
SAMPLE_BYTES = 96 * 2**20


def make_source(folder: Path, size: int) -> None:
    """Documents of words whose frequencies fall as those of a language do; every other file is JSON lines."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    weights = np.arange(26, 0, -1) ** 1.5
    lengths = draw.integers(2, 11, size=WORDS)
    stream = draw.choice(letters, size=int(lengths.sum()), p=weights / weights.sum())
    words = ["".join(part) for part in np.split(stream, np.cumsum(lengths)[:-1])]
    table = np.array(words, dtype=object)
    chances = np.cumsum(1 / np.arange(1, WORDS + 1) ** 1.05)
    written = number = 0
    while written < size:
        texts: list[str] = []
        held = 0
        while held < min(FILE_BYTES, size - written):
            chosen = table[np.searchsorted(chances, draw.random(200_000) * chances[-1])]
            for part in np.split(chosen, np.sort(draw.integers(0, len(chosen), size=300))):
                texts.append(" ".join(part.tolist()) + ".\n")
                held += len(texts[-1])
        name = folder / f"{number:03d}"
        if number % 2:
            with name.with_suffix(".jsonl").open("w") as file:
                file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
        else:
            rows = duckdb.from_query("SELECT unnest(?) AS text", params=[texts])
            rows.write_parquet(str(name.with_suffix(".parquet")))
        written, number = written + held, number + 1


def documents(folder: Path) -> Iterator[str]:
    for path in find_files([str(folder)]):
        yield from read_documents(path)


def tokenizers_alone(source: Path, tokenizer: Path) -> tuple[float, float]:
    """Characters a second, and a second of processor, of `tokenizers` on documents in memory, in batches as
    `prepare` has them."""
    batches: list[list[str]] = [[]]
    size = total = 0
    for text in documents(source):
        batches[-1].append(text)
        size, total = size + len(text), total + len(text)
        if size >= 2**20:
            batches, size = [*batches, []], 0
        if total >= SAMPLE_BYTES:
            break
    loaded = load_tokenizer(tokenizer)
    for batch in batches[:4]:
        loaded.encode_batch_fast(batch, add_special_tokens=False)
    started, processor = time.perf_counter(), time.process_time()
    for batch in batches:
        loaded.encode_batch_fast(batch, add_special_tokens=False)
    return total / (time.perf_counter() - started), total / (time.process_time() - processor)


def command(source: Path, out: Path, tokenizer: Path) -> list[str]:
    program = [sys.executable, "-m", "sweeps", "data", "prepare", str(source), "--out", str(out)]
    return [*program, "--tokenizer", str(tokenizer)]


def peak_gibibytes(words: list[str]) -> float:
    """Runs a command; the most memory that it held. `resource` gives this process' own, if that was more."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status, peak = Path(f"/proc/{process.pid}/status"), 0
    while process.poll() is None:
        for line in status.read_text().splitlines():  # it is a child not yet waited for: the file is there
            if line.startswith("VmHWM"):
                peak = int(line.split()[1])
        time.sleep(0.05)
    assert process.returncode == 0, words
    return peak / 2**20


def digests(folder: Path) -> dict[str, str]:
    files = [*folder.glob("*.bin"), *folder.glob("*.json")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=10)
    arguments = parser.parse_args()
    folder = arguments.folder
    source, tokenizer = folder / "source", folder / "tokenizer.json"
    if not source.exists():
        make_source(source, int(arguments.gib * 2**30))
    if not tokenizer.exists():
        train_tokenizer(documents(source), VOCABULARY, 50_000_000).save(str(tokenizer))
    characters = sum(map(len, documents(source)))
    print(f"{characters / 2**30:.2f} GiB of text in {len(find_files([str(source)]))} files", flush=True)
    alone, alone_processor = tokenizers_alone(source, tokenizer)
    print(
        f"tokenizers alone: {alone / 2**20:.2f} MiB a second, {alone_processor / 2**20:.2f} a CPU second",
        flush=True,
    )
    started = time.perf_counter()
    peak = peak_gibibytes(command(source, folder / "whole", tokenizer))
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    speed = characters / seconds
    print(
        f"prepared in {seconds:.0f} s: {speed / 2**20:.2f} MiB a second, {speed / alone:.2f} of tokenizers "
        f"alone, {characters / processor / alone_processor:.2f} a CPU second; peak memory {peak:.2f} GiB",
        flush=True,
    )
    again = folder / "killed"
    chance = random.Random(0)
    kills = 0
    while kills < arguments.kills:
        process = subprocess.Popen(
            command(source, again, tokenizer), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=chance.uniform(0.02, 0.25) * seconds)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            print(f"killed with {len(list(again.glob('*.bin')))} shards", flush=True)
    subprocess.run(command(source, again, tokenizer), check=True, capture_output=True)
    same = digests(again) == digests(folder / "whole")
    print(f"killed {kills} times and begun again: the same {len(digests(again))} files: {same}")


if __name__ == "__main__":
    main()
