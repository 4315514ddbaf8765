"""Large images are decoded in tiles for the time of a call, also where the caller has not asked for it."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from diffusers import AutoencoderKL

from instantstyle.generation.generate import generate
from instantstyle.generation.vae_tiling import tile_large_images
from instantstyle.recipe import Recipe


@pytest.mark.parametrize(("size", "is_tiled"), [((2048, 2048), True), ((1024, 1024), False), ((1536, 1536), False)])
def test_tiling_is_on_inside_the_block_only(size, is_tiled):
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=4)
    with tile_large_images(SimpleNamespace(vae=vae), *size):
        assert vae.use_tiling == is_tiled
    assert not vae.use_tiling


def test_a_side_that_a_recipe_leaves_out_counts_as_the_models_own(styled, monkeypatch):
    """A recipe can give the width alone: the height of the image is then that of the model."""
    sizes = []
    path = "instantstyle.generation.generate.tile_large_images"
    monkeypatch.setattr(path, lambda pipe, *size: sizes.append(size) or nullcontext())
    for given in ({"width": 32}, {"height": 8}, {}):
        [(image, _)] = generate(
            styled, Recipe.model_validate({"prompt": "a", "seed": 0, "num_inference_steps": 1, **given})
        )
        assert sizes[-1] == image.size, given
    assert sizes == [(32, 16), (16, 8), (16, 16)]


def test_tiling_of_the_caller_stays():
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=4)
    vae.enable_tiling()
    with tile_large_images(SimpleNamespace(vae=vae), 2048, 2048):
        assert vae.use_tiling
    assert vae.use_tiling
