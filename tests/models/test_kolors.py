"""Kolors: its files are recognised, loaded and compared with diffusers, and distinguished from files of SDXL."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

import instantstyle
from instantstyle import CheckpointError, InstantStyle, MissingExtra, ModelError, StyleError
from instantstyle.core.adapter_layers import cross_attention_layers
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.models import CARDS
from instantstyle.models.clip_sources import IMAGE_SOURCES
from instantstyle.models.identify import identify_file
from instantstyle.models.load_plan import plan
from instantstyle.models.registry import WeightsSize
from instantstyle.models.required_files import list_missing, list_required_files
from instantstyle.unet.architectures import KOLORS, SDXL

from ..cli.conftest import run as run
from ..conftest import CROSS_DIM, base_projection, layer_weights, make_image_encoder, make_pipe, plus_projection
from ..parity.diffusers_path import SCALES, load_adapter, seeded_generators
from ..parity.kolors import make_kolors

SHORT: dict[str, Any] = {"num_inference_steps": 2, "output_type": "latent", "height": 16, "width": 16}


def published_projection(cross_dim: int = 2048, inner: int = 2048) -> dict[str, torch.Tensor]:
    """Names and shapes of ip_adapter_plus_general.bin without memory: each tensor is one expanded number."""
    shapes = {
        "latents": (1, 16, inner),
        "proj_in.weight": (inner, 1024),
        "proj_in.bias": (inner,),
        "proj_out.weight": (cross_dim, inner),
        **dict.fromkeys(("proj_out.bias", "norm_out.weight", "norm_out.bias"), (cross_dim,)),
    }
    for layer in (f"layers.{depth}" for depth in range(4)):
        shapes |= {f"{layer}.0.{norm}.{end}": (inner,) for norm in ("norm1", "norm2") for end in ("weight", "bias")}
        shapes |= {f"{layer}.0.to_q.weight": (768, inner), f"{layer}.0.to_kv.weight": (1536, inner)}
        shapes |= {f"{layer}.0.to_out.weight": (inner, 768), f"{layer}.1.1.weight": (4 * inner, inner)}
        shapes |= {f"{layer}.1.0.{end}": (inner,) for end in ("weight", "bias")}
        shapes |= {f"{layer}.1.3.weight": (inner, 4 * inner)}
    return {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}


def published_adapter() -> dict[str, dict[str, torch.Tensor]]:
    layers = {
        f"{2 * position + 1}.to_{letter}_ip.weight": torch.zeros(1).expand(width, 2048)
        for position, width in enumerate(SDXL.layers.values())
        for letter in "kv"
    }
    return {"image_proj": published_projection(), "ip_adapter": layers}


@pytest.fixture(scope="module")
def kolors_folder(tmp_path_factory, tokenizer_folder) -> Path:
    """A small random Kolors in diffusers' layout, with its image encoder."""
    path = tmp_path_factory.mktemp("kolors")
    make_kolors(tokenizer_folder).save_pretrained(path)
    make_image_encoder().save_pretrained(path / "image_encoder")
    return path


@pytest.fixture(scope="module")
def adapter_file(tmp_path_factory, tokenizer_folder) -> Path:
    path = tmp_path_factory.mktemp("adapter") / "ip_adapter_plus_general.bin"
    layers = cross_attention_layers(make_kolors(tokenizer_folder).unet)
    torch.save({"image_proj": plus_projection(), "ip_adapter": layer_weights(layers)}, path)
    return path


@pytest.mark.parametrize("guidance", [1.0, 5.0], ids=["unguided", "guided"])
def test_a_folder_with_an_adapter_file_equals_diffusers(
    kolors_folder, adapter_file, tokenizer_folder, reference, guidance
):
    arguments = {**SHORT, "guidance_scale": guidance, "num_images_per_prompt": 2}
    styled = instantstyle.load(kolors_folder, adapter=adapter_file)
    styled.pipe.set_progress_bar_config(disable=True)
    assert styled.architecture.name == "kolors"
    ours = styled("a", style=reference, seed=3, **arguments).images
    plain = styled("a", seed=3, **arguments).images
    state = torch.load(adapter_file)
    theirs = load_adapter(make_kolors(tokenizer_folder), state, make_image_encoder(), SCALES["style"])
    expected = theirs("a", ip_adapter_image=reference, generator=seeded_generators(3, 4), **arguments).images
    assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ours, plain, rtol=1e-2)


def test_the_commands_generate_and_restyle_take_a_folder(run, kolors_folder, adapter_file, tmp_path, reference):
    reference.save(tmp_path / "ink.png")
    model = ("--style", "ink.png", "--model", kolors_folder, "--adapter", adapter_file, "--steps", "2")
    generated = run("generate", "a", *model, "--width", "16", "--height", "16", "-o", "out.png")
    restyled = run("restyle", "ink.png", *model, "--prompt", "a", "-o", "restyled.png")
    assert [outcome.code for outcome in (generated, restyled)] == [0, 0], generated.err + restyled.err
    with Image.open(tmp_path / "out.png") as image, Image.open(tmp_path / "restyled.png") as other:
        assert image.size == (16, 16)
        assert other.getextrema() != ((0, 0),) * 3


def test_the_published_file_is_recognised_by_its_tensors(tmp_path):
    torch.save(published_adapter(), tmp_path / "download.bin")
    found = identify_file(tmp_path / "download.bin")
    assert found.description == "IP-Adapter (plus, 16 tokens) for Kolors; needs CLIP ViT-L/14-336"
    checkpoint = IPAdapterCheckpoint.open(tmp_path / "download.bin")
    assert checkpoint.architecture is KOLORS
    assert checkpoint.projection.inner == 2048


def test_other_files_of_kolors_are_recognised(tmp_path):
    unet = {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": torch.zeros(1).expand(640, 2048)}
    files = {
        "unet": unet | {"encoder_hid_proj.weight": torch.zeros(1).expand(2048, 4096)},
        "text": {"encoder.layers.0.self_attention.query_key_value.weight": torch.zeros(1)},
        "encoder": {
            "vision_model.embeddings.patch_embedding.weight": torch.zeros(1).expand(1024, 3, 14, 14),
            "vision_model.embeddings.position_embedding.weight": torch.zeros(1).expand(577, 1024),
            "visual_projection.weight": torch.zeros(1).expand(768, 1024),
        },
    }
    for name, tensors in files.items():
        torch.save(tensors, tmp_path / f"{name}.bin")
    found = {name: identify_file(tmp_path / f"{name}.bin").description for name in files}
    assert found == {
        "unet": "a UNet of Kolors (cross dim 2048) in diffusers' layout, without text encoders; it cannot be loaded "
        "alone",
        "text": "the text encoder of Kolors (ChatGLM)",
        "encoder": "CLIP image encoder, CLIP ViT-L/14-336",
    }


def test_a_kolors_file_with_an_sdxl_model_names_both(run, tmp_path, tokenizer_folder, layers, reference):
    make_pipe(tokenizer_folder).save_pretrained(tmp_path / "sdxl")
    reference.save(tmp_path / "ink.png")
    state = {"image_proj": published_projection(CROSS_DIM), "ip_adapter": layer_weights(layers)}
    torch.save(state, tmp_path / "kolors.bin")
    words = ("generate", "a cat", "--style", "ink.png", "--model", "./sdxl", "-o", "out.png")
    outcome = run(*words, "--adapter", "kolors.bin")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "instantstyle: kolors.bin does not fit this network: it was trained for Kolors (plus, patch features of width "
        "1024); the network is SDXL. Use an adapter for SDXL.\n"
    )


def test_an_sdxl_file_with_kolors_names_both(run, kolors_folder, tmp_path, layers, reference):
    reference.save(tmp_path / "ink.png")
    torch.save({"image_proj": base_projection(1280), "ip_adapter": layer_weights(layers)}, tmp_path / "sdxl.bin")
    words = ("generate", "a cat", "--style", "ink.png", "--model", kolors_folder, "-o", "out.png")
    outcome = run(*words, "--adapter", "sdxl.bin")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "instantstyle: sdxl.bin does not fit this network: it was trained for SDXL (base, image embeddings of width "
        "1280); the network is Kolors. Use an adapter for Kolors.\n"
    )


def test_registered_adapters_of_the_other_family_are_refused(kolors_folder):
    with pytest.raises(
        ModelError, match="adapter of sdxl was trained for SDXL and does not fit kolors, which is Kolors"
    ):
        instantstyle.load("kolors", adapter="sdxl")
    with pytest.raises(ModelError, match="adapter of kolors was trained for Kolors and does not fit sdxl"):
        instantstyle.load("sdxl", adapter="kolors")


def test_an_adapter_in_memory_is_refused_too(tokenizer_folder, layers, image_encoder):
    state = {"image_proj": base_projection(1024), "ip_adapter": layer_weights(layers)}
    with pytest.raises(CheckpointError, match=r"trained for SDXL \(base.*the network is Kolors"):
        InstantStyle(make_kolors(tokenizer_folder), adapter=state, image_encoder=image_encoder)


def test_words_are_not_removed_and_pictures_are(kolors_folder, adapter_file, reference):
    styled = instantstyle.load(kolors_folder, adapter=adapter_file)
    with pytest.raises(
        StyleError, match=r"Words cannot be removed from image: Kolors has plus adapters only.*pictures"
    ):
        styled.style(reference, content="a cat")
    removed = styled.style(reference, content=Image.new("RGB", (32, 32), "red"))
    assert removed.content


def test_an_encoder_of_another_size_is_refused():
    """CLIP ViT-L/14 for 224 px has the same widths."""
    sizes: dict[str, Any] = {
        "hidden_size": 1024,
        "projection_dim": 768,
        "num_attention_heads": 16,
        "intermediate_size": 8,
    }
    with torch.device("meta"):
        config = CLIPVisionConfig(**sizes, num_hidden_layers=1, image_size=224, patch_size=14)
        encoder = CLIPVisionModelWithProjection(config)
    from instantstyle.core.reference_encoder import ReferenceEncoder

    checkpoint = IPAdapterCheckpoint.open(published_adapter())
    with pytest.raises(CheckpointError, match="for images of 336 px; this one reads 224 px"):
        ReferenceEncoder.for_checkpoint(checkpoint, encoder)


def test_a_missing_tokenizer_package_is_named(kolors_folder, adapter_file, monkeypatch):
    monkeypatch.setattr("instantstyle.models.conflicts.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"reads prompts with SentencePiece.*pip install 'instantstyle\[kolors\]'"):
        instantstyle.load(kolors_folder, adapter=adapter_file)


def test_the_plan_names_every_file_of_the_registered_model(hub):
    files = {file.file for file in plan("kolors").files}
    shards = [f"text_encoder/model.fp16-{part:05d}-of-00003.safetensors" for part in (1, 2, 3)]
    assert files >= {*shards, "text_encoder/model.safetensors.index.fp16.json", "tokenizer/tokenizer.model"}
    assert files >= {"ip_adapter_plus_general.bin", "image_encoder/config.json", "image_encoder/pytorch_model.bin"}
    assert not files & {"tokenizer/vocab.json", "text_encoder/model.fp16.safetensors"}


def test_the_registered_model_is_loaded_from_the_cache(hub, snapshot, monkeypatch, tokenizer_folder, adapter_file):
    """Its row with small weights: a text encoder in three files, a .bin adapter, and an encoder in a .bin file."""
    card = CARDS["kolors"]
    base, parts = snapshot(card.pipeline, card.pipeline_revision), snapshot(card.adapter_repo, card.revision)
    pipe = make_kolors(tokenizer_folder)
    pipe.save_pretrained(base, variant="fp16")
    for file in (base / "text_encoder").glob("model*"):
        file.unlink()
    total = sum(weight.numel() * 4 for weight in pipe.text_encoder.parameters())
    pipe.text_encoder.save_pretrained(base / "text_encoder", variant="fp16", max_shard_size=total // 2)
    assert len([*(base / "text_encoder").glob("model.fp16-*-of-00003.safetensors")]) == 3
    (parts / card.adapter).write_bytes(adapter_file.read_bytes())
    encoder = make_image_encoder()
    encoder.save_pretrained(parts / "image_encoder")
    (parts / "image_encoder" / "model.safetensors").unlink()
    torch.save(encoder.state_dict(), parts / "image_encoder" / "pytorch_model.bin")
    small, key = replace(card, architecture=None, features=("plus", 16)), ("hidden states", 16)
    monkeypatch.setitem(CARDS, "kolors", small)
    monkeypatch.setitem(IMAGE_SOURCES, key, replace(IMAGE_SOURCES["hidden states", 1024], weights=WeightsSize(1.0)))
    assert list_missing(list_required_files(small)) == []
    assert json.loads((base / "model_index.json").read_text())["tokenizer"] == ["kolors", "ChatGLMTokenizer"]
    styled = instantstyle.load("kolors")
    assert styled.architecture.name == "kolors"
    assert styled.defaults["num_inference_steps"] == 50
