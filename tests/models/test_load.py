from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import instantstyle
from instantstyle.errors import ModelError
from instantstyle.models import CARDS, registry

from ..conftest import make_image_encoder, make_pipe


@pytest.fixture
def folder(tmp_path, tokenizer_folder, state):
    make_pipe(tokenizer_folder).save_pretrained(tmp_path)
    make_image_encoder().save_pretrained(tmp_path / "image_encoder")
    tensors = {
        f"{part}.{name}": tensor for part, tensors in state.items() for name, tensor in tensors.items()
    }
    save_file(tensors, tmp_path / "ip-adapter_small.safetensors")
    return tmp_path


def test_a_folder_becomes_a_ready_instantstyle(folder, styled, reference, short):
    loaded = instantstyle.load(folder)
    loaded.pipe.set_progress_bar_config(disable=True)
    drawn = loaded("a", style=reference, seed=1, **short).images
    assert drawn.equal(styled("a", style=reference, seed=1, **short).images)


def test_a_folder_is_loaded_in_the_dtype_asked_for(folder):
    loaded = instantstyle.load(folder, dtype=torch.bfloat16, device="cpu")
    assert loaded.pipe.unet.dtype == loaded.image_encoder.model.dtype == torch.bfloat16


def test_loading_shows_no_progress_bars_and_leaves_them_as_they_were(folder, capfd):
    from diffusers.utils import logging

    instantstyle.load(folder)
    assert "%|" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled()


def test_a_registered_model_brings_its_architecture_and_defaults(folder, monkeypatch):
    files = {
        "pipeline": str(folder),
        "adapter": "ip-adapter_small.safetensors",
        "image_encoder": "image_encoder",
    }
    card = replace(CARDS["mini"], **files, defaults={"num_inference_steps": 2})
    monkeypatch.setitem(CARDS, "mini", card)
    loaded = instantstyle.load("mini")
    assert loaded.architecture.name == "mini"
    assert loaded.defaults == {"num_inference_steps": 2}


def test_a_bundled_model_that_is_not_whole_names_what_it_lacks(tmp_path, monkeypatch):
    card = registry.Card("mini", str(tmp_path), "ip-adapter_mini.safetensors", "image_encoder")
    monkeypatch.setitem(CARDS, "mini", card)
    with pytest.raises(
        ModelError, match=r"lacks model_index\.json, unet/config\.json, ip-adapter_mini\.safetensors"
    ):
        instantstyle.load("mini")


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(ModelError, match=r"known are mini, sdxl, sd15.* Did you mean mini\?"):
        instantstyle.load("minni")


def test_a_folder_without_an_adapter_says_what_to_pass(folder):
    (folder / "ip-adapter_small.safetensors").unlink()
    with pytest.raises(ModelError, match="pass adapter="):
        instantstyle.load(folder)


def test_a_folder_with_two_adapters_asks_which(folder):
    (folder / "ip-adapter_other.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="holds several adapters"):
        instantstyle.load(folder)


def test_a_hub_id_needs_an_adapter_and_an_encoder():
    with pytest.raises(ModelError, match="pass adapter= and image_encoder="):
        instantstyle.load("someone/something")


def test_downloads_are_pinned_to_a_revision():
    for card in CARDS.values():
        assert (card.adapter_repo is None) == (card.revision is None)
        assert card.revision is None or len(card.revision) == 40
