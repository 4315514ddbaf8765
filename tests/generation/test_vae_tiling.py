"""Large images are decoded in tiles for the time of a call, also where the caller has not asked for it."""

from types import SimpleNamespace

import pytest
from diffusers import AutoencoderKL

from instantstyle.generation.vae_tiling import tile_large_images


@pytest.mark.parametrize(
    ("size", "is_tiled"), [((2048, 2048), True), ((1024, 1024), False), ((1536, 1536), False), ((None, None), False)]
)
def test_tiling_is_on_inside_the_block_only(size, is_tiled):
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=4)
    with tile_large_images(SimpleNamespace(vae=vae), *size):
        assert vae.use_tiling == is_tiled
    assert not vae.use_tiling


def test_tiling_of_the_caller_stays():
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=4)
    vae.enable_tiling()
    with tile_large_images(SimpleNamespace(vae=vae), 2048, 2048):
        assert vae.use_tiling
    assert vae.use_tiling
