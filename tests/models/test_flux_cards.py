"""The rows of FLUX.1 and Chroma in the registry: loaded from a cache of small files, planned, and their dtype."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

import instantstyle
from instantstyle import MissingExtra
from instantstyle.dit.families import FLUX, FLUX_INSTANTX
from instantstyle.models import CARDS
from instantstyle.models.clip_sources import IMAGE_SOURCES, TEXT_SOURCES, LazyTextEncoder
from instantstyle.models.conflicts import find_network_conflicts
from instantstyle.models.load_plan import plan
from instantstyle.models.network import choose_dtype
from instantstyle.models.required_files import list_missing, list_required_files
from instantstyle.models.resolve import resolve_card

from ..cli.conftest import run as run
from ..conftest import EMBEDDING_DIM, text_config
from ..parity.flux import make_adapter, make_pipeline

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*FluxPosEmbed:FutureWarning", "ignore:The model was trained on images of"
)

SHORT: dict[str, Any] = {"num_inference_steps": 2, "height": 48, "width": 64, "seed": 1}


@pytest.mark.parametrize(("name", "pipeline"), [("flux-schnell", "FluxPipeline"), ("chroma", "ChromaPipeline")])
def test_a_registered_model_is_loaded_from_the_cache(
    hub, snapshot, monkeypatch, tokenizer_folder, image_encoder, reference, name, pipeline
):
    """Its row with small weights; image and text encoder are the two halves of one CLIP."""
    card = CARDS[name]
    base, parts = snapshot(card.pipeline, card.pipeline_revision), snapshot(card.adapter_repo, "a" * 40)
    pipe = make_pipeline(pipeline, tokenizer_folder)
    pipe.save_pretrained(base)
    found = make_adapter(pipe.transformer)
    tensors = {f"{part}.{key}": value for part, values in found.items() for key, value in values.items()}
    save_file(tensors, parts / card.adapter)
    source = replace(IMAGE_SOURCES["embeddings", 768], repo="owner/clip")
    folder = snapshot(source.repo, source.revision)
    text, vision = text_config().to_dict(), image_encoder.config.to_dict()
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=EMBEDDING_DIM)).save_pretrained(folder)
    small = replace(card, architecture=None, components={}, revision="a" * 40, features=("base", EMBEDDING_DIM))
    monkeypatch.setitem(CARDS, name, small)
    monkeypatch.setitem(IMAGE_SOURCES, ("embeddings", EMBEDDING_DIM), source)
    monkeypatch.setitem(TEXT_SOURCES, EMBEDDING_DIM, replace(TEXT_SOURCES[768], repo="owner/clip"))
    assert list_missing(list_required_files(small)) == []
    styled = instantstyle.load(name)
    assert styled.defaults == card.defaults
    assert isinstance(styled.text_encoder, LazyTextEncoder)
    images = styled("a", style=reference, blocks="all", output_type="pt", **SHORT).images
    assert not images.equal(styled("a", output_type="pt", **SHORT).images)


def test_a_plan_of_files_that_are_not_here_names_their_sizes(hub):
    planned = plan("flux-dev", blocks=["transformer_blocks.5-9"], device="cuda")
    assert planned.dtype == torch.bfloat16
    parts = dict.fromkeys(file.file.part for file in planned.weights)
    assert list(parts) == ["text_encoder", "text_encoder_2", "transformer", "vae", "adapter", "image encoder"]
    # huggingface.co/black-forest-labs/FLUX.1-dev: 0.25 GB, 9.52 GB, 23.80 GB and 0.17 GB; half of CLIP's 1.71 GB.
    assert planned.num_bytes == pytest.approx(33.74e9 + 0.855e9, rel=1e-3)


@pytest.mark.parametrize(("name", "dtype"), [("sdxl", torch.float16), ("chroma", torch.bfloat16)])
def test_transformers_are_loaded_in_bfloat16_on_a_gpu(name, dtype):
    assert choose_dtype(CARDS[name], "cuda") == dtype


def test_a_plan_with_the_adapter_of_instantx_names_its_encoder(hub):
    planned = plan("flux-instantx", device="cuda")
    [encoder] = [file for file in planned.weights if file.file.part == "image encoder"]
    # Half of SigLIP's 3.51 GB.
    assert encoder.num_bytes == pytest.approx(1.756e9, rel=1e-3)
    assert {name.split(".")[1] for name in planned.tensors} == {*map(str, range(29, 57))}


def test_what_is_missing_is_said_in_one_line(hub, run):
    done = run("generate", "a", "--model", "flux-dev", "--blocks", "all", "--style", "ink.png", "-o", "out.png")
    assert done.code == 2
    done = run("doctor", "flux-dev")
    assert "black-forest-labs/FLUX.1-dev" in done.out + done.err
    refused = run("generate", "a", "--model", "sdxl", "--adapter", "flux-dev", "-o", "out.png")
    assert "was trained for FLUX.1 and does not fit sdxl" in refused.err


def test_the_rows_have_the_blocks_of_their_family():
    assert all(CARDS[name].architecture is FLUX for name in ("flux-dev", "flux-schnell", "chroma"))


def test_a_folder_with_the_name_of_a_registered_model_is_named(hub, run):
    Path("chroma").mkdir()
    done = run("generate", "a", "--model", "chroma", "-o", "out.png")
    assert done.code == 2
    assert done.err.endswith("The folder of this name is ./chroma.\n")


def test_the_packages_that_convert_a_tokenizer_of_t5_are_named_before_anything_is_loaded(hub, monkeypatch, tmp_path):
    """transformers converts spiece.model by SentencePiece and protobuf; tokenizer.json needs neither."""
    absent = {"sentencepiece", "google.protobuf"}
    monkeypatch.setattr("instantstyle.models.conflicts.find_spec", lambda name: None if name in absent else name)
    [error] = find_network_conflicts(CARDS["chroma"])
    assert isinstance(error, MissingExtra)
    assert str(error) == (
        "chroma reads prompts with SentencePiece, for which sentencepiece and google.protobuf are not installed: pip "
        "install 'instantstyle[kolors]' protobuf."
    )
    absent.remove("sentencepiece")
    with pytest.raises(MissingExtra, match=r"for which google\.protobuf is not installed: pip install protobuf\.$"):
        plan("chroma")
    assert not [*find_network_conflicts(CARDS["kolors"])]
    # The index of a folder names the class, and the folder has one form or the other.
    index = {"_class_name": "ChromaPipeline", "tokenizer": ["transformers", "T5Tokenizer"], "transformer": ["a", "b"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    card = resolve_card(str(tmp_path))[0]
    assert [type(error) for error in find_network_conflicts(card)] == [MissingExtra]
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text("{}")
    assert not [*find_network_conflicts(card)]


def test_the_adapters_of_both_kinds_fit_all_models_of_flux(hub, tokenizer_folder, tmp_path):
    """Also a folder, before the adapter is downloaded."""
    for model in ("flux-dev", "flux-schnell", "chroma"):
        card, _ = resolve_card(model, "flux-instantx")
        assert card.architecture is FLUX_INSTANTX
        planned = plan(model, adapter="flux-instantx", device="cuda")
        assert planned.tensors == plan("flux-instantx", device="cuda").tensors
    assert resolve_card("flux-instantx", "flux-schnell")[0].architecture is FLUX
    config = {"_class_name": "FluxTransformer2DModel", "guidance_embeds": True}
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]})
    )
    assert plan(str(tmp_path), adapter="flux-instantx").tensors == plan("flux-instantx").tensors
