"""Image-to-image pipelines from the components of a loaded model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..core.pipeline import InstantStyle
from ..errors import ModelError
from ..recipe_types import Control
from ..utils.hub import fetch_file
from .load import disable_watermark, hide_progress_bars
from .network import find_architecture, import_diffusers_class

if TYPE_CHECKING:
    from diffusers import ControlNetModel

CANNY_CONTROLNETS: Mapping[str, str] = {
    "sdxl": "diffusers/controlnet-canny-sdxl-1.0",
    "sd15": "lllyasviel/sd-controlnet-canny",
}
"""Hub id of the ControlNet for Canny edges by family, as in diffusers' guides; not pinned to a revision."""


def image_to_image_pipeline(
    styled: InstantStyle, control: Control = "none", controlnet: "ControlNetModel | None" = None
) -> InstantStyle:
    """Make an image-to-image pipeline from a model without loading its components again.

    Args:
        styled: The model.
        control: `"canny"` adds a ControlNet that preserves the edges of the image.
        controlnet: The ControlNet for `"canny"`; None loads that of the family.

    Returns:
        A model that shares all components with `styled`.

    Raises:
        ModelError: The family has no known ControlNet, or it is not available.
    """
    return _from_pipe(styled, "AutoPipelineForImage2Image", control, controlnet)


def text_to_image_pipeline(
    styled: InstantStyle, control: Control = "none", controlnet: "ControlNetModel | None" = None
) -> InstantStyle:
    """Make the pipeline that draws an inverted image: the model itself, or with a ControlNet; as above."""
    return styled if control == "none" else _from_pipe(styled, "AutoPipelineForText2Image", control, controlnet)


def has_controlnet(model: str) -> bool:
    """Whether the family of a model has a known Canny ControlNet.

    Raises:
        InstantStyleError: The model cannot be found or read.
    """
    architecture = find_architecture(model)
    return architecture is not None and architecture.name in CANNY_CONTROLNETS


def _from_pipe(
    styled: InstantStyle, auto_class: str, control: Control, controlnet: "ControlNetModel | None"
) -> InstantStyle:
    components: dict[str, object] = {}
    if control != "none":
        components["controlnet"] = _load_controlnet(styled) if controlnet is None else controlnet
    with hide_progress_bars():
        pipe = import_diffusers_class(auto_class).from_pipe(styled.pipe, **components)
    return styled.with_pipeline(disable_watermark(pipe))


def _load_controlnet(styled: InstantStyle) -> "ControlNetModel":
    repo = CANNY_CONTROLNETS.get(styled.architecture.name)
    if repo is None:
        raise ModelError(
            f"There is no Canny ControlNet for {styled.architecture.name}; leave control at none, where the "
            "image's own pixels preserve its structure."
        )
    # Both files are in one folder of the cache, as in the repository.
    folder = fetch_file(repo, "config.json").parent
    fetch_file(repo, "diffusion_pytorch_model.safetensors")
    with hide_progress_bars():
        return import_diffusers_class("ControlNetModel").from_pretrained(
            folder, torch_dtype=styled.pipe.unet.dtype, local_files_only=True
        )
