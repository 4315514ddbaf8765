"""Scores by encoders, with small random encoders in folders as users have them."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
)

from instantstyle.errors import CheckpointError, ModelError
from instantstyle.metrics import (
    TextScores,
    draw_edges,
    load_clip,
    load_csd,
    load_image_encoder,
    score_against_reference,
    score_text,
)
from instantstyle.synthetic import sample_scenes, to_pil_image

from ..conftest import text_config
from ..helpers import seeded_generator

VISION: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [to_pil_image(image) for image in sample_scenes(3, seeded_generator(0)).render(64)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory, tokenizer_folder):
    folder = tmp_path_factory.mktemp("clip-small")
    torch.manual_seed(0)
    vision = {**VISION, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text_config().to_dict(), vision_config=vision, projection_dim=24)
    CLIPModel(config).save_pretrained(folder)
    CLIPTokenizer.from_pretrained(tokenizer_folder, model_max_length=77).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dino-small")
    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**VISION, mlp_ratio=1, image_size=28, patch_size=14)).save_pretrained(folder)
    return folder


def test_text_alignment_is_the_cosine_to_each_images_own_prompt(clip, images):
    image_encoder, text_encoder = load_clip(clip)
    scores = score_text(images, ["a cat", "a tree", "a key"], image_encoder, text_encoder)
    image_embeds = image_encoder.embed(images)
    prompt_embeds = text_encoder.embed(["a cat", "a tree", "a key"])
    cosines = F.cosine_similarity(image_embeds, prompt_embeds)
    assert scores.text.tolist() == pytest.approx(cosines.tolist(), abs=1e-5)
    assert (scores.model, scores.content, scores.leaked) == (clip.name, None, None)


def test_leakage_is_nearer_to_the_references_content_than_to_the_prompt():
    scores = TextScores("CLIP", torch.tensor([0.3, 0.2, 0.1]), torch.tensor([0.1, 0.25, 0.3]))
    assert scores.to_dict()["leak"] == [0, 1, 1]


def test_a_prompt_equal_to_the_content_is_no_leakage(clip, images):
    scores = score_text(images, ["a cat"] * 3, *load_clip(clip), content="a cat")
    assert scores.to_dict()["leak"] == [0, 0, 0]


def test_a_style_score_comes_with_the_similarity_of_edge_drawings(clip, dino, images):
    scores = score_against_reference(images, images[0], load_image_encoder(clip), load_image_encoder(dino))
    assert (scores.style_model, scores.drawing_model) == (clip.name, dino.name)
    assert scores.to_dict().keys() == {"style", "drawing", "consistency", "repetition"}
    assert scores.style[0].item() == pytest.approx(1, abs=1e-5)
    assert scores.drawing[0].item() == pytest.approx(1, abs=1e-5)


def test_the_consistency_of_a_set_comes_with_its_repetition(clip, dino, images):
    style, drawing = load_image_encoder(clip), load_image_encoder(dino)
    scores = score_against_reference(images, images[0], style, drawing).to_dict()
    embeds = F.normalize(style.embed(images), dim=-1)
    first = (embeds[0] @ embeds[1] + embeds[0] @ embeds[2]) / 2
    assert scores["consistency"][0] == pytest.approx(first.item(), abs=1e-5)
    assert score_against_reference([images[1]] * 2, images[0], style, drawing).to_dict()[
        "repetition"
    ] == pytest.approx([1, 1], abs=1e-5)
    assert score_against_reference(images[:1], images[0], style, drawing).to_dict().keys() == {
        "style",
        "drawing",
    }


def test_an_edge_drawing_has_lines_and_no_colour():
    image = Image.new("RGB", (64, 64), "orange")
    image.paste("blue", (16, 16, 48, 48))
    drawing = np.asarray(draw_edges(image))
    assert len({*drawing[56, 100]}) == 1
    assert drawing[112, 56].max() < 80
    assert drawing[112, 112].min() > 240


@pytest.fixture
def csd(tmp_path):
    """A checkpoint with OpenAI's names as CSD's authors publish it, and the same model of transformers."""
    torch.manual_seed(0)
    vision_model = CLIPVisionModel(CLIPVisionConfig(**VISION, image_size=32, patch_size=8, hidden_act="quick_gelu"))
    state = {name.removeprefix("vision_model."): t for name, t in vision_model.state_dict().items()}
    checkpoint = {
        "conv1.weight": state["embeddings.patch_embedding.weight"],
        "class_embedding": state["embeddings.class_embedding"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
    }
    for end in ("weight", "bias"):
        checkpoint[f"ln_pre.{end}"] = state[f"pre_layrnorm.{end}"]
        checkpoint[f"ln_post.{end}"] = state[f"post_layernorm.{end}"]
        for i in range(VISION["num_hidden_layers"]):
            target, source = f"encoder.layers.{i}", f"transformer.resblocks.{i}"
            parts = [state[f"{target}.self_attn.{letter}_proj.{end}"] for letter in "qkv"]
            checkpoint[f"{source}.attn.in_proj_{end}"] = torch.cat(parts)
            checkpoint[f"{source}.attn.out_proj.{end}"] = state[f"{target}.self_attn.out_proj.{end}"]
            checkpoint[f"{source}.ln_1.{end}"] = state[f"{target}.layer_norm1.{end}"]
            checkpoint[f"{source}.ln_2.{end}"] = state[f"{target}.layer_norm2.{end}"]
            checkpoint[f"{source}.mlp.c_fc.{end}"] = state[f"{target}.mlp.fc1.{end}"]
            checkpoint[f"{source}.mlp.c_proj.{end}"] = state[f"{target}.mlp.fc2.{end}"]
    checkpoint = {f"module.backbone.{name}": tensor.clone() for name, tensor in checkpoint.items()}
    checkpoint["module.last_layer_style"] = torch.randn(16, 8, generator=seeded_generator(1))
    torch.save({"model_state_dict": checkpoint}, tmp_path / "csd.pth")
    save_file(checkpoint, tmp_path / "csd.safetensors")
    return tmp_path, vision_model.eval(), checkpoint["module.last_layer_style"]


@pytest.mark.parametrize("name", ["csd.pth", "csd.safetensors"])
@torch.no_grad()
def test_csd_is_a_vision_model_and_a_style_projection(csd, name, images):
    folder, vision_model, projection = csd
    encoder = load_csd(folder / name, heads=2)
    pixels = torch.rand(2, 3, 32, 32, generator=seeded_generator(2))
    expected = vision_model(pixels).pooler_output @ projection
    assert encoder.model(pixels).allclose(expected, atol=1e-5)
    assert encoder.embed(images).shape == (3, 8)
    assert encoder.name == f"CSD ({name})"


def test_an_invalid_encoder_is_an_error(tmp_path, dino):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_image_encoder(tmp_path)
    with pytest.raises(ModelError, match="has no text encoder"):
        load_clip(dino)
    save_file({"conv1.weight": torch.zeros(1, 3, 2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="last_layer_style"):
        load_csd(tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="does not exist"):
        load_csd(tmp_path / "nowhere.pth")
