"""Scores by encoders, on small random ones from folders as a person would give them."""

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
from instantstyle.metrics import TextScores, draw_edges, load_csd, load_clip, load_image_encoder, score_against_reference, score_text
from instantstyle.synthetic import to_pil_image, sample_scenes

from ..conftest import text_config
from ..helpers import dice

VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [to_pil_image(picture) for picture in sample_scenes(3, dice(0)).render(64)]


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


def test_text_alignment_is_the_cosine_to_each_pictures_own_prompt(clip, pictures):
    sees, reads = load_clip(clip)
    scores = score_text(pictures, ["a cat", "a tree", "a key"], sees, reads)
    seen, asked = sees.embed(pictures), reads.embed(["a cat", "a tree", "a key"])
    assert scores.text.tolist() == pytest.approx(F.cosine_similarity(seen, asked).tolist(), abs=1e-5)
    assert (scores.model, scores.content, scores.leaked) == (clip.name, None, None)


def test_leakage_is_the_share_nearer_to_the_references_content():
    scores = TextScores("CLIP", torch.tensor([0.3, 0.2, 0.1]), torch.tensor([0.1, 0.25, 0.3]))
    assert scores.to_dict()["leak"] == [0, 1, 1]


def test_the_references_own_words_as_prompt_do_not_count_as_leak(clip, pictures):
    scores = score_text(pictures, ["a cat"] * 3, *load_clip(clip), content="a cat")
    assert scores.to_dict()["leak"] == [0, 0, 0]


def test_a_style_by_an_encoder_comes_with_the_drawings_similarity(clip, dino, pictures):
    scores = score_against_reference(pictures, pictures[0], load_image_encoder(clip), load_image_encoder(dino))
    assert (scores.style_model, scores.drawing_model) == (clip.name, dino.name)
    assert scores.to_dict().keys() == {"style", "drawing", "consistency", "repetition"}
    assert scores.style[0].item() == pytest.approx(1, abs=1e-5)
    assert scores.drawing[0].item() == pytest.approx(1, abs=1e-5)


def test_a_sets_consistency_by_an_encoder_comes_with_its_repetition(clip, dino, pictures):
    style, drawing = load_image_encoder(clip), load_image_encoder(dino)
    scores = score_against_reference(pictures, pictures[0], style, drawing).to_dict()
    seen = F.normalize(style.embed(pictures), dim=-1)
    first = (seen[0] @ seen[1] + seen[0] @ seen[2]) / 2
    assert scores["consistency"][0] == pytest.approx(first.item(), abs=1e-5)
    assert score_against_reference([pictures[1]] * 2, pictures[0], style, drawing).to_dict()["repetition"] == pytest.approx(
        [1, 1], abs=1e-5
    )
    assert score_against_reference(pictures[:1], pictures[0], style, drawing).to_dict().keys() == {"style", "drawing"}


def test_an_edge_drawing_has_lines_and_no_colour():
    picture = Image.new("RGB", (64, 64), "orange")
    picture.paste("blue", (16, 16, 48, 48))
    drawing = draw_edges(picture)
    assert len({*drawing.getpixel((100, 56))}) == 1  # pyright: ignore[reportGeneralTypeIssues]
    assert drawing.convert("L").getpixel((56, 112)) < 80
    assert drawing.convert("L").getpixel((112, 112)) > 240


@pytest.fixture
def csd(tmp_path):
    """A tower in OpenAI's names, as CSD's authors save theirs; and the transformers model it is."""
    torch.manual_seed(0)
    tower = CLIPVisionModel(CLIPVisionConfig(**VISION, image_size=32, patch_size=8, hidden_act="quick_gelu"))
    state = {name.removeprefix("vision_model."): t for name, t in tower.state_dict().items()}
    theirs = {
        "conv1.weight": state["embeddings.patch_embedding.weight"],
        "class_embedding": state["embeddings.class_embedding"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
    }
    for end in ("weight", "bias"):
        theirs[f"ln_pre.{end}"] = state[f"pre_layrnorm.{end}"]
        theirs[f"ln_post.{end}"] = state[f"post_layernorm.{end}"]
        for i in range(VISION["num_hidden_layers"]):
            mine, own = f"encoder.layers.{i}", f"transformer.resblocks.{i}"
            parts = [state[f"{mine}.self_attn.{letter}_proj.{end}"] for letter in "qkv"]
            theirs[f"{own}.attn.in_proj_{end}"] = torch.cat(parts)
            theirs[f"{own}.attn.out_proj.{end}"] = state[f"{mine}.self_attn.out_proj.{end}"]
            theirs[f"{own}.ln_1.{end}"] = state[f"{mine}.layer_norm1.{end}"]
            theirs[f"{own}.ln_2.{end}"] = state[f"{mine}.layer_norm2.{end}"]
            theirs[f"{own}.mlp.c_fc.{end}"] = state[f"{mine}.mlp.fc1.{end}"]
            theirs[f"{own}.mlp.c_proj.{end}"] = state[f"{mine}.mlp.fc2.{end}"]
    theirs = {f"module.backbone.{name}": tensor.clone() for name, tensor in theirs.items()}
    theirs["module.last_layer_style"] = torch.randn(16, 8, generator=dice(1))
    torch.save({"model_state_dict": theirs}, tmp_path / "csd.pth")
    save_file(theirs, tmp_path / "csd.safetensors")
    return tmp_path, tower.eval(), theirs["module.last_layer_style"]


@pytest.mark.parametrize("name", ["csd.pth", "csd.safetensors"])
@torch.no_grad()
def test_csd_is_its_tower_and_its_style_projection(csd, name, pictures):
    folder, tower, projection = csd
    encoder = load_csd(folder / name, heads=2)
    pixels = torch.rand(2, 3, 32, 32, generator=dice(2))
    expected = tower(pixels).pooler_output @ projection
    assert encoder.model(pixels).allclose(expected, atol=1e-5)
    assert encoder.embed(pictures).shape == (3, 8)
    assert encoder.name == f"CSD ({name})"


def test_what_is_no_encoder_is_told_in_one_line(tmp_path, dino):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_image_encoder(tmp_path)
    with pytest.raises(ModelError, match="reads no words"):
        load_clip(dino)
    save_file({"conv1.weight": torch.zeros(1, 3, 2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="last_layer_style"):
        load_csd(tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="does not exist"):
        load_csd(tmp_path / "nowhere.pth")
