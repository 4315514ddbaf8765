"""Outputs of a pipeline are checked for overflow, and arguments are counted and filtered."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from instantstyle import ModelError
from instantstyle.core.pipeline_checks import check_output, num_images, supported_arguments


@pytest.fixture
def float16_pipe():
    return SimpleNamespace(unet=SimpleNamespace(dtype=torch.float16), vae=SimpleNamespace(dtype=torch.float16))


BLACK, GREY = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "grey")


@pytest.mark.parametrize(
    "invalid",
    [
        [BLACK],
        np.full((1, 8, 8, 3), np.nan),
        torch.full((1, 4, 2, 2), torch.inf),
    ],
    ids=["black", "nan", "infinite latents"],
)
def test_an_overflow_raises_an_error_with_a_remedy(float16_pipe, invalid):
    with pytest.raises(ModelError, match=r"Image 1 of 1 .*UNet float16, VAE float16.*bfloat16"):
        check_output(SimpleNamespace(images=invalid), float16_pipe)


def test_invalid_images_are_numbered_from_one(float16_pipe):
    with pytest.raises(ModelError, match=r"^Image 2, 4 of 4 "):
        check_output(([GREY, BLACK, GREY, BLACK], None), float16_pipe)


@pytest.mark.parametrize(
    "valid", [[GREY], torch.zeros(1, 4, 2, 2), np.full((1, 8, 8, 3), 0.01)], ids=["pil", "latents", "numpy"]
)
def test_valid_images_pass(float16_pipe, valid):
    check_output(SimpleNamespace(images=valid), float16_pipe)


def test_an_overflow_of_the_unet_is_detected(styled, short):
    short = {**short, "output_type": "pil"}
    styled("a", seed=1, **short)
    with torch.no_grad():
        styled.pipe.unet.conv_out.weight.fill_(torch.inf)
    with (
        pytest.warns(RuntimeWarning, match="invalid value"),
        pytest.raises(ModelError, match="numbers overflowed"),
    ):
        styled("a", seed=1, **short)


def test_prompt_embeddings_are_counted_as_prompts():
    assert num_images(None, 2, {"prompt_embeds": torch.zeros(3, 4, 4)}) == 6
    assert num_images(["a", "b"], 2, {}) == 4


def test_unsupported_arguments_are_dropped(pipe):
    assert supported_arguments(pipe, {"height": 8, "strength": 0.5}) == {"height": 8}
