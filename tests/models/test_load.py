"""`load` accepts registry names, folders, hub ids and single files, and reports what is missing."""

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import instantstyle
from instantstyle.errors import ModelError
from instantstyle.models import CARDS, ModelCard
from instantstyle.models.clip_sources import IMAGE_SOURCES, TEXT_SOURCES, EncoderSource, LazyTextEncoder
from instantstyle.models.examine import examine_model
from instantstyle.models.load import load_pipeline
from instantstyle.models.load_plan import plan
from instantstyle.models.registry import HubFile, WeightsSize
from instantstyle.models.required_files import list_base_files
from instantstyle.models.resolve import find_card
from instantstyle.models.single_file import FAMILIES
from instantstyle.recipe_types import Reference

from ..conftest import EMBEDDING_DIM, make_image_encoder, make_pipe, make_unet
from ..loaders.test_ip_adapter_checkpoint import flat


def test_a_folder_is_loaded_with_its_adapter_and_encoder(folder, styled, reference, short):
    loaded = instantstyle.load(folder)
    loaded.pipe.set_progress_bar_config(disable=True)
    images = loaded("a", style=reference, seed=1, **short).images
    assert images.equal(styled("a", style=reference, seed=1, **short).images)


def test_a_folder_is_loaded_in_the_given_dtype(folder):
    loaded = instantstyle.load(folder, dtype=torch.bfloat16, device="cpu")
    assert loaded.pipe.unet.dtype == loaded.image_encoder.model.dtype == torch.bfloat16


def test_loading_hides_progress_bars_and_enables_them_again(folder, capfd):
    from diffusers.utils import logging

    instantstyle.load(folder)
    assert "%|" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled()


def test_a_registered_model_has_the_architecture_and_defaults_of_its_card(folder, monkeypatch):
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


def test_an_incomplete_bundled_model_raises_an_error_that_names_the_missing_files(tmp_path, monkeypatch):
    card = replace(CARDS["mini"], pipeline=str(tmp_path))
    monkeypatch.setitem(CARDS, "mini", card)
    with pytest.raises(
        ModelError, match=r"lacks model_index\.json, unet/config\.json, unet/.*, ip-adapter_mini\.safetensors"
    ):
        instantstyle.load("mini")


def test_an_adapter_is_named_by_the_entry_of_a_recipe(folder, tmp_path, reference, short):
    path = (folder / "ip-adapter_small.safetensors").rename(tmp_path / "other.safetensors")
    entry = Reference(name=str(path), sha256=sha256(path.read_bytes()).hexdigest())
    styled = instantstyle.load(folder, adapter=entry)
    reference.save(tmp_path / "ink.png")
    output = styled("a", style=tmp_path / "ink.png", seed=1, **{**short, "output_type": "pil"})
    assert output.recipe().adapter == entry
    for adapter in (entry.model_copy(update={"sha256": "0" * 64}), Reference(name="sdxl", sha256="0" * 64)):
        with pytest.raises(ModelError, match=rf"^{adapter.name} is another file than the image was generated with"):
            instantstyle.load(folder, adapter=adapter)
    instantstyle.load(folder, adapter=[Reference(name=str(path)), entry])


def test_an_image_encoder_that_is_missing_or_incomplete_is_named_and_not_the_folder_of_the_model(folder, tmp_path):
    message = rf"^There is no image encoder 'openai/clip'; looked in {Path('openai').absolute()}\. Name a folder with"
    with pytest.raises(ModelError, match=message):
        instantstyle.load(folder, image_encoder="openai/clip")
    with pytest.raises(ModelError, match=message):
        plan(folder, image_encoder="openai/clip")
    with pytest.raises(ModelError, match=message):
        examine_model(str(folder), image_encoder="openai/clip")
    (tmp_path / "clip").mkdir()
    with pytest.raises(ModelError, match=rf"is incomplete: {tmp_path} lacks clip/config\.json, clip/model"):
        instantstyle.load(folder, image_encoder=tmp_path / "clip")


def test_an_unknown_name_raises_an_error_with_the_nearest_known_one():
    with pytest.raises(ModelError, match=r"known are mini, sdxl, .*, sd35-large; .* Did you mean mini\?"):
        instantstyle.load("minni")


def test_a_folder_without_an_adapter_raises_an_error(folder):
    (folder / "ip-adapter_small.safetensors").unlink()
    with pytest.raises(ModelError, match="pass adapter="):
        instantstyle.load(folder)


def test_a_folder_with_two_adapters_raises_an_error(folder):
    (folder / "ip-adapter_other.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="has several adapters"):
        instantstyle.load(folder)


def test_a_hub_id_without_an_adapter_raises_an_error():
    with pytest.raises(ModelError, match="pass adapter=, a file or the name of a model"):
        instantstyle.load("someone/something")


def test_the_adapter_of_the_bundled_model_fits_no_other():
    with pytest.raises(ModelError, match="fits that model only"):
        instantstyle.load("someone/something", adapter="mini")


SMALL_ENCODER = EncoderSource(
    "a small encoder", "owner/ip", "e" * 40, ("enc/config.json", "enc/model.safetensors"), WeightsSize(1.0)
)
SMALL = ModelCard(
    name="small",
    pipeline="owner/base",
    adapter="adapters/small.safetensors",
    pipeline_revision="b" * 40,
    variant="fp16",
    components={
        "unet": WeightsSize(1.0),
        "vae": WeightsSize(1.0),
        "text_encoder": WeightsSize(1.0),
        "scheduler": None,
    },
    adapter_repo="owner/ip",
    revision="e" * 40,
    defaults={"num_inference_steps": 2},
)


@pytest.fixture
def on_hub(snapshot, monkeypatch, tokenizer_folder, state):
    """Put the small model into the hub's cache: two repositories with pinned revisions."""
    base, parts = snapshot("owner/base", "b" * 40), snapshot("owner/ip", "e" * 40)
    make_pipe(tokenizer_folder).save_pretrained(base, variant="fp16")
    make_image_encoder().save_pretrained(parts / "enc")
    (parts / "adapters").mkdir()
    save_file(flat(state), parts / "adapters" / "small.safetensors")
    monkeypatch.setitem(CARDS, "small", SMALL)
    monkeypatch.setitem(IMAGE_SOURCES, ("embeddings", EMBEDDING_DIM), SMALL_ENCODER)
    return base


def test_a_registered_model_is_loaded_from_the_cache_offline(on_hub, styled, reference, short):
    loaded = instantstyle.load("small")
    loaded.pipe.set_progress_bar_config(disable=True)
    images = loaded("a", style=reference, seed=1, **short).images
    assert images.equal(styled("a", style=reference, seed=1, **short).images)
    assert loaded.defaults == {"num_inference_steps": 2}


def test_all_missing_files_are_reported_at_once_offline(on_hub, hub):
    (on_hub / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    shutil.rmtree(hub / "models--owner--ip" / "snapshots" / ("e" * 40) / "adapters")
    with pytest.raises(ModelError) as error:
        instantstyle.load("small")
    message = str(error.value)
    assert "unet/diffusion_pytorch_model.fp16.safetensors of owner/base" in message
    assert f"{hub} (offline: HF_HUB_OFFLINE is set)" in message
    assert f"hf download owner/ip adapters/small.safetensors --revision {'e' * 40}" in message


def test_a_card_can_replace_unet_and_scheduler(on_hub, snapshot, monkeypatch):
    folder = snapshot("owner/fast", "f" * 40)
    fast = {name: tensor + 1 for name, tensor in make_unet().state_dict().items()}
    save_file(fast, folder / "fast.safetensors")
    changes = {
        "unet": HubFile("owner/fast", "fast.safetensors", "f" * 40, WeightsSize(1.0)),
        "scheduler": CARDS["sdxl-lightning"].scheduler,
    }
    monkeypatch.setitem(CARDS, "fast", replace(SMALL, **changes))
    # The file that the card replaces is not needed.
    (on_hub / "unet" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    pipe: Any = instantstyle.load("fast").pipe
    assert pipe.unet.conv_in.bias.equal(fast["conv_in.bias"])
    assert type(pipe.scheduler).__name__ == "EulerDiscreteScheduler"
    assert pipe.scheduler.config.timestep_spacing == "trailing"


def test_the_adapter_of_another_model_is_loaded_by_its_name(on_hub, folder):
    (folder / "ip-adapter_small.safetensors").unlink()
    shutil.rmtree(folder / "image_encoder")
    checkpoint = instantstyle.load(folder, adapter="small").adapter.checkpoint
    assert checkpoint is not None
    assert checkpoint.projection_type == "base"


def test_an_adapter_without_a_known_encoder_raises_an_error(folder):
    shutil.rmtree(folder / "image_encoder")
    with pytest.raises(ModelError, match="reads image embeddings of width 24"):
        instantstyle.load(folder)


def test_a_pipeline_without_a_fitting_text_encoder_gets_a_lazy_one(folder, monkeypatch):
    monkeypatch.setitem(TEXT_SOURCES, EMBEDDING_DIM, replace(TEXT_SOURCES[1024], title="a small text encoder"))
    monkeypatch.setattr("instantstyle.core.style_builder.find_text_encoder", lambda pipe, width: None)
    loaded = instantstyle.load(folder)
    assert isinstance(loaded.text_encoder, LazyTextEncoder)


def test_a_single_file_uses_the_configs_of_the_registered_model(
    hub, snapshot, tmp_path, monkeypatch, tokenizer_folder
):
    """Check what is passed to diffusers, which converts the weights: config folder and dtype."""
    checkpoint = tmp_path / "anything.safetensors"
    save_file(dict.fromkeys(FAMILIES["sdxl"].keys, torch.zeros(1)), checkpoint)
    card = CARDS["sdxl"]
    settings = snapshot(card.pipeline, card.pipeline_revision)
    for file in list_base_files(find_card(str(checkpoint))):
        (settings / file.file).parent.mkdir(exist_ok=True)
        (settings / file.file).write_text("{}")
    passed = {}

    def from_single_file(path, **arguments):
        passed.update(arguments, path=path)
        return make_pipe(tokenizer_folder)

    monkeypatch.setattr("diffusers.StableDiffusionXLPipeline.from_single_file", from_single_file)
    loaded = load_pipeline(find_card(str(checkpoint)), torch.bfloat16)
    assert loaded.watermark is None
    assert passed["path"] == str(checkpoint)
    assert passed["config"] == str(settings)
    assert passed["torch_dtype"] == torch.bfloat16


def test_a_file_that_is_not_a_checkpoint_raises_an_error(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"not a single-file checkpoint .* doctor --look"):
        instantstyle.load(tmp_path / "a.safetensors", adapter="sdxl")
