"""A loaded model becomes an image-to-image pipeline without loading its components again."""

from typing import Any

import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image

from instantstyle import ModelError
from instantstyle.generation.load import load_for
from instantstyle.models import image_to_image_pipeline
from instantstyle.models.image_to_image import CONTROLNETS, load_controlnet
from instantstyle.recipe import Recipe
from instantstyle.recipe_types import Control, Reference

PHOTO = Image.effect_noise((16, 16), 90).convert("RGB")


def test_the_components_are_shared(styled):
    other = image_to_image_pipeline(styled)
    assert type(other.pipe).__name__ == "StableDiffusionXLImg2ImgPipeline"
    assert other.pipe.unet is styled.pipe.unet
    assert other.reference_encoder is styled.reference_encoder


def test_defaults_that_the_other_pipeline_does_not_accept_are_dropped(styled):
    styled.defaults = {"num_inference_steps": 2, "height": 16}
    assert image_to_image_pipeline(styled).defaults == {"num_inference_steps": 2}
    assert styled.defaults == {"num_inference_steps": 2, "height": 16}


def test_a_controlnet_can_be_added(styled, reference):
    torch.manual_seed(7)
    net = ControlNetModel.from_unet(styled.pipe.unet, conditioning_embedding_out_channels=(4, 8))
    for weight in net.controlnet_mid_block.parameters():
        torch.nn.init.normal_(weight)  # a new one has zeros, which change nothing
    other = image_to_image_pipeline(styled, "canny", net)
    assert type(other.pipe).__name__ == "StableDiffusionXLControlNetImg2ImgPipeline"
    arguments = {"image": PHOTO, "control_image": PHOTO, "strength": 1.0, "num_inference_steps": 2}
    call: dict[str, Any] = dict(style=reference, seed=1, output_type="latent", height=16, width=16, **arguments)
    drawn = [other("a", **call, controlnet_conditioning_scale=scale).images for scale in (0.0, 1.0)]
    assert not drawn[0].equal(drawn[1])


def test_a_family_without_a_controlnet_raises_an_error(styled, monkeypatch):
    monkeypatch.setitem(CONTROLNETS, "tile", {})
    with pytest.raises(ModelError, match="no tile ControlNet for sdxl; there is canny"):
        image_to_image_pipeline(styled, "tile")
    monkeypatch.setitem(CONTROLNETS, "canny", {})
    with pytest.raises(ModelError, match="no canny ControlNet for sdxl; leave control at none"):
        image_to_image_pipeline(styled, "canny")


def test_an_unavailable_controlnet_is_named_in_the_error(styled, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    repos: dict[Control, str] = {
        "canny": "diffusers/controlnet-canny-sdxl-1.0",
        "tile": "xinsir/controlnet-tile-sdxl-1.0",
    }
    for control, repo in repos.items():
        with pytest.raises(ModelError, match=rf"config\.json .*{repo}"):
            image_to_image_pipeline(styled, control)


@pytest.mark.usefixtures("own_pipe")
def test_a_controlnet_is_loaded_in_the_dtype_and_on_the_device_of_the_network(styled, monkeypatch, tmp_path):
    """A pipeline that is made from another one leaves its components where they are."""
    net = ControlNetModel.from_unet(styled.pipe.unet, conditioning_embedding_out_channels=(4, 8))
    net.save_pretrained(tmp_path)
    monkeypatch.setattr("instantstyle.models.image_to_image.fetch_file", lambda repo, file: tmp_path / file)
    styled.pipe.unet.to(torch.float64)
    loaded = load_controlnet(styled, "canny")
    assert (loaded.dtype, loaded.device.type) == (torch.float64, "cpu")
    styled.pipe.unet.to("meta")
    assert load_controlnet(styled, "tile").device.type == "meta"


@pytest.mark.parametrize("inversion", [None, 2])
def test_an_unavailable_controlnet_is_an_error_before_the_model_is_loaded(monkeypatch, inversion):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("instantstyle.generation.load.load_model", lambda *_, **__: pytest.fail("loaded"))
    recipe = Recipe(prompt="a", seed=1, model="sdxl", image=Reference(name="a.png"), control="tile")
    with pytest.raises(ModelError, match=r"config\.json .*xinsir/controlnet-tile-sdxl-1\.0"):
        load_for(recipe.replace(inversion=inversion))
