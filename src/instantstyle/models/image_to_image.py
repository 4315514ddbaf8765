"""Pipelines that begin from a picture, made of a loaded model's own parts."""

from collections.abc import Mapping
from typing import Any

from ..core.pipeline import InstantStyle
from ..errors import ModelError
from ..utils.hub import fetch
from .load import diffusers_class, quietly, unmarked

CANNY: Mapping[str, str] = {
    "sdxl": "diffusers/controlnet-canny-sdxl-1.0",
    "sd15": "lllyasviel/sd-controlnet-canny",
}
"""Each family's ControlNet for Canny edges, those of diffusers' own guides; not pinned to a revision."""


def image_to_image_pipeline(
    styled: InstantStyle, control: str = "none", controlnet: Any = None
) -> InstantStyle:
    """The same model as image-to-image; with `control="canny"` its ControlNet holds the edges.

    `controlnet`: a loaded `ControlNetModel`, instead of the family's own.
    """
    parts = {} if control == "none" else {"controlnet": _controlnet(styled, controlnet)}
    with quietly():
        pipe = diffusers_class("AutoPipelineForImage2Image").from_pipe(styled.pipe, **parts)
    return styled.with_pipeline(unmarked(pipe))


def _controlnet(styled: InstantStyle, given: Any) -> Any:
    if given is not None:
        return given
    source = CANNY.get(styled.architecture.name)
    if source is None:
        raise ModelError(
            f"There is no Canny ControlNet for {styled.architecture.name}; leave control at none, where the "
            "picture's own pixels hold its structure."
        )
    # The two lie side by side in the cache, as in the repository.
    folder = fetch(source, "config.json").parent
    fetch(source, "diffusion_pytorch_model.safetensors")
    with quietly():
        return diffusers_class("ControlNetModel").from_pretrained(
            folder, torch_dtype=styled.pipe.unet.dtype, local_files_only=True
        )
