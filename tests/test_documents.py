"""Every command in README.md and docs/ runs: each page in order, in an empty folder.

A line of a code block that starts with a program is a command. It runs as it stands, unless it is in SMALLER,
with what runs in its place, or in NOT_RUN, with the reason.
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.conftest import BIN

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]
PROGRAMS = ("parcae-sweep", "parcae-fit", "python", "make")
BLOCK = re.compile(r"^```\w*\n(.*?)^```|((?:^    [^\n]*\n)+)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.toml)\n")  # the first line of a block that is a file

SMALLER = {
    "parcae-sweep plan --flops 1e19": "parcae-sweep plan --model nano --flops 1e9 --recurrences 1",
    "parcae-sweep plan --model nano --flops 6e10,1.2e11,2.4e11 --recurrences 2,3,4,6,8,12": (
        "parcae-sweep plan --model nano --flops 2e9 --recurrences 1,2,4,6"
    ),
    "parcae-sweep submit": "parcae-sweep submit --cluster local",
    "parcae-fit versus A B": "parcae-fit versus published:small-140m published:medium-370m",
    "parcae-sweep data prepare '/corpora/mine/*.jsonl.zst' --out mine --vocabulary 4096 --context 512": (
        "parcae-sweep data prepare 'corpus/*.jsonl' --out mine --vocabulary 300 --context 64 "
        "--held-out-one-in 2"
    ),
}
NOT_RUN = {
    "make demo": "takes minutes",
    "make test": "is the tests",
    "make .venv/.ready": "is how the tests were installed",
    "parcae-sweep eval RUN --core eval_bundle --seeds 1234,1235,1236": (
        "takes a bundle; tests/parcae/evaluation/test_core.py makes one"
    ),
    "parcae-sweep eval RUN --harness piqa,arc_easy": "downloads its tasks",
    "parcae-sweep eval RUN --harness mine --include tasks/": (
        "takes tasks; tests/parcae/evaluation/test_harness.py defines some"
    ),
    "parcae-sweep eval MODEL --core FOLDER": "takes a bundle, as on docs/scores.md",
    **dict.fromkeys(
        ("parcae-fit training-law", "parcae-fit compare", "parcae-fit predict --flops 4.8e11"),
        "takes the laws of a study that trains for minutes; tests/analysis/test_cli.py has one",
    ),
    "parcae-sweep data prepare fineweb-edu": "downloads gigabytes",
    "parcae-sweep data prepare /corpora/fineweb-edu --recipe fineweb-edu --out data/fineweb-edu": (
        "takes gigabytes of documents; tests/parcae/data/test_prepare.py follows recipes"
    ),
    **dict.fromkeys(
        (
            "python size_only.py compare --sweep published",
            "python size_only.py training-law --sweep published --json",
            "python size_only.py report --sweep published",
        ),
        "tests/analysis/test_new_law.py follows the page",
    ),
}


def blocks(page: str) -> Iterator[str]:
    for fenced, indented in BLOCK.findall((ROOT / page).read_text()):
        yield fenced or dedent(indented)


def commands(page: str) -> list[str]:
    """The page's commands, without what follows them: `# comment` or `->  outcome`."""
    lines = [line for block in blocks(page) for line in block.splitlines()]
    plain = [re.split(r"\s+(?:#|->)\s", line.removeprefix(".venv/bin/"))[0].rstrip() for line in lines]
    return [line for line in plain if line.startswith(tuple(f"{program} " for program in PROGRAMS))]


def run(words: list[str], folder: Path) -> str:
    """What a command prints."""
    program = sys.executable if words[0] == "python" else BIN / words[0]
    done = subprocess.run([program, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_the_commands_of_a_page_run(page: str, tmp_path: Path) -> None:
    for block in blocks(page):
        if file := FILE.match(block):
            (tmp_path / file[1]).write_text(block)
    (tmp_path / "corpus").mkdir()
    documents = [json.dumps({"text": f"Sentence {n} of an own text. " * 9}) for n in range(50)]
    (tmp_path / "corpus" / "own.jsonl").write_text("\n".join(documents))
    (tmp_path / "lambada.jsonl").write_text('{"text": "A sentence and its last word"}\n')
    (tmp_path / "wiki.test.raw.txt").write_text("\n = A title = \n\n A sentence of it . \n")
    stands_for = {"FILE": "corpus/own.jsonl", "FOLDER": "exported"}
    for command in commands(page):
        if command not in NOT_RUN:
            words = shlex.split(SMALLER.get(command, command))
            if {"MODEL", "RUN"} & set(words):
                stands_for |= dict.fromkeys(("MODEL", "RUN"), a_run(tmp_path))
            run([stands_for.get(word, word) for word in words], tmp_path)


def a_run(folder: Path) -> str:
    """A finished run of the page's study, or of one of a single run."""
    if not list(folder.glob("runs/*/result.json")):
        run(["parcae-sweep", "plan", "--model", "nano", "--flops", "1e8", "--recurrences", "2"], folder)
        run(["parcae-sweep", "submit", "--cluster", "local"], folder)
    return next(path.parent.name for path in folder.glob("runs/*/result.json"))


def test_what_is_listed_here_is_in_a_page() -> None:
    written = {command for page in PAGES for command in commands(page)}
    assert {*SMALLER, *NOT_RUN} <= written
