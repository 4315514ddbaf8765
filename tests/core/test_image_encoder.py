"""Image and text encoders: which are accepted, and what they compute."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import CLIPImageProcessorPil, SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipTextConfig

from instantstyle.core import encoder_files
from instantstyle.core.encoder_files import check_encoder_fits, read_encoder_sizes
from instantstyle.core.image_encoder import ImageEncoder
from instantstyle.core.text_encoder import TextEncoder, find_text_encoder, missing_text_encoder_error
from instantstyle.errors import CheckpointError, ImageError, StyleError

from ..conftest import EMBEDDING_DIM, HIDDEN, make_image_encoder
from ..parity.flux import make_siglip

VIT_H = {"hidden": 1280, "projection": 1024}
VIT_BIGG = {"hidden": 1664, "projection": 1280}
VIT_L = {"hidden": 1024, "projection": 768}


def encoder_of_size(hidden: int, projection: int) -> ImageEncoder:
    """Return an encoder with a config but without weights."""
    config = SimpleNamespace(hidden_size=hidden, projection_dim=projection, model_type="clip_vision_model")
    return ImageEncoder(SimpleNamespace(config=config, visual_projection=object()))


@pytest.fixture
def encoder(image_encoder) -> ImageEncoder:
    return ImageEncoder(image_encoder)


@pytest.mark.parametrize(
    ("size", "projection_type", "needed", "message"),
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
        (
            VIT_L,
            "mlp",
            1152,
            r"embeddings of width 1152 \(SigLIP SO400M/14-384\); .* \(CLIP ViT-L/14\) has width 768",
        ),
    ],
    ids=["H for bigG", "bigG for H", "bigG for plus", "bigG for full", "L for SigLIP"],
)
def test_an_encoder_of_another_width_is_rejected_with_both_encoders_named(
    size: dict[str, int], projection_type: str, needed: int, message: str
):
    with pytest.raises(CheckpointError, match=message):
        encoder_of_size(**size).check_fits(projection_type, needed)


def test_a_clip_of_the_width_of_siglip_is_rejected_by_its_kind(image_encoder):
    clip = ImageEncoder(image_encoder)
    for kind, width in (("mlp", clip.projection_dim), ("timed", clip.hidden_size)):
        needs = rf"\({kind}\) needs .* of width {width} \(SigLIP\); the image encoder \(a CLIP\) has width {width}"
        with pytest.raises(CheckpointError, match=f"{needs}, but is no SigLIP. Use the encoder that"):
            clip.check_fits(kind, width)
    siglip = ImageEncoder(make_siglip())
    siglip.check_fits("mlp", siglip.projection_dim)
    siglip.check_fits("timed", siglip.hidden_size)
    with pytest.raises(CheckpointError, match=r"768 \(CLIP ViT-L/14\); the image encoder \(a SigLIP\) has width 24"):
        siglip.check_fits("base", 768)


def test_a_file_or_folder_of_a_clip_is_rejected_for_siglip_without_its_weights(tmp_path, image_encoder):
    image_encoder.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="but is no SigLIP"):
        check_encoder_fits(read_encoder_sizes(tmp_path), "mlp", EMBEDDING_DIM)


def test_the_projection_type_decides_which_width_counts():
    """Patch features of ViT-H and embeddings of ViT-bigG both have width 1280."""
    encoder_of_size(**VIT_H).check_fits("plus", 1280)
    encoder_of_size(**VIT_BIGG).check_fits("base", 1280)
    for size, projection_type in [(VIT_H, "base"), (VIT_BIGG, "plus")]:
        with pytest.raises(CheckpointError, match="of width 1280"):
            encoder_of_size(**size).check_fits(projection_type, 1280)


def test_an_image_model_without_projection_is_rejected(styled):
    with pytest.raises(CheckpointError, match="CLIPVisionModelWithProjection"):
        ImageEncoder(styled.pipe.text_encoder)


def test_a_folder_is_opened_and_rejected_where_it_has_no_encoder(tmp_path: Path, image_encoder, reference):
    with pytest.raises(CheckpointError, match=r"it has no config\.json"):
        ImageEncoder.open(tmp_path)
    image_encoder.save_pretrained(tmp_path)
    assert_close(ImageEncoder.open(tmp_path).embed([reference]), ImageEncoder(image_encoder).embed([reference]))


def test_a_weights_file_without_config_is_opened_by_its_shapes(tmp_path, image_encoder, reference, monkeypatch):
    configs = {(HIDDEN, EMBEDDING_DIM): {"num_attention_heads": 2, "hidden_act": "quick_gelu"}}
    monkeypatch.setattr("instantstyle.core.encoder_files.ENCODER_CONFIGS", configs)
    save_file(image_encoder.state_dict(), tmp_path / "some clip.safetensors")
    opened = ImageEncoder.open(tmp_path / "some clip.safetensors")
    assert_close(opened.embed([reference]), ImageEncoder(image_encoder).embed([reference]))


def test_a_weights_file_that_lacks_a_tensor_is_rejected_with_its_name(tmp_path, image_encoder, monkeypatch):
    configs = {(HIDDEN, EMBEDDING_DIM): {"num_attention_heads": 2}}
    monkeypatch.setattr("instantstyle.core.encoder_files.ENCODER_CONFIGS", configs)
    tensors = image_encoder.state_dict()
    del tensors["vision_model.post_layernorm.bias"]
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks vision_model\.post_layernorm\.bias"):
        ImageEncoder.open(tmp_path / "a.safetensors")


def test_a_weights_file_without_its_last_layers_or_of_integers_is_rejected(tmp_path, image_encoder, monkeypatch):
    widths = HIDDEN, EMBEDDING_DIM
    monkeypatch.setattr("instantstyle.core.encoder_files.ENCODER_CONFIGS", {widths: {"num_attention_heads": 2}})
    tensors = image_encoder.state_dict()
    depth = image_encoder.config.num_hidden_layers
    last = f"vision_model.encoder.layers.{depth - 1}."
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(last)}
    save_file(kept, tmp_path / "shallow.safetensors")
    monkeypatch.setattr("instantstyle.core.encoder_files.ENCODER_LAYERS", {widths: depth})
    with pytest.raises(CheckpointError, match=rf"lacks {last}.+ and \d+ more; download it again"):
        ImageEncoder.open(tmp_path / "shallow.safetensors")
    tensors["visual_projection.weight"] = tensors["visual_projection.weight"].long()
    save_file(tensors, tmp_path / "integers.safetensors")
    with pytest.raises(CheckpointError, match=r"not floating-point numbers: visual_projection\.weight \(i64\)"):
        ImageEncoder.open(tmp_path / "integers.safetensors")


def test_the_published_encoders_have_their_numbers_of_layers():
    assert encoder_files.ENCODER_LAYERS.keys() == encoder_files.ENCODER_CONFIGS.keys()


def test_a_weights_file_of_an_unknown_encoder_is_rejected(tmp_path, image_encoder):
    save_file(image_encoder.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"none of the image encoders .* config\.json"):
        ImageEncoder.open(tmp_path / "a.safetensors")


def test_embeddings_are_projections_and_features_are_hidden_states(encoder, reference):
    patches = (32 // 8) ** 2 + 1
    assert encoder.embed([reference, reference]).shape == (2, EMBEDDING_DIM)
    assert encoder.features([reference]).shape == (1, patches, HIDDEN)
    assert encoder.blank_features().shape == (patches, HIDDEN)


def test_embeddings_are_not_normalised(encoder, reference):
    assert abs(encoder.embed([reference]).norm().item() - 1) > 0.01


@pytest.mark.parametrize("crop", ["center", "pad", "squash"])
def test_every_crop_accepts_an_image_of_any_shape(encoder, crop: str):
    strip = Image.new("RGB", (1, 300), "red")
    assert encoder.pixels([strip], crop).shape == (1, 3, 32, 32)


def test_an_unknown_crop_is_rejected_with_the_known_ones(encoder, reference):
    with pytest.raises(ImageError, match=r"one of center, pad, squash\. Did you mean center"):
        encoder.embed([reference], "centre")


def test_text_embeddings_have_the_width_of_the_projection(pipe):
    encoder = TextEncoder(pipe.text_encoder_2, pipe.tokenizer_2)
    embeds = encoder.embed(["a cat", "a mat"])
    assert embeds.shape == (2, EMBEDDING_DIM)
    assert not torch.equal(embeds[0], embeds[1])


def test_the_embedding_of_a_phrase_is_independent_of_other_phrases(pipe):
    encoder = TextEncoder(pipe.text_encoder_2, pipe.tokenizer_2)
    assert_close(encoder.embed(["a cat", "something much longer"])[:1], encoder.embed(["a cat"]))


def test_a_text_model_without_projection_is_rejected(pipe):
    with pytest.raises(StyleError, match="has no projection to a shared space"):
        TextEncoder(pipe.text_encoder, pipe.tokenizer)


def test_the_pipelines_text_encoder_is_used_only_if_its_width_fits(pipe):
    assert find_text_encoder(pipe, EMBEDDING_DIM) is not None
    assert find_text_encoder(pipe, 1024) is None
    assert find_text_encoder(object(), EMBEDDING_DIM) is None


def test_the_error_for_a_missing_text_encoder_names_its_repository():
    assert "laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in str(missing_text_encoder_error(1024))


def test_embeddings_are_float32_in_every_dtype_of_the_encoder(reference):
    model: Any = make_image_encoder()
    encoder = ImageEncoder(model.to(torch.bfloat16))
    assert encoder.embed([reference]).dtype == torch.float32


def test_images_are_read_as_clip_reads_them(encoder, reference):
    side = encoder.image_size
    processor = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    expected = processor(reference, return_tensors="pt").pixel_values
    assert_close(encoder.pixels([reference]), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_images_are_read_as_siglip_reads_them(reference):
    model = make_siglip()
    side: Any = model.config.image_size
    encoder = ImageEncoder(model)
    assert (encoder.name, encoder.projection_dim) == (f"SigLIP-{EMBEDDING_DIM}", EMBEDDING_DIM)
    pixels = SiglipImageProcessor(size={"height": side, "width": side})(reference, return_tensors="pt")
    output = model(**pixels, output_hidden_states=True)
    assert_close(encoder.embed([reference], "squash"), output.pooler_output)
    assert_close(encoder.pixels([reference], "squash"), pixels.pixel_values)
    assert not encoder.embed([reference]).allclose(output.pooler_output)
    assert_close(
        encoder.features([reference]), model(encoder.pixels([reference]), output_hidden_states=True).hidden_states[-2]
    )


def test_a_whole_siglip_and_its_weights_alone_are_opened(tmp_path, reference, monkeypatch):
    vision = make_siglip()
    words = SiglipTextConfig(
        vocab_size=60,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        bos_token_id=0,
        eos_token_id=0,
    )
    both = SiglipModel(SiglipConfig(text_config=words.to_dict(), vision_config=vision.config.to_dict()))
    weights = {name.removeprefix("vision_model."): tensor for name, tensor in vision.state_dict().items()}
    both.vision_model.load_state_dict(weights)
    both.save_pretrained(tmp_path / "siglip")
    expected = ImageEncoder(vision).embed([reference])
    opened = ImageEncoder.open(tmp_path / "siglip")
    assert_close(opened.embed([reference]), expected)
    assert opened.fingerprint == ImageEncoder(vision).fingerprint
    configs = {(EMBEDDING_DIM, EMBEDDING_DIM): {"num_attention_heads": 2, "image_size": 30}}
    monkeypatch.setattr("instantstyle.core.encoder_files.ENCODER_CONFIGS", configs)
    save_file({f"vision_model.{name}": tensor for name, tensor in weights.items()}, tmp_path / "a.safetensors")
    assert_close(ImageEncoder.open(tmp_path / "a.safetensors").embed([reference]), expected)
    assert read_encoder_sizes(tmp_path / "a.safetensors") == (EMBEDDING_DIM, EMBEDDING_DIM, True)
    assert read_encoder_sizes(tmp_path / "siglip") == (EMBEDDING_DIM, EMBEDDING_DIM, True)
