"""Saved styles and blocks that do not fit a model are refused before it is loaded."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import instantstyle
from instantstyle import Style, StyleError
from instantstyle.batch import ManifestError, read_manifest
from instantstyle.errors import BlockError, ModelError
from instantstyle.generation.validate import validate
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from instantstyle.models.schedulers import find_timesteps
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Reference

from ..cli.conftest import model as model
from ..parity.flux import save_flux
from ..parity.sd3 import save_sd3


@pytest.fixture(scope="module")
def sd3(tmp_path_factory, tokenizer_folder) -> Path:
    folder = tmp_path_factory.mktemp("sd3")
    save_sd3(folder, tokenizer_folder)
    return folder


@pytest.fixture(scope="module")
def flux(tmp_path_factory, tokenizer_folder, image_encoder) -> Path:
    folder = tmp_path_factory.mktemp("flux")
    save_flux(folder, tokenizer_folder, image_encoder)
    return folder


@pytest.fixture(scope="module")
def timed(sd3, reference, tmp_path_factory) -> Path:
    """A style that is bound for the timesteps of a schedule of 4 steps."""
    styled = instantstyle.load(sd3)
    blocks = "transformer_blocks.1"
    path = tmp_path_factory.mktemp("timed") / "ink.style.safetensors"
    return styled.bind(styled.style(reference), blocks, num_inference_steps=4).save(path)


@pytest.fixture
def styles(model, reference, tmp_path, monkeypatch) -> Path:
    """A folder with an image and styles: with grey embeddings, without, and bound without embeddings in two ways."""
    styled = instantstyle.load(model)
    grey = styled.style(reference, keep_grey=True)
    own = styled.style(reference)
    saved = {"own": own, "grey": grey}
    for name, blocks in (("one", "up_blocks.0.attentions.1"), ("other", ["up_blocks.0.attentions.0-1"])):
        bound = styled.bind(own, blocks)
        saved[name] = Style(
            image_embeds=torch.zeros(0, 0),
            unconditional=torch.zeros(0),
            weights=(),
            name=name,
            encoder=own.encoder,
            bindings=bound.bindings,
        )
    for name, style in saved.items():
        style.save(tmp_path / f"{name}.style.safetensors")
    reference.save(tmp_path / "ink.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refer(*names: str) -> tuple[Reference, ...]:
    return tuple(Reference(name=name if "." in name else f"{name}.style.safetensors") for name in names)


def make(model: Path, **fields: Any) -> Recipe:
    return Recipe(prompt="a", seed=1, model=str(model), **fields)


def test_a_style_that_is_bound_for_other_steps_is_refused(sd3, timed, tmp_path):
    fields = {"references": refer(str(timed)), "blocks": "transformer_blocks.1"}
    message = r"image is bound for a schedule of 4 steps, which has no timestep .*generate with 4 steps"
    validate(make(sd3, num_inference_steps=4, **fields))
    for steps in (3, None):
        with pytest.raises(StyleError, match=message):
            validate(make(sd3, num_inference_steps=steps, **fields))
    # The first timestep of all schedules is the same.
    validate(make(sd3, num_inference_steps=1, **fields))
    path = tmp_path / "jobs.jsonl"
    row = {"prompt": "a", "seed": 1, "style": str(timed), "blocks": fields["blocks"], "model": str(sd3)}
    path.write_text(json.dumps({**row, "num_inference_steps": 3}))
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_steps_are_those_that_the_pipeline_draws(sd3, timed):
    scheduler: Any = instantstyle.load(sd3, plain=True).pipe.scheduler
    for steps in (1, 3, 4):
        scheduler.set_timesteps(steps)
        assert find_timesteps(str(sd3), steps) == scheduler.timesteps.tolist()
    assert find_timesteps(str(sd3), 4, "FlowMatchHeunDiscreteScheduler") is None
    # Its schedule depends on the image's size.
    assert find_timesteps("flux-dev", 4) is None


def test_a_mix_is_refused_where_its_parts_are_not_bound_for_the_blocks(model, styles):
    validate(make(model, references=refer("one", "other"), blocks="up_blocks.0.attentions.1"))
    message = r"is bound for up_blocks\.0\.attentions\.1 of .*, not for up_blocks\.0\.attentions\.0"
    with pytest.raises(StyleError, match=message):
        validate(make(model, references=refer("one", "other"), blocks="up_blocks.0.attentions.0-1"))
    validate(make(model, references=refer("other"), blocks="up_blocks.0.attentions.0-1"))
    with pytest.raises(StyleError, match=message):
        validate(
            make(
                model,
                references=refer("own"),
                negative_references=refer("one", "other"),
                blocks=["up_blocks.0.attentions.0-1"],
            )
        )
    with pytest.raises(StyleError, match="one is bound only: without embeddings"):
        validate(make(model, references=refer("one", "ink.png"), blocks="up_blocks.0.attentions.1"))


def test_a_blend_of_styles_without_grey_embeddings_is_refused(model, styles):
    for references, textures in ((("grey",), ("own",)), (("own",), ("grey",)), (("grey", "own"), ("ink.png",))):
        recipe = make(model, references=refer(*references), texture_references=refer(*textures))
        with pytest.raises(StyleError, match=r"has no embedding of its images made grey.*--keep-grey"):
            validate(recipe)
    validate(make(model, references=refer("grey"), texture_references=refer("ink.png")))


def test_a_role_and_a_scheduler_that_a_transformer_has_not_are_refused(flux, styles):
    with pytest.raises(BlockError, match="has no role 'style'"):
        validate(make(flux, references=refer("ink.png")))
    with pytest.raises(ModelError, match=r"scheduler 'ddim' is for noise prediction, and .* with flow matching"):
        validate(make(flux, references=refer("ink.png"), blocks="all", scheduler="ddim"))
    validate(make(flux, references=refer("ink.png"), blocks="all", scheduler="FlowMatchEulerDiscreteScheduler"))


def test_an_adapter_is_opened_once_until_its_file_changes(model, styles, tmp_path, monkeypatch):
    opened, open_checkpoint = [], IPAdapterCheckpoint.open

    def count(source: Any) -> IPAdapterCheckpoint:
        opened.append(source)
        return open_checkpoint(source)

    monkeypatch.setattr(IPAdapterCheckpoint, "open", count)
    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    recipe = make(folder, references=refer("own"), blocks="up_blocks.0.attentions.1")
    for _ in range(3):
        validate(recipe)
    assert opened == [folder / "ip-adapter_small.safetensors"]
    opened[0].write_bytes(b"no adapter")
    # What cannot be read is reported by loading.
    validate(recipe)
    assert len(opened) == 2
    shutil.copy(model / "ip-adapter_small.safetensors", folder)
    os.utime(opened[0])
    encoder = folder / "image_encoder" / "model.safetensors"
    state = load_file(encoder)
    save_file({**state, "visual_projection.weight": state["visual_projection.weight"] + 1}, encoder)
    with pytest.raises(StyleError, match="was made with another image encoder"):
        validate(recipe)
