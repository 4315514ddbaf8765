"""Image-to-image pipelines from the components of a loaded model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.pipeline import InstantStyle
from ..core.protocols import network_of
from ..errors import ModelError
from ..recipe_types import Control
from ..utils.device import execution_device
from ..utils.hub import fetch_file
from ..utils.library_logging import hide_progress_bars
from .load import disable_watermark
from .network import find_architecture, import_diffusers_class
from .registry import MINI_FOLDER

if TYPE_CHECKING:
    from diffusers import ControlNetModel

CONTROLNETS: Mapping[Control, Mapping[str, str | Path]] = {
    "none": {},
    "canny": {
        "sdxl": "diffusers/controlnet-canny-sdxl-1.0",
        "sd15": "lllyasviel/sd-controlnet-canny",
        "mini": MINI_FOLDER / "controlnet",
    },
    "tile": {"sdxl": "xinsir/controlnet-tile-sdxl-1.0"},
}
"""Hub ids of the ControlNets by what they read and by family: those of diffusers' guides, and that of the code of
InstantStyle-Plus, not pinned to a revision; mini's own is part of the package."""

KEEPING: Mapping[str, Control] = {"sdxl": "tile", "sd15": "canny"}
"""What the ControlNet reads that keeps an image's content, by family: InstantStyle-Plus', or the one that there is.
None for mini, which needs no further package by default: edges need OpenCV."""


def image_to_image_pipeline(
    styled: InstantStyle, control: Control = "none", controlnet: "ControlNetModel | None" = None
) -> InstantStyle:
    """Make an image-to-image pipeline from a model without loading its components again.

    Args:
        styled: The model.
        control: `"canny"` or `"tile"` adds a ControlNet that preserves the structure of the image.
        controlnet: The ControlNet; None loads that of the family.

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


def find_control(model: str) -> Control:
    """Return what the ControlNet reads that keeps the content of an image in the family of a model, or `"none"`.

    Raises:
        InstantStyleError: The model cannot be found or read.
    """
    architecture = find_architecture(model)
    return "none" if architecture is None else KEEPING.get(architecture.name, "none")


def check_control(control: Control, family: str) -> None:
    """Check that there is a ControlNet for a family.

    Args:
        control: What the ControlNet reads.
        family: Name of the architecture.

    Raises:
        ModelError: There is none.
    """
    if control != "none":
        _find_controlnet(control, family)


def fetch_controlnet(control: Control, family: str) -> Path:
    """Fetch the files of the ControlNet of a family where they are not on this machine.

    Args:
        control: What it reads, not `"none"`.
        family: Name of the architecture.

    Returns:
        Their folder.

    Raises:
        ModelError: There is no such ControlNet, or it is not available.
    """
    repo = _find_controlnet(control, family)
    if isinstance(repo, Path):
        return repo
    # Both files are in one folder of the cache, as in the repository.
    folder = fetch_file(repo, "config.json").parent
    fetch_file(repo, "diffusion_pytorch_model.safetensors")
    return folder


def load_controlnet(styled: InstantStyle, control: Control) -> "ControlNetModel":
    """Load the ControlNet of a model's family, in the dtype and on the device of its network.

    Args:
        styled: The model.
        control: What the ControlNet reads, not `"none"`.

    Raises:
        ModelError: As in `fetch_controlnet`.
    """
    folder, network = fetch_controlnet(control, styled.architecture.name), network_of(styled.pipe)
    with hide_progress_bars():
        loaded = import_diffusers_class("ControlNetModel").from_pretrained(
            folder, torch_dtype=network.dtype, local_files_only=True
        )
    # A pipeline made from another one moves no component.
    return loaded.to(execution_device(network))


def _from_pipe(
    styled: InstantStyle, auto_class: str, control: Control, controlnet: "ControlNetModel | None"
) -> InstantStyle:
    components: dict[str, object] = {}
    if control != "none":
        components["controlnet"] = load_controlnet(styled, control) if controlnet is None else controlnet
    with hide_progress_bars():
        pipe = import_diffusers_class(auto_class).from_pipe(styled.pipe, **components)
    return styled.with_pipeline(disable_watermark(pipe))


def _find_controlnet(control: Control, family: str) -> str | Path:
    """Return the hub id, or the folder, of the ControlNet of a family; raises `ModelError` if there is none."""
    if repo := CONTROLNETS[control].get(family):
        return repo
    others = " and ".join(other for other, known in CONTROLNETS.items() if family in known)
    alone = "leave control at none, where the pixels of the image to start from preserve its structure"
    instead = f"there is {others}" if others else alone
    raise ModelError(f"There is no {control} ControlNet for {family}; {instead}.")
