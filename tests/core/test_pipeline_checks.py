"""What came out of a pipeline is looked at before it is handed on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from instantstyle import ModelError
from instantstyle.core.pipeline_checks import check_output, num_images, supported_arguments


@pytest.fixture
def halves():
    return SimpleNamespace(unet=SimpleNamespace(dtype=torch.float16), vae=SimpleNamespace(dtype=torch.float16))


BLACK, GREY = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "grey")


@pytest.mark.parametrize(
    "spoilt",
    [
        [BLACK],
        np.full((1, 8, 8, 3), np.nan),
        torch.full((1, 4, 2, 2), torch.inf),
    ],
    ids=["black", "nan", "infinite latents"],
)
def test_an_overflow_is_an_error_with_a_remedy(halves, spoilt):
    with pytest.raises(ModelError, match=r"Image 1 of 1 .*UNet float16, VAE float16.*bfloat16"):
        check_output(SimpleNamespace(images=spoilt), halves)


def test_the_pictures_that_are_spoilt_are_counted_from_one(halves):
    with pytest.raises(ModelError, match=r"^Image 2, 4 of 4 "):
        check_output(([GREY, BLACK, GREY, BLACK], None), halves)


@pytest.mark.parametrize(
    "sound", [[GREY], torch.zeros(1, 4, 2, 2), np.full((1, 8, 8, 3), 0.01)], ids=["pil", "latents", "numpy"]
)
def test_all_else_passes(halves, sound):
    check_output(SimpleNamespace(images=sound), halves)


def test_a_network_that_overflows_is_told_from_one_that_draws(styled, short):
    short = {**short, "output_type": "pil"}
    styled("a", seed=1, **short)
    with torch.no_grad():
        styled.pipe.unet.conv_out.weight.fill_(torch.inf)
    with (
        pytest.warns(RuntimeWarning, match="invalid value"),
        pytest.raises(ModelError, match="numbers overflowed"),
    ):
        styled("a", seed=1, **short)


def test_prompts_given_as_embeddings_are_counted():
    assert num_images(None, 2, {"prompt_embeds": torch.zeros(3, 4, 4)}) == 6
    assert num_images(["a", "b"], 2, {}) == 4


def test_arguments_that_a_pipeline_does_not_have_are_left_out(pipe):
    assert supported_arguments(pipe, {"height": 8, "strength": 0.5}) == {"height": 8}
