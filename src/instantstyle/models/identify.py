"""Identify files of weights by their tensors, because files are renamed and layouts differ."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.clip_encoders import IMAGE_ENCODERS
from ..errors import CheckpointError, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import LazyStateDict, open_state_dict
from .clip_sources import find_image_encoder_source
from .resolve import detect_family

WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""Suffixes of files of weights."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class IdentifiedFile:
    """A file and what it is.

    Attributes:
        path: The file.
        description: What it is, or why it cannot be read.
        option: The command line option that uses the file, empty if there is none.
    """

    path: Path
    description: str
    option: str = ""


def identify_files(folder: Path) -> Iterator[IdentifiedFile]:
    """Identify every file of weights in a folder and its subfolders.

    Args:
        folder: The folder.

    Yields:
        The files in the order of their paths.

    Raises:
        ModelError: There is no such folder.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; give one with files of weights.")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in WEIGHTS_SUFFIXES and path.is_file():
            yield identify_file(path)


def identify_file(path: Path) -> IdentifiedFile:
    """Identify an adapter, an image encoder, a model or another known kind of file.

    Args:
        path: The file. If it cannot be read, the description says why.
    """
    try:
        tensors = open_state_dict(path)
    except CheckpointError as error:
        return IdentifiedFile(path, str(error))
    shapes = tensors.shapes
    if any(name.startswith(("ip_adapter.", "image_proj.")) or "double_blocks." in name for name in shapes):
        return _identify_adapter(path, tensors)
    return (
        _identify_image_encoder(path, shapes)
        or _identify_checkpoint(path, shapes)
        or _identify_other(path, shapes)
        or IdentifiedFile(path, f"unknown, by its {len(shapes)} tensors")
    )


def _identify_adapter(path: Path, tensors: LazyStateDict) -> IdentifiedFile:
    try:
        checkpoint = IPAdapterCheckpoint(tensors, path.name)
    except CheckpointError as error:
        return IdentifiedFile(path, str(error))
    network = f"an unknown network (cross dim {checkpoint.cross_dim})"
    if checkpoint.architecture:
        network = checkpoint.architecture.title
    tokens = f"{checkpoint.tokens} tokens" if checkpoint.tokens else "a token for each patch"
    source = find_image_encoder_source(checkpoint.projection_type, checkpoint.embedding_dim)
    encoder = source.title if source else f"an image encoder of width {checkpoint.embedding_dim}"
    return IdentifiedFile(
        path,
        f"IP-Adapter ({checkpoint.projection_type}, {tokens}) for {network}; needs {encoder}",
        f"--adapter {path}",
    )


def _identify_image_encoder(path: Path, shapes: Shapes) -> IdentifiedFile | None:
    patches = shapes.get("vision_model.embeddings.patch_embedding.weight")
    if patches is None:
        return None
    projection = shapes.get("visual_projection.weight")
    if projection is None:
        return IdentifiedFile(path, "a vision encoder without a projection, which cannot serve an IP-Adapter")
    title = IMAGE_ENCODERS.get((patches[0], projection[0]))
    if title is None:
        return IdentifiedFile(path, f"a CLIP image encoder of hidden width {patches[0]}, projection {projection[0]}")
    return IdentifiedFile(path, f"CLIP image encoder, {title}", f"--image-encoder {path}")


def _identify_checkpoint(path: Path, shapes: Shapes) -> IdentifiedFile | None:
    family = detect_family(shapes)
    if family is None:
        return None
    title = {"sdxl": "SDXL", "sd15": "Stable Diffusion 1.5"}[family]
    return IdentifiedFile(path, f"single-file checkpoint of {title}", f"--model {path} --adapter {family}")


def _identify_other(path: Path, shapes: Shapes) -> IdentifiedFile | None:
    matches = (description for description, matches in _OTHERS.items() if any(map(matches, shapes)))
    description = next(matches, None)
    return IdentifiedFile(path, description) if description else None


_OTHERS: Mapping[str, Callable[[str], bool]] = {
    "a saved style; name it with --style": lambda name: name.startswith(("bound.", "image_embeds")),
    "a LoRA; load it with pipe.load_lora_weights": lambda name: ".lora_" in name or "lora_unet" in name,
    "a ControlNet": lambda name: name.startswith(("controlnet_", "control_model.")),
    "a text encoder": lambda name: name.startswith("text_model."),
    "a UNet in diffusers' layout": lambda name: name.startswith(("down_blocks.", "conv_in.")),
    "a VAE": lambda name: name.startswith(("encoder.down", "first_stage_model.")),
    "a single-file checkpoint of another family": lambda name: name.startswith("model.diffusion_model."),
}
"""Tests of a tensor's name, by the description of the file that has such a tensor."""
