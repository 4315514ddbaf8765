"""Which files a model needs and where they lie: by the card, by the folder, by the cache."""

import pytest
import torch
from safetensors.torch import save_file

from instantstyle.models import CARDS
from instantstyle.models.required_files import list_damaged, download_commands, list_required_files, list_missing, list_optional_files
from instantstyle.models.resolve import resolve_card

from ..conftest import base_projection
from ..loaders.test_ip_adapter_checkpoint import flat


def files(items):
    return {item.file for item in items}


def test_a_card_lists_all_parts_and_the_encoder_that_its_adapter_needs(hub):
    for name, encoder in {"sdxl": "sdxl_models/image_encoder", "sdxl-plus": "models/image_encoder"}.items():
        needed = files(list_required_files(CARDS[name]))
        assert {"model_index.json", "unet/diffusion_pytorch_model.fp16.safetensors"} <= needed
        assert {f"{encoder}/config.json", f"{encoder}/model.safetensors", CARDS[name].adapter} <= needed


def test_an_adapter_of_ones_own_decides_on_the_encoder(hub, tmp_path):
    tensors = flat({"image_proj": base_projection(dim=1024, cross_dim=2048)})
    save_file(tensors | {"ip_adapter.1.to_k_ip.weight": torch.zeros(1, 1)}, tmp_path / "mine.safetensors")
    needed = files(list_required_files(CARDS["sdxl"], tmp_path / "mine.safetensors"))
    assert "models/image_encoder/model.safetensors" in needed
    assert "sdxl_models/image_encoder/model.safetensors" not in needed


def test_a_preset_needs_its_own_network_and_not_the_bases(hub):
    items = list_required_files(CARDS["sdxl-lightning"])
    assert "sdxl_lightning_4step_unet.safetensors" in files(items)
    assert "unet/config.json" in files(items)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" not in files(items)


def test_what_is_in_the_cache_is_found_and_the_rest_has_a_command(hub, snapshot):
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


def test_another_revision_in_the_cache_does_not_count(hub, snapshot):
    (snapshot(CARDS["sdxl"].pipeline, "0" * 40) / "model_index.json").write_text("{}")
    assert "model_index.json" in files(list_missing(list_required_files(CARDS["sdxl"])))


def test_a_whole_folder_lacks_nothing(folder):
    card, adapter = resolve_card(str(folder))
    items = list_required_files(card, adapter)
    assert list_missing(items) == []
    assert list_damaged(items) == []
    assert {"unet/config.json", "ip-adapter_small.safetensors"} <= files(items)


@pytest.mark.parametrize(
    "lost", ["unet/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer_2"]
)
def test_a_part_lost_from_a_folder_is_named(folder, lost):
    path = folder / lost
    for file in path.iterdir() if path.is_dir() else [path]:
        file.unlink()
    [item] = list_missing(list_required_files(resolve_card(str(folder))[0]))
    assert item.file.startswith(lost)


def test_a_file_cut_short_is_broken(folder):
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    [fault] = list_damaged(list_required_files(resolve_card(str(folder))[0]))
    assert str(path) in fault


def test_a_hub_id_that_is_not_here_lacks_its_index_at_least(hub):
    card, adapter = resolve_card("someone/something", "sdxl")
    assert "model_index.json" in files(list_missing(list_required_files(card, adapter)))


@pytest.mark.parametrize(
    ("name", "repo"),
    [
        ("sdxl", None),
        ("sdxl-plus", None),
        ("sdxl-vit-h", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
        ("sd15", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
    ],
)
def test_the_text_tower_is_needed_only_where_the_pipeline_has_none(hub, name, repo):
    assert [item.location for item in list_optional_files(CARDS[name])] == ([repo] if repo else [])
