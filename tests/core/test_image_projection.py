"""Image tokens equal those of diffusers for each type of projection."""

import pytest
import torch
from diffusers.loaders.unet import UNet2DConditionLoadersMixin
from torch.testing import assert_close

from instantstyle.core.image_projection import PROJECTIONS

from ..conftest import base_projection, full_projection, plus_projection


@pytest.mark.parametrize(
    ("projection_type", "weights", "features"),
    [
        ("base", base_projection(), torch.randn(2, 24)),
        ("full", full_projection(), torch.randn(2, 17, 16)),
        ("plus", plus_projection(), torch.randn(2, 17, 16)),
    ],
    ids=["base", "full", "plus"],
)
def test_tokens_equal_those_of_diffusers_projection(projection_type, weights, features):
    convert = UNet2DConditionLoadersMixin._convert_ip_adapter_image_proj_to_diffusers
    theirs = convert(UNet2DConditionLoadersMixin(), weights, low_cpu_mem_usage=False)
    with torch.no_grad():
        assert_close(PROJECTIONS[projection_type](weights, features), theirs(features), rtol=1e-5, atol=1e-5)
