"""Adapter families that are not supported are rejected with their names."""

import pytest
import torch

from instantstyle.errors import CheckpointError
from instantstyle.loaders.ip_adapter_checkpoint import IPAdapterCheckpoint

from .test_ip_adapter_checkpoint import flat


def zeros(shapes):
    return {name: torch.zeros(shape, device="meta") for name, shape in shapes.items()}


PERCEPTRON = zeros({f"image_proj.{name}.weight": (4, 4) for name in ("proj.0", "proj.2", "norm")})


@pytest.mark.parametrize(
    ("tensors", "family"),
    [
        (zeros({"ip_adapter.0.to_q_lora.down.weight": (1,)}), "IP-Adapter-FaceID,"),
        (zeros({"image_proj.perceiver_resampler.proj_in.weight": (1,)}), "FaceID-Plus"),
        (
            zeros({"image_proj.perceiver_resampler.norm.weight": (1,), "ip_adapter.0.to_q_lora.up.weight": (1,)}),
            "FaceID-Plus",
        ),
        (PERCEPTRON, "IP-Adapter-FaceID,"),
        (zeros({"image_proj.proj_in.weight": (1280, 512)}), "InstantID"),
    ],
)
def test_unsupported_families_are_rejected_by_name(state, tensors, family):
    with pytest.raises(CheckpointError, match=family):
        IPAdapterCheckpoint.open({**flat({**state, "image_proj": {}}), **tensors})
