"""The required files of a model are listed by its card, its folder and the cache."""

import pytest
import torch
from safetensors.torch import save_file

from instantstyle.models import CARDS
from instantstyle.models.required_files import (
    download_commands,
    list_damaged,
    list_missing,
    list_optional_files,
    list_required_files,
)
from instantstyle.models.resolve import resolve_card

from ..conftest import base_projection
from ..loaders.test_ip_adapter_checkpoint import flat


def files(items):
    return {item.file for item in items}


def test_a_card_requires_all_components_and_the_encoder_that_its_adapter_needs(hub):
    for name, encoder in {"sdxl": "sdxl_models/image_encoder", "sdxl-plus": "models/image_encoder"}.items():
        needed = files(list_required_files(CARDS[name]))
        assert {"model_index.json", "unet/diffusion_pytorch_model.fp16.safetensors"} <= needed
        assert {f"{encoder}/config.json", f"{encoder}/model.safetensors", CARDS[name].adapter} <= needed


def test_a_given_adapter_determines_the_encoder(hub, tmp_path):
    tensors = flat({"image_proj": base_projection(dim=1024, cross_dim=2048)})
    save_file(tensors | {"ip_adapter.1.to_k_ip.weight": torch.zeros(1, 1)}, tmp_path / "mine.safetensors")
    needed = files(list_required_files(CARDS["sdxl"], tmp_path / "mine.safetensors"))
    assert "models/image_encoder/model.safetensors" in needed
    assert "sdxl_models/image_encoder/model.safetensors" not in needed


def test_a_card_with_another_unet_does_not_require_the_original_one(hub):
    items = list_required_files(CARDS["sdxl-lightning"])
    assert "sdxl_lightning_4step_unet.safetensors" in files(items)
    assert "unet/config.json" in files(items)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" not in files(items)


def test_cached_files_are_found_and_the_others_have_a_command(hub, snapshot):
    card = CARDS["sdxl"]
    (snapshot(card.pipeline, card.pipeline_revision) / "model_index.json").write_text("{}")
    items = list_required_files(card)
    assert "model_index.json" not in files(list_missing(items))
    lines = download_commands(items)
    assert [line.split()[:3] for line in lines] == [
        ["hf", "download", card.pipeline],
        ["hf", "download", "h94/IP-Adapter"],
    ]
    assert all("--revision" in line for line in lines)
    assert "model_index.json" not in lines[0]


def test_another_revision_in_the_cache_is_not_used(hub, snapshot):
    (snapshot(CARDS["sdxl"].pipeline, "0" * 40) / "model_index.json").write_text("{}")
    assert "model_index.json" in files(list_missing(list_required_files(CARDS["sdxl"])))


def test_a_complete_folder_has_no_missing_files(folder):
    card, adapter = resolve_card(str(folder))
    items = list_required_files(card, adapter)
    assert list_missing(items) == []
    assert list_damaged(items) == []
    assert {"unet/config.json", "ip-adapter_small.safetensors"} <= files(items)


@pytest.mark.parametrize("lost", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer_2"])
def test_a_missing_file_of_a_folder_is_named(folder, lost):
    path = folder / lost
    for file in path.iterdir() if path.is_dir() else [path]:
        file.unlink()
    items = list_missing(list_required_files(resolve_card(str(folder))[0]))
    # transformers makes an empty tokenizer where only some of its files are there.
    assert len(items) == (3 if path.is_dir() else 1)
    assert all(item.file.startswith(lost) for item in items)


def test_a_truncated_file_is_reported_as_damaged(folder):
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    [error] = list_damaged(list_required_files(resolve_card(str(folder))[0]))
    assert str(path) in error


def test_a_hub_id_that_is_not_cached_lacks_at_least_its_index(hub):
    card, adapter = resolve_card("someone/something", "sdxl")
    assert "model_index.json" in files(list_missing(list_required_files(card, adapter)))


@pytest.mark.parametrize(
    ("name", "repo"),
    [
        ("sdxl", None),
        ("sdxl-plus", None),
        ("sdxl-vit-h", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
        ("sd15", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
        ("flux-dev", "openai/clip-vit-large-patch14"),
        ("chroma", "openai/clip-vit-large-patch14"),
    ],
)
def test_the_text_encoder_is_optional_if_the_pipeline_has_none(hub, name, repo):
    assert [item.location for item in list_optional_files(CARDS[name])] == ([repo] if repo else [])
