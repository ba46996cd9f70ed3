"""This project's own folders and run folders: what was trained is what is loaded."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from parcae.config import Discretisation, ModelConfig, StateInit
from parcae.data.corpus import EMBEDDED, load_corpus
from parcae.errors import InputError
from parcae.formats.pretrained import Pretrained, load_model, load_pretrained, save_model
from parcae.model.transformer import initial_state
from parcae.training.run import train
from tests.parcae.models import FAMILIES, TINY, random_model, random_tokens, shape, training


def pretrained(family: str, **changes: object) -> Pretrained:
    model = random_model(ModelConfig.from_dict({**FAMILIES[family].to_dict(), **changes}), torch.float32)
    return Pretrained(model=model, mean_recurrence=5, backward_depth=3, tokenizer="bytes")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_is_loaded_as_it_was(family: str, tmp_path: Path) -> None:
    saved = pretrained(family)
    save_model(saved, tmp_path / "model")
    loaded = load_pretrained(tmp_path / "model")
    assert loaded.model.config == saved.model.config
    assert (loaded.mean_recurrence, loaded.backward_depth, loaded.tokenizer) == (5, 3, "bytes")
    tokens = random_tokens(saved.model.config, 2)
    assert torch.equal(loaded.model.logits_at(tokens, 3), saved.model.logits_at(tokens, 3))
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())
    with pytest.raises(InputError, match="already exists"):
        save_model(saved, tmp_path / "model")


@pytest.mark.parametrize("family", ["rdm-parcae", "rdm-pre-norm", "fixed-depth"])
def test_the_official_layout_holds_what_it_has_no_switch_for(family: str, tmp_path: Path) -> None:
    """No value embeddings and no readout: written as tables of zeros and the identity."""
    saved = pretrained(family, width=32)
    save_model(saved, tmp_path / "official", official=True)
    loaded = load_model(tmp_path / "official")
    tokens = random_tokens(saved.model.config, 2)
    state = initial_state(saved.model.config, [7, 8], saved.model.embedding.weight)
    torch.testing.assert_close(loaded.logits_at(tokens, 3, state), saved.model.logits_at(tokens, 3, state))


def test_a_zero_order_hold_is_kept_and_is_none_of_the_official_code(tmp_path: Path) -> None:
    saved = pretrained("parcae", discretisation="zero-order-hold", width=32)
    save_model(saved, tmp_path / "model")
    assert load_model(tmp_path / "model").config.discretisation is Discretisation.ZERO_ORDER_HOLD
    euler = pretrained("parcae", width=32)
    tokens = random_tokens(saved.model.config, 2)
    assert not torch.allclose(saved.model.logits_at(tokens, 2), euler.model.logits_at(tokens, 2), atol=1e-3)
    with pytest.raises(InputError, match="zero-order-hold"):
        save_model(saved, tmp_path / "official", official=True)
    assert not (tmp_path / "official").exists()


def test_what_the_official_layout_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="residual norms"):
        save_model(pretrained("rdm-residual-norm"), tmp_path / "norms", official=True)
    nano = replace(pretrained("parcae", recurrent_layers=1, width=32), mean_recurrence=4)
    with pytest.raises(InputError, match="layer 2 at mean_recurrence 4"):
        save_model(nano, tmp_path / "gates", official=True)
    with pytest.raises(InputError, match="32 channels"):
        save_model(pretrained("parcae"), tmp_path / "narrow", official=True)
    assert not list(tmp_path.iterdir())


def test_a_run_folder_is_its_newest_whole_checkpoint(tmp_path: Path) -> None:
    config = training()
    train(TINY, config, load_corpus(EMBEDDED), tmp_path)
    with pytest.raises(InputError, match="neither"):
        load_model(tmp_path)
    spec = {"model": TINY.to_dict(), "training": config.to_dict(), "tokenizer": "bytes"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    loaded = load_pretrained(tmp_path)
    assert (loaded.mean_recurrence, loaded.backward_depth) == (4, 2)
    (newest,) = (tmp_path / "checkpoint").glob("step-*12.pt")
    trained = torch.load(newest, weights_only=True)["model"]
    assert all(torch.equal(trained[name], tensor) for name, tensor in loaded.model.state_dict().items())
    shutil.copy(newest, newest.with_name("step-000000013.pt"))
    newest.with_name("step-000000013.pt").write_bytes(newest.read_bytes()[:-1000])
    assert torch.equal(load_model(tmp_path).embedding.weight, loaded.model.embedding.weight)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format": "other 1"}', '{"format": "parcae-lab 1"}'])
def test_a_config_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(tmp_path)


def test_a_wrong_key_is_named_with_its_file_and_path(tmp_path: Path) -> None:
    model = {**TINY.to_dict(), "width": "wide"}
    spec = {"model": model, "training": training().to_dict(), "tokenizer": "bytes"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(InputError, match=r"spec\.json: model\.width is 'wide'; it takes a whole number"):
        load_model(tmp_path)
    own = {"format": "parcae-lab 1", "model": TINY.to_dict(), "mean_recurrence": 4, "backward_depth": 2}
    (tmp_path / "config.json").write_text(json.dumps(own))
    with pytest.raises(InputError, match=r"config\.json: the key tokenizer is missing"):
        load_model(tmp_path)


def test_a_repository_without_the_extra_is_a_sentence() -> None:
    script = """
import sys
sys.modules["huggingface_hub"] = None  # as where it is not installed
from parcae.errors import InputError
from parcae.formats.pretrained import load_model
try:
    load_model("owner/name")
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "parcae-lab[hub]" in done.stdout


def test_logits_at_says_what_it_takes() -> None:
    model = random_model(TINY, torch.float32)
    tokens = random_tokens(TINY, 2)
    assert model.logits_at(tokens[:, :5], 2).shape == (2, 5, 256)
    for wrong in (
        lambda: model.logits_at(torch.cat([tokens, tokens], 1), 2),
        lambda: model.logits_at(tokens, 0),
        lambda: model.logits_at(tokens, 2, torch.zeros(2, 12, 8)),
    ):
        with pytest.raises(InputError):
            wrong()


@pytest.mark.parametrize("kind", StateInit)
def test_initial_states_have_their_deviation(kind: StateInit) -> None:
    config = shape(state_init=kind, width=64, context=512)
    state = initial_state(config, range(8), torch.empty(0, dtype=torch.float64))
    deviation = {"zero": 0, "normal": 1, "embed": 1 / 8, "unit": 1, "like-init": 0.0784}[kind]
    assert float(state.std()) == pytest.approx(deviation, rel=0.02)
    if kind is StateInit.UNIT:
        torch.testing.assert_close(state.mean(-1), torch.zeros(8, 512, dtype=torch.float64))
        torch.testing.assert_close(state.std(-1), torch.ones(8, 512, dtype=torch.float64))
