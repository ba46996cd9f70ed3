"""Files of weights as training code leaves them: wrapped, with counters among them, in several parts."""

import io
import json
import time
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from parcae.errors import InputError
from parcae.evaluation.texts import evaluate_texts
from parcae.formats.pretrained import DOWNLOADED, load_model, load_pretrained
from tests.conftest import Command
from tests.parcae import official
from tests.parcae.formats.test_official import Hostile, saved, tokens_and_state

CONFIG = official.parcae_config()
WEIGHTS = official.random_state(CONFIG)
ALONE = {name: tensor.clone() for name, tensor in WEIGHTS.items() if name != "lm_head.weight"}
SAFE, PICKLED = "model.safetensors.index.json", "pytorch_model.bin.index.json"


def in_parts(folder: Path, state: dict[str, torch.Tensor], index: str, parts: int = 3) -> Path:
    """`state` in several files of one kind, as huggingface_hub and transformers write them."""
    stem, suffix = ("model", "safetensors") if index == SAFE else ("pytorch_model", "bin")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    weight_map, names = {}, sorted(state)
    for part in range(parts):
        file, mine = f"{stem}-{part + 1:05}-of-{parts:05}.{suffix}", names[part::parts]
        weight_map |= dict.fromkeys(mine, file)
        content = {name: state[name] for name in mine}
        if index == SAFE:
            save_file(content, folder / file)
        else:
            torch.save(content, folder / file)
    size = sum(tensor.nbytes for tensor in state.values())
    content = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / index).write_text(json.dumps(content))
    return folder


def logits(folder: Path) -> torch.Tensor:
    tokens, h = tokens_and_state(CONFIG)
    with torch.no_grad():
        return load_model(folder).logits_at(tokens, 4, h)


@pytest.fixture(scope="module")
def expected() -> torch.Tensor:
    tokens, h = tokens_and_state(CONFIG)
    return official.logits(CONFIG, WEIGHTS, tokens, h, 4)


@pytest.mark.parametrize(
    "prefix",
    [
        "_forward_module.",
        "_forward_module.module.",
        "module._forward_module._orig_mod.",
        "_fsdp_wrapped_module._orig_mod.",
        "model._forward_module.model.",
    ],
)
def test_wrappers_are_taken_off_however_nested(prefix: str, expected: torch.Tensor, tmp_path: Path) -> None:
    state = {f"{prefix}{name}": tensor for name, tensor in WEIGHTS.items()}
    torch.testing.assert_close(logits(saved(tmp_path / "a", CONFIG, state)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("wrapper", ["_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod"])
def test_wrappers_of_single_layers_are_taken_off(
    wrapper: str, expected: torch.Tensor, tmp_path: Path
) -> None:
    state = {
        "module." + name.replace(".0.", f".0.{wrapper}.").replace("wte.", f"{wrapper}.wte."): tensor
        for name, tensor in WEIGHTS.items()
    }
    torch.testing.assert_close(logits(saved(tmp_path / "a", CONFIG, state)), expected, rtol=0, atol=1e-4)


def test_two_names_for_one_weight_are_refused(tmp_path: Path) -> None:
    state = WEIGHTS | {"_forward_module.transformer.ln_f.weight": torch.ones(64)}
    with pytest.raises(InputError, match=r"transformer\.ln_f\.weight twice"):
        load_model(saved(tmp_path / "a", CONFIG, state))


def test_what_is_no_weight_is_passed_over(expected: torch.Tensor, tmp_path: Path) -> None:
    extras: dict[str, Any] = {
        "step": torch.tensor(12_000),
        "module.transformer.tokens_seen": torch.tensor([1, 2], dtype=torch.int64),
        "transformer.mask": torch.ones(4, 4, dtype=torch.bool).tril(),
        "transformer.freqs_cis": official.positions(CONFIG).bfloat16(),  # of another module
        "transformer.rope": torch.ones(3, dtype=torch.complex64),
        "iteration": 12_000,
        "best_loss": 2.5,
        "tag": None,
        "optimizer": {"state": {}},
    }
    torch.testing.assert_close(
        logits(saved(tmp_path / "a", CONFIG, WEIGHTS | extras)), expected, rtol=0, atol=1e-4
    )
    nested = {"state_dict": {"model": WEIGHTS, "step": 3}, "epoch": 1}
    torch.testing.assert_close(logits(saved(tmp_path / "b", CONFIG, nested)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"surplus": torch.zeros(2)}, "surplus"),
        ({"transformer.prelude.0.norm_1.bias": torch.zeros(64)}, r"norm_1\.bias"),
        ({"transformer.freqs_cis": torch.zeros(1, 24, 1, 8, 2)}, "freqs_cis"),
        ({"transformer.wte.weight": torch.ones(256, 64, dtype=torch.int8)}, r"wte\.weight.*int8"),
        ({"transformer.C.weight": torch.zeros(64, 63)}, r"readout\.weight of shape"),
        ({"transformer.C.weight": torch.zeros(64, 64).to_sparse()}, r"C\.weight.*sparse"),
    ],
)
def test_what_may_be_a_weight_is_not(change: dict[str, torch.Tensor], named: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=named):
        load_model(saved(tmp_path / "a", CONFIG, WEIGHTS | change))


@pytest.mark.parametrize("content", [{}, {"step": 3}, [], torch.zeros(3)])
def test_a_file_without_weights_is_a_sentence(content: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no state dict"):
        load_model(saved(tmp_path / "a", CONFIG, content))


@pytest.mark.parametrize("index", [SAFE, PICKLED])
def test_weights_in_several_files_are_one_model(index: str, expected: torch.Tensor, tmp_path: Path) -> None:
    folder = in_parts(tmp_path / "a", ALONE, index)
    torch.testing.assert_close(logits(folder), expected, rtol=0, atol=1e-4)
    wrapped = {f"_forward_module.{name}": tensor for name, tensor in ALONE.items()}
    wrapped["_forward_module.step"] = torch.tensor(3)
    folder = in_parts(tmp_path / "b", wrapped, index, parts=5)
    torch.testing.assert_close(logits(folder), expected, rtol=0, atol=1e-4)
    for file in folder.iterdir():  # a repository's are fetched by these
        assert any(fnmatch(file.name, pattern) for pattern in DOWNLOADED), file.name


def indexed(content: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / SAFE).write_text(
        content if isinstance(content, str) else json.dumps(content)
    )


def outside(name: str) -> Callable[[Path], None]:
    """An index that names a file of good weights, but not in its own folder."""

    def write(folder: Path) -> None:
        for place in (folder.parent, folder / "inner"):
            place.mkdir(exist_ok=True)
            save_file(ALONE, place / "all.safetensors")
        indexed({"weight_map": dict.fromkeys(ALONE, name.format(folder.parent))})(folder)

    return write


def lacking(folder: Path) -> None:
    (folder / "model-00002-of-00003.safetensors").unlink()


def cut(folder: Path) -> None:
    file = folder / "model-00002-of-00003.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def twice(folder: Path) -> None:
    save_file({name: ALONE[name] for name in sorted(ALONE)[:9]}, folder / "model-00002-of-00003.safetensors")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (outside("../all.safetensors"), "'../all.safetensors'"),
        (outside("{}/all.safetensors"), "all.safetensors'"),
        (outside("inner/../../all.safetensors"), "all.safetensors'"),
        (outside("inner/all.safetensors"), "'inner/all.safetensors'"),
        (outside(".."), "'..'"),
        (outside(""), "''"),
        (lacking, "'model-00002-of-00003.safetensors', which does not exist"),
        (cut, "damaged"),
        (twice, "twice"),
        (indexed("{"), "JSON"),
        (indexed([]), "not a JSON object"),
        (indexed({}), "weight_map"),
        (indexed({"weight_map": {}}), "weight_map"),
        (indexed({"weight_map": ["model.safetensors"]}), "weight_map"),
        (indexed({"weight_map": {"transformer.C.weight": 3}}), "weight_map"),
        (
            indexed({"weight_map": {"transformer.C.weight": "model-00001-of-00003.safetensors"}}),
            "lacks transformer.wte.weight",
        ),
    ],
)
def test_an_index_that_is_none_is_a_sentence(
    damage: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    folder = in_parts(tmp_path / "a", ALONE, SAFE)
    damage(folder)
    with pytest.raises(InputError) as refusal:
        load_model(folder)
    assert named in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_hostile_part_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    folder = in_parts(tmp_path / "a", ALONE, PICKLED)
    torch.save({"transformer.ln_f.weight": Hostile(marker)}, folder / "pytorch_model-00002-of-00003.bin")
    with pytest.raises(InputError, match="never executed"):
        load_model(folder)
    assert not marker.exists()


def test_eval_reads_what_training_code_left(command: Command, tmp_path: Path) -> None:
    config = CONFIG | {"vocab_size": 256}
    text = tmp_path / "text.txt"
    text.write_bytes(bytes(range(256)) * 2)
    state = {f"module._forward_module.{name}": tensor for name, tensor in ALONE.items()}
    folder = in_parts(tmp_path / "parts", state | {"step": torch.tensor(7)}, SAFE)
    (folder / "config.json").write_text(json.dumps(config))
    asked = ("parcae-sweep", "eval", "parts", "--text", "text.txt", "--recurrences", "1,4", "--json")
    (found,) = command(*asked).json["texts"]
    plain = load_pretrained(saved(tmp_path / "plain", config, WEIGHTS))
    (expected,) = evaluate_texts(plain, [text], [1, 4], 10_000)
    assert found["losses"] == pytest.approx({str(t): loss for t, loss in expected.losses.items()}, rel=1e-6)
    outside("../all.safetensors")(folder)
    refused = command(*asked)
    assert refused.code == 2
    assert "'../all.safetensors'" in refused.sentence


def _bomb(path: Path) -> None:
    """A few kilobytes that unpack to 40 MB."""
    content = io.BytesIO()
    torch.save(WEIGHTS | {"transformer.wte.weight": torch.zeros(10_000_000)}, content)
    with zipfile.ZipFile(content) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))


@pytest.mark.parametrize(("shape", "stride"), [((10**6, 10**6), (0, 0)), ((10**6, 32), (1, 0))])
def test_weights_spread_over_few_bytes_are_refused(
    shape: tuple[int, int], stride: tuple[int, int], tmp_path: Path
) -> None:
    spread = torch.zeros(10**6).as_strided(shape, stride)
    folder = saved(tmp_path / "a", CONFIG, WEIGHTS | {"transformer.wte.weight": spread})
    with pytest.raises(InputError, match=r"transformer\.wte\.weight of shape .* a place in the file"):
        load_model(folder)


def test_many_weights_in_the_same_bytes_are_refused(tmp_path: Path) -> None:
    one = torch.zeros(10**5)
    folder = saved(tmp_path / "a", CONFIG, {f"transformer.h.{i}.weight": one for i in range(1000)})
    with pytest.raises(InputError, match="many tensors in the same bytes"):
        load_model(folder)


def test_a_file_that_unpacks_to_more_than_it_has_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", CONFIG, WEIGHTS)
    _bomb(next(path for path in folder.iterdir() if path.suffix in (".bin", ".pt")))
    with pytest.raises(InputError, match="unpacks to"):
        load_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"n_layers_in_recurrent_block": 10**5},
        {"n_layers_in_prelude": 10**9},
        {"block_size": 10**9},
        {"n_embd": 10**9},
        {"intermediate_size": 10**12},
        {"mean_recurrence": 10**9},
        {"mean_backprop_depth": 10**9},
    ],
)
def test_sizes_beyond_reason_are_refused_at_once(change: dict[str, int], tmp_path: Path) -> None:
    folder = saved(tmp_path / "a", CONFIG | change, WEIGHTS)
    started = time.monotonic()
    with pytest.raises(InputError):
        load_model(folder)
    assert time.monotonic() - started < 5
