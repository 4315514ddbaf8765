"""Identify files of weights by their tensors, because files are renamed and layouts differ."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

from ..core.encoder_files import IMAGE_ENCODERS, SIGLIP_HEAD
from ..core.redux_model import check_redux_shapes
from ..errors import CheckpointError, ModelError
from ..loaders.ip_adapter_checkpoint import IPAdapterCheckpoint
from ..loaders.state_dict import LazyStateDict, open_state_dict
from ..unet.architectures import KOLORS, SDXL
from .clip_sources import find_image_encoder_source
from .single_file import FAMILIES, NETWORK_PREFIX, Shapes, describe_variant, detect_family, list_held

DEFAULT_SIDE = 224
"""Side of the images of CLIP encoders whose names do not say it, in pixels."""

FIELDS: Mapping[str, str] = {
    "--model": "model",
    "--adapter": "adapter",
    "--image-encoder": "image_encoder",
    "--redux-model": "redux_model",
    "--lora": "loras",
    "--vae": "vae",
    "--motion-adapter": "motion_adapter",
    "--style": "style",
}
"""Fields of a recipe, or arguments of `load`, by the command line option that names files of them."""

WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""Suffixes of files of weights."""


@dataclass(frozen=True)
class IdentifiedFile:
    """A file and what it is.

    Attributes:
        path: The file.
        description: What it is, or why it cannot be read.
        option: The command line option that uses the file, empty if there is none.
        is_known: Whether it can be read, and its kind is known.
    """

    path: Path
    description: str
    option: str = ""
    is_known: bool = True

    @property
    def field(self) -> str:
        """The field of a recipe, or the argument of `load`, that names such files; empty if there is none."""
        return FIELDS.get(self.option.partition(" ")[0], "")

    @property
    def advice(self) -> str:
        """What to do with a file that is given as another kind; empty if there is nothing that uses it."""
        return f"name it as {self.field} ({self.option.partition(' ')[0]})" if self.field else ""


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
        return IdentifiedFile(path, str(error), is_known=False)
    shapes = tensors.shapes
    if any(name.startswith("redux_") for name in shapes):
        return _identify_redux(path, shapes)
    if any(name.startswith(("ip_adapter.", "image_proj.")) for name in shapes):
        return _identify_adapter(path, tensors)
    found = _identify_image_encoder(path, shapes) or _identify_checkpoint(path, shapes)
    if found is not None:
        return found
    description = (
        _look_up(_PARTS_OF_NETWORKS, shapes)
        or _describe_variant(shapes)
        or _look_up(_TRANSFORMERS, [name.removeprefix(NETWORK_PREFIX) for name in shapes])
        or _describe_unet(shapes)
        or _look_up(_OTHERS, shapes)
    )
    if description is None:
        return IdentifiedFile(path, f"unknown, by its {len(shapes)} tensors", is_known=False)
    option = _OPTIONS.get(description, "")
    return IdentifiedFile(path, description, option and f"{option} {path}")


def _identify_adapter(path: Path, tensors: LazyStateDict) -> IdentifiedFile:
    try:
        checkpoint = IPAdapterCheckpoint(tensors, path.name)
    except CheckpointError as error:
        return IdentifiedFile(path, str(error), is_known=False)
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


def _identify_redux(path: Path, shapes: Shapes) -> IdentifiedFile:
    try:
        sizes = check_redux_shapes(shapes, path.name)
    except CheckpointError as error:
        return IdentifiedFile(path, str(error), is_known=False)
    source = find_image_encoder_source("full", sizes["dim"])
    encoder = source.title if source else f"an image encoder of width {sizes['dim']}"
    description = f"FLUX.1 Redux, tokens of width {sizes['width']}; needs {encoder}"
    return IdentifiedFile(path, description, f"--redux-model {path}")


def _identify_image_encoder(path: Path, shapes: Shapes) -> IdentifiedFile | None:
    patches = shapes.get("vision_model.embeddings.patch_embedding.weight")
    if patches is None:
        return None
    is_siglip = SIGLIP_HEAD in shapes
    projection = patches[:1] if is_siglip else shapes.get("visual_projection.weight")
    if projection is None:
        return IdentifiedFile(path, "a vision encoder without a projection, which cannot serve an IP-Adapter")
    title = IMAGE_ENCODERS.get((patches[0], projection[0]))
    side = None if is_siglip else _image_side(shapes, patches[-1])
    if title is not None and side not in (None, DEFAULT_SIDE):
        title = f"{title}-{side}"
    kind = "SigLIP" if is_siglip else "CLIP"
    if title is None:
        return IdentifiedFile(path, f"a {kind} image encoder of hidden width {patches[0]}, projection {projection[0]}")
    return IdentifiedFile(path, f"{kind} image encoder, {title}", f"--image-encoder {path}")


def _image_side(shapes: Shapes, patch: int) -> int | None:
    """Return the side in pixels of the images that an encoder reads; None if its shapes do not tell."""
    positions = shapes.get("vision_model.embeddings.position_embedding.weight", ())
    return patch * isqrt(positions[0] - 1) if len(positions) == 2 and positions[0] > 1 else None


def _identify_checkpoint(path: Path, shapes: Shapes) -> IdentifiedFile | None:
    family = detect_family(shapes)
    if family is None:
        return None
    described = FAMILIES[family]
    kind = "transformer" if described.has_transformer and len(list_held(described, shapes)) == 1 else "checkpoint"
    title = f"single-file {kind} of {described.title}"
    return IdentifiedFile(path, title, f"--model {path} --adapter {family}")


def _describe_variant(shapes: Shapes) -> str | None:
    title = describe_variant(shapes)
    return title and f"the transformer of {title}, which is not supported: no adapter reads its input"


def _describe_unet(shapes: Shapes) -> str | None:
    """Describe a UNet without text encoders, or a checkpoint with the UNet of a family that is not supported."""
    names = {name.removeprefix(NETWORK_PREFIX): shape for name, shape in shapes.items()}
    is_ldm = any(name.startswith("input_blocks.") for name in names)
    if not is_ldm and not any(name.startswith(("down_blocks.", "conv_in.")) for name in names):
        return None
    widths = sorted({shape[-1] for name, shape in names.items() if name.endswith("attn2.to_k.weight") and shape})
    titles = [CROSS_DIMS.get(width, "an unknown family") for width in widths]
    if "encoder_hid_proj.weight" in names and SDXL.cross_dim in widths:
        titles = [KOLORS.title]
    network = f"a UNet of {' or '.join(dict.fromkeys(titles)) or 'an unknown family'}"
    if widths:
        network += f" (cross dim {', '.join(map(str, widths))})"
    if any(name.startswith(_TEXT_ENCODERS) for name in shapes):
        return f"single-file checkpoint with {network}, which is not supported"
    layout = "the original (LDM) layout" if is_ldm else "diffusers' layout"
    return f"{network} in {layout}, without text encoders; it cannot be loaded alone"


def _look_up(table: Mapping[str, Callable[[str], bool]], names: Collection[str]) -> str | None:
    return next((description for description, matches in table.items() if any(map(matches, names))), None)


CROSS_DIMS = {768: "Stable Diffusion 1.x", 1024: "Stable Diffusion 2.x", 1280: "the SDXL refiner", 2048: "SDXL"}
"""Families by the width of the text tokens that their UNets read."""

_TEXT_ENCODERS = ("cond_stage_model.", "conditioner.", "text_encoders.")
"""Prefixes of text encoders in single-file checkpoints."""

_TRANSFORMERS: Mapping[str, Callable[[str], bool]] = {
    # As diffusers recognizes them, loaders/single_file_utils.py.
    "the transformer of FLUX.2, which is not supported": lambda name: name.startswith("single_stream_modulation."),
    "a transformer of FLUX.1's blocks, which is not FLUX.1 or Chroma, or not whole": lambda name: name.startswith(
        "double_blocks.0.img_attn."
    ),
    "the transformer of SD3 or SD3.5 Medium, for which no adapter is published": lambda name: name.startswith(
        "joint_blocks."
    ),
    "a transformer in diffusers' layout; put it in the folder transformer of a model in that layout": (
        lambda name: name.startswith("transformer_blocks.0.attn.add_q_proj.")
    ),
}
"""Tests of a tensor's name without `NETWORK_PREFIX`, by the description of the file that has such a tensor."""

_PARTS_OF_NETWORKS: Mapping[str, Callable[[str], bool]] = {
    "a LoRA": lambda name: "lora_" in name or ".qkv_lora" in name,
    "a ControlNet": lambda name: name.startswith(("controlnet_", "control_model.")),
    "a motion module (AnimateDiff)": lambda name: ".motion_modules." in name,
}
"""The same of files whose other tensors are named as those of a network."""

_OTHERS: Mapping[str, Callable[[str], bool]] = {
    "a saved style": lambda name: name.startswith(("bound.", "image_embeds")),
    "the text encoder of Kolors (ChatGLM)": lambda name: "self_attention.query_key_value." in name,
    "a text encoder": lambda name: name.startswith("text_model."),
    "a VAE": lambda name: name.startswith(("encoder.down", "first_stage_model.")),
    "a network of a family that is not supported": lambda name: name.startswith(NETWORK_PREFIX),
}
"""The same of all other files."""

_OPTIONS: Mapping[str, str] = {
    "a LoRA": "--lora",
    "a motion module (AnimateDiff)": "--motion-adapter",
    "a saved style": "--style",
    "a VAE": "--vae",
}
"""Command line options by the descriptions of the files that they name."""
