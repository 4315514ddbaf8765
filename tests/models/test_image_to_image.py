"""A loaded model as one that begins from a picture."""

import pytest
import torch
from diffusers import ControlNetModel
from PIL import Image

from instantstyle import ModelError
from instantstyle.models import image_to_image_pipeline

PHOTO = Image.effect_noise((16, 16), 90).convert("RGB")


def test_the_parts_are_the_models_own(styled):
    other = image_to_image_pipeline(styled)
    assert type(other.pipe).__name__ == "StableDiffusionXLImg2ImgPipeline"
    assert other.pipe.unet is styled.pipe.unet
    assert other.reference_encoder is styled.reference_encoder


def test_defaults_that_the_other_pipeline_lacks_stay_behind(styled):
    styled.defaults = {"num_inference_steps": 2, "height": 16}
    assert image_to_image_pipeline(styled).defaults == {"num_inference_steps": 2}
    assert styled.defaults == {"num_inference_steps": 2, "height": 16}


def test_a_controlnet_holds_the_edges(styled, reference):
    torch.manual_seed(7)
    net = ControlNetModel.from_unet(styled.pipe.unet, conditioning_embedding_out_channels=(4, 8))
    other = image_to_image_pipeline(styled, "canny", net)
    assert type(other.pipe).__name__ == "StableDiffusionXLControlNetImg2ImgPipeline"
    told = {"image": PHOTO, "control_image": PHOTO, "strength": 1.0, "num_inference_steps": 2}
    out = other("a", style=reference, seed=1, output_type="latent", height=16, width=16, **told)
    assert out.images.isfinite().all()


def test_a_family_without_one_is_told_so(styled, monkeypatch):
    monkeypatch.setattr("instantstyle.models.image_to_image.CANNY_CONTROLNETS", {})
    with pytest.raises(ModelError, match="no Canny ControlNet for sdxl; leave control at none"):
        image_to_image_pipeline(styled, "canny")


def test_one_that_cannot_be_fetched_is_named(styled, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"config\.json .*diffusers/controlnet-canny-sdxl-1\.0"):
        image_to_image_pipeline(styled, "canny")
