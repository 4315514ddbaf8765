"""Image encoders are chosen by what an adapter needs; a separate text encoder is loaded on first use."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection

from instantstyle import ModelError
from instantstyle.core.text_encoder import TextEncoder
from instantstyle.models.clip_sources import TEXT_SOURCES, LazyTextEncoder, find_image_encoder_source

from ..conftest import text_config


@pytest.mark.parametrize(
    ("projection_type", "width", "folder"),
    [
        ("base", 1280, "sdxl_models/image_encoder"),
        ("base", 1024, "models/image_encoder"),
        ("plus", 1280, "models/image_encoder"),
        ("full", 1280, "models/image_encoder"),
        ("plus", 1664, "sdxl_models/image_encoder"),
        ("plus", 1024, "image_encoder"),
        ("base", 768, ""),
    ],
)
def test_the_encoder_fits_the_adapter(projection_type, width, folder):
    source = find_image_encoder_source(projection_type, width)
    assert source is not None
    assert [file.rpartition("/")[0] for file in source.files] == [folder, folder]


def test_an_adapter_of_another_width_has_no_known_encoder():
    assert find_image_encoder_source("plus", 512) is None
    assert find_image_encoder_source("base", 1664) is None


def test_nothing_is_fetched_before_content_is_embedded(hub):
    encoder = LazyTextEncoder(TEXT_SOURCES[1024], 1024, torch.device("cpu"))
    assert encoder.projection_dim == 1024


def test_an_unavailable_text_encoder_raises_an_error_with_the_download_command(hub):
    encoder = LazyTextEncoder(TEXT_SOURCES[1024], 1024, torch.device("cpu"))
    with pytest.raises(ModelError, match=r"Removing content needs the text encoder of OpenCLIP ViT-H/14") as error:
        encoder.embed(["a cat"])
    assert "hf download laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in str(error.value)
    assert "offline" in str(error.value)


def test_a_text_encoder_is_loaded_from_a_whole_clip_with_a_wrong_projection_in_its_config(snapshot, tokenizer_folder):
    """OpenCLIP publishes both encoders in one file, and 512 in config.json as the width of the projection."""
    source = replace(TEXT_SOURCES[1024], repo="owner/clip", revision="a" * 40)
    folder = snapshot(source.repo, source.revision)
    text = text_config().to_dict()
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)).eval()
    clip.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["projection_dim"] = 512
    (folder / "config.json").write_text(json.dumps(config))
    for file in ("vocab.json", "merges.txt"):
        (folder / file).write_bytes((tokenizer_folder / file).read_bytes())
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 77}')
    embeds = LazyTextEncoder(source, 24, torch.device("cpu")).embed(["a cat"])
    assert embeds.shape == (1, 24)
    alone = CLIPTextModelWithProjection(text_config()).eval()
    alone.load_state_dict(clip.state_dict(), strict=False)
    assert_close(embeds, TextEncoder(alone, _tokenizer(tokenizer_folder)).embed(["a cat"]))


VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def _tokenizer(folder):
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)
