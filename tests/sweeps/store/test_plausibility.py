"""Files whose numbers cannot be what they are called: they are told what they look like."""

from pathlib import Path
from typing import Any

import pytest

from parcae.errors import InputError
from sweeps.store.importing.numbers import Count, LossUnit
from sweeps.store.importing.understand import Options, understand

from .test_import import NUMBERS, TEN, imported, sizes, write


def lines(*rows: tuple[object, ...]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


PLAIN = ("parameters", "tokens", "val_loss")
LOOPS = ("flops", "mean_recurrence", "val_loss")


@pytest.mark.parametrize(
    ("text", "looks", "options"),
    [
        (
            lines(PLAIN, *((n / 1e9, d / 1e9, loss) for n, d, loss in TEN)),
            "parameters in billions and tokens in billions: give --params-in billions --tokens-in billions",
            {"parameters_in": Count.BILLIONS, "tokens_in": Count.BILLIONS},
        ),
        (
            lines(PLAIN, *((n / 1e6, d, loss) for n, d, loss in TEN)),
            "parameters in millions: give --params-in millions",
            {"parameters_in": Count.MILLIONS},
        ),
        (
            lines(PLAIN, *((n, d / 1e9, loss) for n, d, loss in TEN)),
            "tokens in billions: give --tokens-in billions",
            {"tokens_in": Count.BILLIONS},
        ),
        (
            lines(PLAIN, *((n, d, 2.718281828**loss) for n, d, loss in TEN)),
            "perplexities: give --loss perplexity",
            {"loss": LossUnit.PERPLEXITY},
        ),
        (
            lines(PLAIN, *((d, n, loss) for n, d, loss in TEN)),
            "look swapped: exchange them with --map",
            {"mapping": {"parameters": "tokens", "tokens": "parameters"}},
        ),
        (
            lines((*PLAIN, "flops"), *((n, d, loss, 6 * n * d / 1e9) for n, d, loss in TEN)),
            "gigaFLOPs",
            None,
        ),
        (
            lines(LOOPS, *((m, 10.0**k, 3) for m in (1, 2, 4) for k in (18, 19))),
            "flops .* look swapped",
            None,
        ),
        (
            lines(PLAIN, *TEN, (4e7, 5.77e9, 9.9)),
            "line 2 and line 12 look like one run twice.*3.399 and 9.9",
            None,
        ),
    ],
)
def test_an_implausible_file_is_told_what_it_looks_like(
    tmp_path: Path, text: str, looks: str, options: dict[str, Any] | None
) -> None:
    with pytest.raises(InputError, match=f"{looks}.*--as-given"):
        imported(tmp_path, text)
    assert imported(tmp_path, text, "insisted", as_given=True).runs
    if options is not None:
        assert sizes(imported(tmp_path, text, "told", **options).runs) == pytest.approx(NUMBERS)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((4e7, 6e9, 31), "with a loss over 20 nats"),
        ((40, 6e9, 3), "of fewer than 1,000 parameters"),
        ((4e7, 6, 3), "on fewer than 10,000 tokens"),
        ((4e9, 6e7, 3), "on fewer than 0.05 tokens per parameter"),
    ],
)
def test_a_single_implausible_row_is_left_out_and_counted(
    tmp_path: Path, row: tuple[float, ...], reason: str
) -> None:
    found = understand(write(tmp_path, lines(PLAIN, *TEN, row)), Options())
    assert found.left_out == {reason: 1}


def test_a_unit_applied_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"4e\+16 .*parameters.*applied twice"):
        imported(tmp_path, "N,D,loss\n40B,2B,3.1\n90B,2B,3\n", parameters_in=Count.MILLIONS)


def test_loops_in_millions_are_told(tmp_path: Path) -> None:
    header = "once_parameters,recurrent_parameters,mean_recurrence,tokens,val_loss\n"
    with pytest.raises(InputError, match="parameters in millions: give --params-in millions"):
        imported(tmp_path, f"{header}40,14,4,2e9,3.1\n40,14,8,2e9,3\n")
