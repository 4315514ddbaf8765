from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.testing import assert_close

from instantstyle.core.clip_encoders import (
    ImageEncoder,
    TextEncoder,
    find_text_encoder,
    missing_text_encoder_error,
)
from instantstyle.errors import CheckpointError, ImageError, StyleError

from ..conftest import EMBEDDING_DIM, HIDDEN, make_image_encoder

VIT_H = {"hidden": 1280, "projection": 1024}
VIT_BIGG = {"hidden": 1664, "projection": 1280}


class Tower:
    """An image tower's face without its two billion weights."""

    visual_projection = object()

    def __init__(self, hidden, projection):
        self.config = type("Config", (), {"hidden_size": hidden, "projection_dim": projection})


@pytest.fixture
def encoder(image_encoder):
    return ImageEncoder(image_encoder)


@pytest.mark.parametrize(
    ("tower", "kind", "needed", "message"),
    [
        (
            VIT_H,
            "base",
            1280,
            r"width 1280 \(OpenCLIP ViT-bigG/14\); the image encoder \(OpenCLIP ViT-H/14\) has width 1024",
        ),
        (
            VIT_BIGG,
            "base",
            1024,
            r"width 1024 \(OpenCLIP ViT-H/14\); .* \(OpenCLIP ViT-bigG/14\) has width 1280",
        ),
        (
            VIT_BIGG,
            "plus",
            1280,
            r"patch features of width 1280 \(OpenCLIP ViT-H/14\); .*ViT-bigG/14\) has width 1664",
        ),
        (
            VIT_BIGG,
            "full",
            1280,
            r"patch features of width 1280 \(OpenCLIP ViT-H/14\); .*ViT-bigG/14\) has width 1664",
        ),
    ],
    ids=["H for bigG", "bigG for H", "bigG for plus", "bigG for full"],
)
def test_the_wrong_encoder_is_refused_with_the_needed_and_the_given_one(tower, kind, needed, message):
    with pytest.raises(CheckpointError, match=message):
        ImageEncoder(Tower(**tower)).check_fits(kind, needed)


@pytest.mark.parametrize(("tower", "kind", "width"), [(VIT_H, "plus", 1280), (VIT_BIGG, "base", 1280)])
def test_equal_widths_are_told_apart_by_what_they_are_widths_of(tower, kind, width):
    ImageEncoder(Tower(**tower)).check_fits(kind, width)


def test_a_model_without_projection_is_refused(styled):
    with pytest.raises(CheckpointError, match="CLIPVisionModelWithProjection"):
        ImageEncoder(styled.pipe.text_encoder)


def test_a_folder_is_opened_and_one_without_an_encoder_refused(tmp_path, image_encoder, reference):
    with pytest.raises(CheckpointError, match="no config"):
        ImageEncoder.open(tmp_path)
    image_encoder.save_pretrained(tmp_path)
    assert_close(ImageEncoder.open(tmp_path).embed([reference]), ImageEncoder(image_encoder).embed([reference]))


def test_a_lone_file_of_weights_is_opened_by_its_tensors(tmp_path, image_encoder, reference, monkeypatch):
    settings = {(HIDDEN, EMBEDDING_DIM): {"num_attention_heads": 2, "hidden_act": "quick_gelu"}}
    monkeypatch.setattr("instantstyle.core.clip_encoders._ENCODER_CONFIGS", settings)
    save_file(image_encoder.state_dict(), tmp_path / "some clip.safetensors")
    opened = ImageEncoder.open(tmp_path / "some clip.safetensors")
    assert_close(opened.embed([reference]), ImageEncoder(image_encoder).embed([reference]))


def test_a_lone_file_that_lacks_a_tensor_is_refused_by_its_name(tmp_path, image_encoder, monkeypatch):
    settings = {(HIDDEN, EMBEDDING_DIM): {"num_attention_heads": 2}}
    monkeypatch.setattr("instantstyle.core.clip_encoders._ENCODER_CONFIGS", settings)
    tensors = image_encoder.state_dict()
    del tensors["vision_model.post_layernorm.bias"]
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks vision_model\.post_layernorm\.bias"):
        ImageEncoder.open(tmp_path / "a.safetensors")


def test_a_lone_file_of_an_unknown_tower_asks_for_its_config(tmp_path, image_encoder):
    save_file(image_encoder.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"none of the CLIP image encoders .* config\.json"):
        ImageEncoder.open(tmp_path / "a.safetensors")


def test_embeddings_are_projections_and_features_are_hidden_states(encoder, reference):
    patches = (32 // 8) ** 2 + 1
    assert encoder.embed([reference, reference]).shape == (2, EMBEDDING_DIM)
    assert encoder.features([reference]).shape == (1, patches, HIDDEN)
    assert encoder.blank_features().shape == (patches, HIDDEN)


def test_embeddings_are_not_normalised(encoder, reference):
    assert abs(encoder.embed([reference]).norm().item() - 1) > 0.01


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_every_crop_policy_fits_any_picture(encoder, crop):
    strip = Image.new("RGB", (1, 300), "red")
    assert encoder.pixels([strip], crop).shape == (1, 3, 32, 32)


def test_an_unknown_crop_names_the_known_ones(encoder, reference):
    with pytest.raises(ImageError, match=r"one of center, pad, squash\. Did you mean center"):
        encoder.embed([reference], "centre")


def test_text_embeddings_are_the_towers_projections(pipe):
    encoder = TextEncoder(pipe.text_encoder_2, pipe.tokenizer_2)
    embeds = encoder.embed(["a cat", "a mat"])
    assert embeds.shape == (2, EMBEDDING_DIM)
    assert not torch.equal(embeds[0], embeds[1])


def test_a_phrase_means_the_same_alone_and_beside_another(pipe):
    encoder = TextEncoder(pipe.text_encoder_2, pipe.tokenizer_2)
    assert_close(encoder.embed(["a cat", "something much longer"])[:1], encoder.embed(["a cat"]))


def test_a_text_model_without_projection_is_refused(pipe):
    with pytest.raises(StyleError, match="has no projection to a shared space"):
        TextEncoder(pipe.text_encoder, pipe.tokenizer)


def test_the_pipelines_own_text_tower_serves_only_if_it_fits(pipe):
    assert find_text_encoder(pipe, EMBEDDING_DIM) is not None
    assert find_text_encoder(pipe, 1024) is None
    assert find_text_encoder(object(), EMBEDDING_DIM) is None


def test_the_missing_text_tower_is_named_where_it_is_known():
    assert "laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in str(missing_text_encoder_error(1024))


def test_half_precision_towers_give_float32(reference):
    encoder: Any = make_image_encoder()
    tower = ImageEncoder(encoder.to(torch.bfloat16))
    assert tower.embed([reference]).dtype == torch.float32
